"""Auditing a transcript that grows: what is new since the last time, and that nothing old has changed (spec 9.12)."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from auditor.arguments import is_transcript, require_transcript
from auditor.auditing import Progress, audit, version
from auditor.comparison import CONTRADICTIONS, FORK, ROLLBACK, Contradiction, contradicted, head_text
from auditor.copies import Copy, SignedHead
from auditor.memory import Memory
from auditor.output import replace_file
from auditor.reports.report import Report
from auditor.reports.results import Outcome
from proofs.errors import Malformed, Misuse, Rejected
from protocols.encoding import decode, encode
from protocols.log.checkpoint import parse_note
from protocols.log.connection import Remote
from protocols.log.snapshot import SnapshotReader
from protocols.messages import AtMost, Hash32
from protocols.pinned import PinnedPolicy

STATE_VERSION = 1
STATE_LIMIT = 1 << 31  # bytes: 32 for each submission, and 64 for each round


@dataclass(frozen=True)
class FollowState:
    """What an auditor keeps between audits: the last checkpoint that it accepted, and what it has verified (by which
    version of itself). It is the auditor's own: whoever can write it can make it believe anything."""

    version: int
    auditor: Annotated[str, AtMost(64)]
    policy: Hash32
    note: Annotated[bytes, AtMost(65536)]
    facts: Annotated[bytes, AtMost(1 << 30)]

    @property
    def head(self) -> SignedHead:
        """The last accepted checkpoint."""
        note = parse_note(self.note)
        return SignedHead(self.note, note.checkpoint, tuple(each.name for each in note.signatures[1:]))

    def memory(self) -> Memory:
        """The facts; none where another version of the auditor found them."""
        return Memory.decode(self.facts) if self.auditor == version() else Memory()


@dataclass(frozen=True)
class Followed:
    """One audit. report: None where the log's key signed another history than the state's, or nothing is left to audit.
    state: the new one, None unless accepted. known: how many entries were accepted before."""

    report: Report | None
    contradiction: Contradiction | None
    state: FollowState | None
    known: int = 0

    @property
    def outcome(self) -> Outcome:
        """Accepted, or which kind of no; a broken rule outranks all else."""
        if self.accepted:
            return Outcome.ACCEPTED
        found = [self.report.outcome] if self.report is not None and not self.report.accepted else []
        found += [] if self.contradiction is None else [self.contradiction.outcome]
        return next(each for each in (Outcome.BROKEN, Outcome.OTHER, Outcome.DAMAGED) if each in found)

    @property
    def accepted(self) -> bool:
        """Everything up to the checkpoint is right, and continues what was accepted before."""
        return self.state is not None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON: the verdict, and the whole report of the audit, if there was one."""
        return {**self._verdict(), "audit": None if self.report is None else self.report.to_dict()}

    def events(self) -> list[dict[str, Any]]:
        """The same as JSON lines: those of the report, then one with the verdict."""
        from auditor.reports.text import events

        return [*([] if self.report is None else events(self.report)), {"event": "follow", **self._verdict()}]

    def _verdict(self) -> dict[str, Any]:
        size = None if self.state is None else self.state.head.head.size
        return {
            "accepted": self.accepted,
            "outcome": self.outcome.value,
            "entries": size,
            "new": None if size is None else size - self.known,
            "contradiction": None if self.contradiction is None else self.contradiction.to_dict(),
        }


def text(found: Followed, seconds: float, command: list[str]) -> Iterator[str]:
    """What one audit came to, line by line; `command` is what a reader types to audit again."""
    if found.state is not None:
        size = found.state.head.head.size
        yield f"ACCEPTED up to entry {size - 1} ({size - found.known} new) in {seconds:.1f} s"
        return
    wrong = found.contradiction
    if wrong is not None:
        yield f"{wrong.kind}: {wrong.what}"
        for name, head in zip(("the state", "the transcript"), wrong.heads, strict=False):
            yield from head_text(name, head)
        yield ""
    if found.report is None or found.report.accepted:
        yield f"REJECTED: the transcript does not continue what was accepted: {CONTRADICTIONS[found.outcome]}"
        return
    from auditor.reports.text import to_text

    yield to_text(found.report, command)


def follow(
    path: Path | Remote,
    pinned: PinnedPolicy,
    state: FollowState | None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    course: Collection[int] | None = None,
) -> Followed:
    """Audit the transcript as of its latest checkpoint, given what was accepted before. One that does not continue it,
    but may be a spoilt or an old copy, is audited all the same: a broken rule in it is one. course: as of `audit`.

    Raises OSError where the directory cannot be read at all, Misuse for a state of another policy.
    """
    if state is None:
        require_transcript(path)
    if state is not None and state.policy != pinned.hash:
        raise Misuse(f"the state is of a federation with the policy {state.policy.hex()}, not {pinned.hash.hex()}")
    known = 0 if state is None else state.head.head.size
    if state is not None and _is_empty(path):
        what = f"{known} entries were accepted, the directory holds no transcript"
        return Followed(None, Contradiction(ROLLBACK, what, (state.head,)), None, known)
    reader = SnapshotReader(path)
    contradiction = None if state is None else contradicted(path, pinned, state.head, _against, reader)
    if contradiction is not None and contradiction.kind == FORK:
        return Followed(None, contradiction, None, known)
    memory = Memory() if state is None else state.memory()
    report = audit(path, pinned.data, workers=workers, progress=progress, reader=reader, memory=memory, course=course)
    if not report.accepted or contradiction is not None:
        return Followed(report, contradiction, None, known)
    after = FollowState(STATE_VERSION, version(), pinned.hash, reader.latest(), memory.encode())
    return Followed(report, None, after, known)


def nothing_audited(path: Path | Remote, pinned: PinnedPolicy) -> Report:
    """In the place of a report where there was none: of a log that is another history, or gone."""
    return Report(str(path), version(), "native", True, pinned.policy.federation, pinned.hash.hex(), None, (), (), 0.0)


def _is_empty(path: Path | Remote) -> bool:
    """Whether there is a directory, or a server that answers, and no transcript."""
    return (isinstance(path, Remote) or path.is_dir()) and not is_transcript(path)


def latest_note(path: Path | Remote) -> bytes | None:
    """The latest checkpoint, unread; None where there is none yet."""
    try:
        return SnapshotReader(path).latest()
    except Rejected:
        return None


def load_state(file: Path) -> FollowState | None:
    """The saved state, None if there is no such file; raises Malformed, OSError."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return None
    state = decode(FollowState, data, STATE_LIMIT)
    if state.version != STATE_VERSION:
        raise Malformed("FollowState.version", str(STATE_VERSION), str(state.version))
    parse_note(state.note)
    Memory.decode(state.facts)
    return state


def save_state(file: Path, state: FollowState) -> None:
    """Replace the saved state, atomically and durably, readable by its owner only; raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, encode(state, STATE_LIMIT), 0o600)


def default_state(pinned: PinnedPolicy) -> Path:
    """One file for a federation, wherever its transcript lies: another copy has to continue the same history."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "verifl" / f"follow-{pinned.hash.hex()[:32]}.cbor"


def _against(copy: Copy, accepted: SignedHead) -> Contradiction | None:
    """Whether a copy is another history than the accepted one, or a shorter one."""
    size = accepted.head.size
    if copy.size < size:
        what = f"{size} entries were accepted, the transcript has only {copy.size}"
        return Contradiction(ROLLBACK, what, (accepted, copy.latest))
    if copy.root(size) != accepted.head.root:
        what = f"the first {size} entries are not those that were accepted"
        return Contradiction(FORK, what, (accepted, copy.covering(size - 1)), Outcome.BROKEN)
    return None
