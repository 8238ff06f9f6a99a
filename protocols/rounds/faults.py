"""Which of a log's submissions are at fault by themselves (spec 8.6), derived in log order and only when asked.

Whether a submission is a replay depends on whether an earlier one that names the same blob is valid, and so on. As long
as no two submissions share a blob, which honest ones never do, every submission is judged by itself, a round in one
batch. Where some do, the later ones wait for the earlier.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence

from protocols.messages import CohortClosed, Submission
from protocols.pinned import PinnedPolicy
from protocols.reasons import DUPLICATE, REPLAYED
from protocols.submissions import Fault, exclusive_blobs

# (submissions of one round, its seed) -> the fault that its blobs show of each, as `protocols.submissions.judge`
Judge = Callable[[Sequence[Submission], bytes], Sequence[Fault | None]]


class LoggedFaults:
    """The faults of the submissions of one log. submission: the one at a log index. seed: of a round."""

    def __init__(
        self, pinned: PinnedPolicy, submission: Callable[[int], Submission], seed: Callable[[int], bytes]
    ) -> None:
        self._pinned, self._submission, self._seed = pinned, submission, seed
        self._clients: dict[int, set[str]] = {}
        self._naming: dict[bytes, list[int]] = {}  # exclusive blob to the submissions that name it, ascending
        self._known: dict[int, Fault | None] = {}
        self._owners: dict[bytes, int] = {}  # exclusive blob to the first valid submission that names it

    def add(self, index: int, message: Submission) -> None:
        """The next submission of the log, whatever its fate. About 100 bytes for each blob that it names."""
        clients = self._clients.setdefault(message.round, set())
        if message.client in clients:
            self._known[index] = Fault(DUPLICATE, "an earlier submission of this client is in the log")
        clients.add(message.client)
        for _, blob in exclusive_blobs(self._pinned, message):
            self._naming.setdefault(blob, []).append(index)

    def settle(self, message: CohortClosed, own_faults: frozenset[str]) -> None:
        """What CohortClosed, this log's own, says of its round need not be judged again: later replays go by it."""
        excluded = {each.index: each for each in message.excluded}
        for index in sorted({*message.accepted, *excluded} - self._known.keys()):
            said = excluded.get(index)
            at_fault = said is not None and said.reason in own_faults
            self._learn(index, Fault(said.reason, said.detail) if said is not None and at_fault else None)

    def of(self, indices: Iterable[int], judge: Judge) -> dict[int, Fault | None]:
        """The fault of each of these submissions, None for the valid ones."""
        wanted = list(indices)
        for batch in self._batches(sorted(self._open(wanted))):
            self._judge(batch, judge)
        return {index: self._known[index] for index in wanted}

    def _open(self, wanted: Sequence[int]) -> set[int]:
        """Those of `wanted` that are not judged yet, with the earlier ones on which their verdicts depend."""
        found, walked = set[int](), dict[bytes, int]()
        waiting = list(wanted)
        while waiting:
            index = waiting.pop()
            if index in found or index in self._known:
                continue
            found.add(index)
            for _, blob in exclusive_blobs(self._pinned, self._submission(index)):
                start, stop = walked.get(blob, 0), bisect.bisect_left(self._naming[blob], index)
                waiting += self._naming[blob][start:stop]
                walked[blob] = max(start, stop)
        return found

    def _batches(self, indices: Iterable[int]) -> Iterator[list[int]]:
        """Of one round each, and of submissions that share no blob among themselves."""
        batch, number, named = list[int](), 0, set[bytes]()
        for index in indices:
            message = self._submission(index)
            own = {blob for _, blob in exclusive_blobs(self._pinned, message)}
            if batch and (message.round != number or not named.isdisjoint(own)):
                yield batch
                batch, named = [], set()
            batch.append(index)
            number = message.round
            named |= own
        if batch:
            yield batch

    def _judge(self, batch: Sequence[int], judge: Judge) -> None:
        fresh: dict[int, Submission] = {}
        for index in batch:
            message = self._submission(index)
            copied = self._copied(index, message)
            if copied is None:
                fresh[index] = message
            else:
                self._learn(index, Fault(REPLAYED, f"{copied} of an earlier valid submission"))
        if fresh:
            number = next(iter(fresh.values())).round
            for index, fault in zip(fresh, judge(list(fresh.values()), self._seed(number)), strict=True):
                self._learn(index, fault)

    def _copied(self, index: int, message: Submission) -> str | None:
        """The field whose blob is that of an earlier valid submission."""
        for name, blob in exclusive_blobs(self._pinned, message):
            if self._owners.get(blob, index) < index:
                return name
        return None

    def _learn(self, index: int, fault: Fault | None) -> None:
        self._known[index] = fault
        for _, blob in exclusive_blobs(self._pinned, self._submission(index)) if fault is None else ():
            self._owners[blob] = min(index, self._owners.get(blob, index))
