"""Which reasons to abort a round without a cohort could be true, whatever the submissions are that cannot be judged.

Each of these is valid or at fault: there are as many readings as subsets. Nothing here enumerates them. For a fixed
set Q of t trustees, with A the candidates that all of Q acknowledged, a further valid submission adds to A if Q
acknowledged it, and can only push others out if not, since there are at most `max_cohort` candidates. So A is smallest
in the reading in which just the unread ones are valid that Q did not acknowledge, and largest in the one in which just
the others are. The cohort of the rule is that of the best Q: no smaller than the best of the smallest, no larger than
the best of the largest. What is impossible by these bounds is impossible; what is not may be so all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from operator import and_

from protocols.cohorts import disputed_by_quorum
from protocols.messages import ShareAck
from protocols.noise_trustees import makes_cohort, noise_needed
from protocols.policy import Policy
from protocols.reasons import EXEMPTING


@dataclass(frozen=True)
class Doubtful:
    """A submission: log index, client, its own fault as far as it is known. unread: it may be valid or at fault.
    copied: it may be a replay, which exempts nobody. noise: it is noise alone."""

    index: int
    client: str
    fault: str | None
    unread: bool
    copied: bool
    noise: bool = False


@dataclass(frozen=True)
class Readings:
    """A round without CohortClosed. submissions: all of it, ascending. acks: by trustee, the first of each. earlier: P,
    None where no cohort was opened on the model. recent: whether `strict_consecutive` looks at a cohort before."""

    policy: Policy
    submissions: Sequence[Doubtful]
    acks: Mapping[str, ShareAck]
    earlier: AbstractSet[str] | None
    recent: bool

    def may_be_too_few(self) -> bool:
        """Whether `too-few-submissions` is true in some reading: A is no cohort before anybody leaves."""
        if len(self.acks) < self.policy.threshold:
            return not makes_cohort(self.policy, {each.client for each in self.submissions})
        return not any(self._makes_cohort(least) for least, _ in self._extremes)

    def may_be_differencing(self) -> bool:
        """Whether `differencing` is true in some reading: A is large enough, and is not once some left."""
        least = self.policy.min_cohort
        if not any(self._makes_cohort(most) for _, most in self._extremes):
            return False
        if self.recent:
            return True
        if self.earlier is None or len(self.earlier) >= 2 * least:
            return False  # nobody leaves; or of those in P, at least |P| - min_cohort stay
        return not self.earlier <= self._never_missed

    @cached_property
    def _disputed(self) -> frozenset[int]:
        return disputed_by_quorum(self.policy, self.acks)

    @cached_property
    def _candidates(self) -> list[Doubtful]:
        """Those that are candidates in some reading."""
        sound = (each for each in self.submissions if each.fault is None)
        return [each for each in sound if each.index not in self._disputed]

    @cached_property
    def _held(self) -> list[int]:
        """For each trustee that acknowledged anything, the candidates that it holds, as bits, the first one highest."""
        known = [self.acks[member.id] for member in self.policy.trustees if member.id in self.acks]
        return [_bits(each.index in held for each in self._candidates) for held in (set(a.acknowledged) for a in known)]

    def _makes_cohort(self, members: int) -> bool:
        """Whether these candidates, as bits, are enough updates with enough noise."""
        noise = (members & self._noise).bit_count()
        updates = members.bit_count() - noise
        return updates >= self.policy.min_cohort and noise >= noise_needed(self.policy)

    @cached_property
    def _noise(self) -> int:
        return _bits(each.noise for each in self._candidates)

    @cached_property
    def _extremes(self) -> list[tuple[int, int]]:
        """For each Q of t trustees, the least and the largest A, as bits."""
        cap, threshold = self.policy.max_cohort, self.policy.threshold
        unread = _bits(each.unread for each in self._candidates)
        valid = _bits(not each.unread for each in self._candidates)
        found = []
        for core in combinations(self._held, threshold):
            common = reduce(and_, core)
            least = _first(valid | (unread & ~common), cap) & common
            most = _first(valid | (unread & common), cap) & common
            found.append((least, most))
        return found

    @cached_property
    def _never_missed(self) -> set[str]:
        """Clients who in every reading are in A, or exempt (spec 8.8)."""
        everybody_fits = len(self._candidates) <= self.policy.max_cohort
        by_all = reduce(and_, self._held) if self._held and everybody_fits else 0
        width = len(self._candidates)
        kept = {each.index for place, each in enumerate(self._candidates) if by_all >> (width - 1 - place) & 1}
        mine: dict[str, list[Doubtful]] = {}
        for each in self.submissions:
            mine.setdefault(each.client, []).append(each)
        return {client for client, own in mine.items() if self._is_never_missed(own, kept)}

    def _is_never_missed(self, own: Sequence[Doubtful], kept: AbstractSet[int]) -> bool:
        """Of one client, by its submissions and the candidates that are in A whenever they are valid."""
        first = own[0]
        if len(own) > 1:  # exempt for nothing
            return first.index in kept and not first.unread
        if first.copied:
            return False
        if first.fault is not None:
            return first.fault in EXEMPTING
        return first.index in kept or first.index in self._disputed


def _bits(flags: Iterator[bool]) -> int:
    """As one integer, the first flag its highest bit."""
    return int("0" + "".join("01"[flag] for flag in flags), 2)


def _first(mask: int, count: int) -> int:
    """The highest `count` bits that are set."""
    low, high = 0, mask.bit_length()
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if (mask >> middle).bit_count() <= count else (middle + 1, high)
    return mask >> low << low
