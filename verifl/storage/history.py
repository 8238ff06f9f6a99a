"""What the log says of rounds that have ended: all that a resumed run needs of them, and what their metrics line says.

A summary comes from the log; only its metrics and its duration do not, and are taken from the line that was written
when the round ended, or, where a kill came before the line, evaluated again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from protocols.cohorts import disputed_by_quorum
from protocols.envelopes import Entry, entry_blobs, open_envelope
from protocols.log.tiles import blob_path
from protocols.messages import Exclusion, Genesis, RoundAborted, RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.reasons import DISPUTED, INVALID_PROOF, MALFORMED
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound, asked_clients
from verifl.progress import RoundSummary
from verifl.storage.stores import replacing

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class EndedRound:
    """last: the round just before the entry that ended it. aborted: the reason, or None. model: hash of the model after
    it. start, stop: the log's sizes before and after it. asked: the clients that it was open to. closed: how many
    rounds had closed by then."""

    last: CurrentRound
    aborted: str | None
    model: bytes
    start: int
    stop: int
    asked: tuple[str, ...]
    closed: int


def ended_rounds(pinned: PinnedPolicy, entries: Iterable[bytes]) -> list[EndedRound]:
    """Every round of a log that has ended, in order; raises Malformed or Rejected for what is no log."""
    walk = RoundsWalk(pinned)
    return [ended for entry in entries if (ended := walk.add(Entry.open(entry))) is not None]


class RoundsWalk:
    """A log, entry by entry under the rules. follower: what it says so far. stop, closed: as of `EndedRound`, of the
    last round that has ended."""

    def __init__(self, pinned: PinnedPolicy) -> None:
        self._pinned, self.follower = pinned, Follower.start()
        self.stop, self.closed = 1, 0

    def add(self, entry: Entry) -> EndedRound | None:
        """The round that the next entry ends, if it ends one; raises as `Follower.after`."""
        before = self.follower.ledger
        self.follower = self.follower.after(self._pinned, [entry])
        after = self.follower.ledger
        if before.current is None or after.current is not None:
            return None
        aborted = entry.message.reason if isinstance(entry.message, RoundAborted) else None
        start, self.stop, self.closed = self.stop, after.size, self.closed + (aborted is None)
        asked = asked_clients(self._pinned, before)
        return EndedRound(before.current, aborted, after.model or b"", start, self.stop, asked, self.closed)


def published_bytes(transcript: Path, entries: Iterable[bytes]) -> int:
    """Bytes of these entries and of the blobs that came with them; pruned ones count nothing."""
    total = 0
    for entry in entries:
        total += len(entry)
        if not isinstance(open_envelope(entry).message, Genesis | RoundOpen):
            total += sum(_size(transcript / blob_path(name)) for name in entry_blobs(entry))
    return total


def exclusions(coordinator: Coordinator, pinned: PinnedPolicy, last: CurrentRound) -> tuple[Exclusion, ...]:
    """Whom the log excludes from the cohort of a round that has ended; where it ended without a cohort, whoever is at
    fault all the same, by the coordinator's own verdicts and the trustees' disputes."""
    if last.cohort is not None:
        return last.cohort.message.excluded
    found = {each.index: each.fault for each in coordinator.judged(last) if each.fault is not None}
    disputed = disputed_by_quorum(pinned.policy, {ack.trustee: ack for ack in last.acks}) - found.keys()
    own = [Exclusion(index, fault.reason, fault.detail) for index, fault in found.items()]
    return tuple(sorted((*own, *(Exclusion(index, DISPUTED, "") for index in disputed)), key=lambda each: each.index))


def summarize(
    ended: EndedRound, excluded: Sequence[Exclusion], metrics: Metrics, seconds: float | None, size: int
) -> RoundSummary:
    """A round that has ended, in a summary; `excluded` as `exclusions` finds them."""
    last = ended.last
    names = {each.index: each.message.client for each in last.submissions}
    checked = [each for each in excluded if each.reason in (MALFORMED, INVALID_PROOF)]
    return RoundSummary(
        round=last.number,
        submitted=tuple(dict.fromkeys(names.values())),
        accepted=tuple(each.message.client for each in last.accepted_submissions()),
        excluded={names[exclusion.index]: exclusion.reason for exclusion in excluded},
        trustees=tuple(release.message.trustee for release in last.releases),
        metrics=metrics,
        seconds=seconds,
        size=size,
        aborted=ended.aborted,
        failed_checks={names[exclusion.index]: exclusion.detail for exclusion in checked},
        failed=tuple(client for client in ended.asked if client not in set(names.values())),
        closed=ended.closed,
    )


class MetricsFile:
    """`metrics.jsonl`: a line for the initial model, as round 0, and for each round that has ended, in order."""

    def __init__(self, path: Path, mode: int = 0o644) -> None:
        """mode: of the file; 0600 in a party's state."""
        self._path, self._mode = path, mode

    def append(self, summary: RoundSummary) -> None:
        """Add the line of a round that ended just now."""
        opener = partial(os.open, mode=self._mode)
        with open(self._path, "a", encoding="utf-8", opener=opener) as stream:
            stream.write(_line(summary))
            stream.flush()
            os.fsync(stream.fileno())

    def rewrite(self, summaries: Iterable[RoundSummary]) -> None:
        """Replace all lines: after a kill the last ones may be torn or missing."""
        with replacing(self._path, self._mode) as temporary:
            temporary.write_text("".join(map(_line, summaries)), encoding="utf-8")

    def measured(self) -> dict[int, tuple[dict[str, float], float | None]]:
        """(metrics, seconds) by round, of the lines that can be read."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        return dict(filter(None, map(_measured, lines)))


def past_rounds(
    pinned: PinnedPolicy,
    coordinator: Coordinator,
    transcript: Path,
    metrics: MetricsFile,
    evaluate: Callable[[int, bytes], dict[str, float]],
) -> list[RoundSummary]:
    """The summaries of all rounds of the coordinator's log that have ended; `evaluate` gets the number of a round
    whose line is missing, and the hash of the model after it."""
    measured, summaries, entries = metrics.measured(), [], coordinator.entries(0, coordinator.size)
    for ended in ended_rounds(pinned, entries):
        known = measured.get(ended.last.number)
        values, seconds = known if known is not None else (evaluate(ended.last.number, ended.model), None)
        size = published_bytes(transcript, entries[ended.start : ended.stop])
        excluded = exclusions(coordinator, pinned, ended.last)
        summaries.append(summarize(ended, excluded, values, seconds, size))
    return summaries


def _line(summary: RoundSummary) -> str:
    return json.dumps(summary.to_dict(), allow_nan=False) + "\n"


def _measured(line: str) -> tuple[int, tuple[dict[str, float], float | None]] | None:
    """A line's round, metrics and seconds; None if it is torn, or was never ours."""
    try:
        found: Any = json.loads(line)
        values = {str(name): float("nan" if value is None else value) for name, value in found["metrics"].items()}
        seconds = found["seconds"]
        return int(found["round"]), (values, None if seconds is None else float(seconds))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
