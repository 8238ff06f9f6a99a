"""The log as I1 leaves it to all other checks: filed, as far as a checkpoint of the log's signs what is here."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from auditor.authenticity import is_log_signed
from auditor.findings import Findings, Result, Unavailable
from auditor.gaps import Torn, unknown_before
from auditor.index import Index, Round
from auditor.reports.results import CheckpointSummary
from protocols.log.checkpoint import SignedNote
from protocols.policy import Policy


def is_over(policy: Policy | None, note: SignedNote, roots: Mapping[int, bytes]) -> bool:
    """Whether the log's key signed this checkpoint, and its root is the one that entries have. roots: by size."""
    head = note.checkpoint
    return policy is not None and roots.get(head.size) == head.root and is_log_signed(policy, note)


def signed_size(policy: Policy | None, notes: Iterable[SignedNote], roots: Mapping[int, bytes]) -> int:
    """The largest size of which this is so; 0 for none."""
    longest = sorted(notes, key=lambda note: note.checkpoint.size, reverse=True)
    return next((note.checkpoint.size for note in longest if is_over(policy, note, roots)), 0)


@dataclass(frozen=True)
class SignedLog(Result):
    """A log, and what is known of it once it was read.

    policy: that of the audit, if it opens. checkpoint: the latest. filed: the entries, None if none are signed. cut:
    None, or how many entries are judged of a log that is not to its end what a checkpoint signs. gaps: indices of
    entries that are judged to be missing, as others are there or none. notes: the checkpoints that decode. roots: root
    of the log at each published size. pruned: ciphertexts that are not there.
    """

    policy: Policy | None = None
    checkpoint: CheckpointSummary | None = None
    filed: Index | None = None
    cut: int | None = None
    gaps: frozenset[int] = frozenset()
    notes: tuple[SignedNote, ...] = ()
    roots: Mapping[int, bytes] = field(default_factory=dict)
    pruned: frozenset[bytes] = frozenset()

    @property
    def index(self) -> Index:
        """The log, filed, as far as a checkpoint signs what is there."""
        if self.filed is None:
            raise Unavailable("because I1 failed: no checkpoint signs the entries that are here")
        return self.filed

    @cached_property
    def torn(self) -> Torn:
        """The rounds that a missing entry may be of."""
        return Torn() if self.filed is None else Torn.of(self.filed.headings, sorted(self.gaps))

    def is_whole(self, number: int) -> bool:
        """Whether all entries of a round are here."""
        return not self.torn.touches(number, number)

    def rounds(self, findings: Findings) -> Iterator[Round]:
        """The rounds, ascending. What is found in one that may be torn is unjudged, unless the check says otherwise."""
        for found in self.index.in_order():
            with findings.whether(self.is_whole(found.number)):
                yield found

    @cached_property
    def _unknown_before(self) -> tuple[set[int], set[int]]:
        return unknown_before(self.index, self.torn)

    def knows_before(self, found: Round) -> bool:
        """Whether P of a round, and what `strict_consecutive` looks at, is what it is, whatever entries are missing."""
        same, recent = self._unknown_before
        strict = self.policy is not None and self.policy.strict_consecutive
        return found.number not in (same | recent if strict else same)

    def knows_spent_before(self, found: Round) -> bool:
        """Whether nobody can have been in a cohort before a round that is not here."""
        return not self.torn.touches(1, found.number - 1)

    def knows_settled(self, opened: int) -> bool:
        """Whether what counts for the draw of the round that entry `opened` opens is known, whatever entries are
        missing: when the last round closed before it, and who was in force then."""
        if opened in self.index.unsettled:
            return False
        missing = bisect.bisect_left(self._missing, opened)
        return missing == 0 or self._missing[missing - 1] < self.index.settled_before(opened)

    @cached_property
    def _missing(self) -> list[int]:
        return sorted(self.gaps)

    def has_summed(self, found: Round) -> bool:
        """Whether all that a sum and its opening rest on is here: the cohort, its submissions, the releases."""
        if self.is_whole(found.number):
            return True
        if found.open is None or found.cohort is None or found.aggregate is None:
            return False
        members = all(index in found.submissions for index in found.cohort.message.accepted)
        return members and self.gaps.isdisjoint(found.aggregate.message.releases)

    def is_signed(self, size: int) -> bool:
        """Whether one of the checkpoints of this size is."""
        return any(is_over(self.policy, note, self.roots) for note in self._notes_of.get(size, ()))

    @cached_property
    def _notes_of(self) -> Mapping[int, list[SignedNote]]:
        """The checkpoints by size: rounds ask for one each."""
        found: dict[int, list[SignedNote]] = {}
        for note in self.notes:
            found.setdefault(note.checkpoint.size, []).append(note)
        return found

    @cached_property
    def published(self) -> list[int]:
        """The sizes in `roots`, ascending."""
        return sorted(self.roots)

    def last_published(self, size: int) -> int | None:
        """The largest published size that is at most `size`."""
        before = bisect.bisect_right(self.published, size)
        return self.published[before - 1] if before else None

    def is_covered(self, index: int, answered: int) -> bool:
        """Whether a published checkpoint covers entry `index`, and not yet the entries from `answered` on."""
        last = self.last_published(answered)
        return last is not None and last > index
