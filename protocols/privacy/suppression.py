"""Who stays in a cohort under `strict_consecutive`: the largest choice that exposes nobody (spec 8.7, step 6).

Whether a cohort may follow the two before it depends on how many clients it has of each of four groups: those in both
of the earlier ones, in the last alone, in the one before it alone, in neither; and on who of the others is exempt, as
no candidate is. So a choice is four numbers, and each rule of spec 8.8 a bound on a sum or difference of them, or that
some of them are none or all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass

from protocols.privacy.differencing import Cohort


def largest_cohort(
    before: Sequence[Cohort],
    model: bytes,
    earlier: Set[str] | None,
    candidates: Sequence[str],
    exempt: Set[str],
    min_cohort: int,
) -> frozenset[str]:
    """The candidates who stay by step 6 of spec 8.7; nobody where no choice is lawful.

    before: the one or two cohorts opened last, on whatever models. model: the round's. earlier: the cohort opened last
    on it, None for none. candidates: clients in the order in which they leave. exempt: as in `check_nested`; none of
    them are candidates. Near linear in all of them.
    """
    last, first = before[-1].clients, before[-2].clients if len(before) > 1 else frozenset[str]()
    fitting = [each for each in candidates if earlier is None or each in earlier]
    there, alike = frozenset(fitting), before[-1].model == model
    groups = (first & last, last - first, first - last, there - first - last)
    both, only_last, only_first, new = (_Group.of(each, there, exempt) for each in groups)
    before_it = None if earlier is None else _Group.of(earlier, there, exempt)
    three = len(before) > 1 and not (alike and before[-2].model == model)
    kept = _Choices(min_cohort, both, only_last, only_first, new, before_it, not alike, three).largest()
    stay = frozenset[str]()
    for group, count in zip(groups, kept or (), strict=bool(kept)):
        members = [each for each in fitting if each in group]
        stay |= frozenset(members[len(members) - count :])
    return stay


@dataclass(frozen=True)
class _Group:
    """Some of the clients. size: how many. there: candidates among them. excused: all the others are exempt."""

    size: int
    there: int
    excused: bool

    @classmethod
    def of(cls, clients: Set[str], there: Set[str], exempt: Set[str]) -> _Group:
        return cls(len(clients), len(clients & there), clients - there <= exempt)

    def missed(self, kept: int) -> _Shown:
        """Those who are not in the cohort, where so many of the candidates stay."""
        return self.size - kept, kept == self.size or (kept == self.there and self.excused)


_Shown = tuple[int, bool]  # how many a sum shows, and whether they are given up: nobody, exempt, or shown anyway
_Kept = tuple[int, int, int, int]  # how many stay of both, last, first, new


@dataclass(frozen=True)
class _Choices:
    """What there is to choose from. both, last, first, new: the groups. on_another: the last cohort is on another model
    than the round's. three: the three cohorts are not on one model."""

    least: int
    both: _Group
    last: _Group
    first: _Group
    new: _Group
    earlier: _Group | None
    on_another: bool
    three: bool

    def largest(self) -> _Kept | None:
        """The lawful choice with most members, then most of the last cohort, of both, of the first; of `new`, who weigh
        alike in every sum, all or none."""
        best: tuple[int, ...] = (self.least,)
        found: _Kept | None = None
        for both in range(self.both.there, -1, -1):
            if both + self.last.there + self.first.there + self.new.there < best[0]:
                break
            for new in {self.new.there, 0}:
                for last, first in self._corners(both, new):
                    rank = (both + last + first + new, both + last, both, first)
                    if rank > best and self._lawful(both, last, first, new):
                        best, found = rank, (both, last, first, new)
        return found

    def _corners(self, both: int, new: int) -> Iterator[tuple[int, int]]:
        """(last, first) between which the best choice with these two numbers is: where two of its bounds meet."""
        size, least = self.both.size, self.least
        sides = self.first.size + self.last.size
        spare = sides + new + both - least
        lasts = {0, self.last.there, size + self.last.size - both - least, spare}
        firsts = {0, self.first.there, least - new, spare}
        sums = [size + sides + new - least]
        if self.earlier is not None:
            sums.append(self.earlier.size - least - both - new)
        apart = least - new - size + both - self.first.size  # of last - first, at least
        pairs = {(last, first) for last in lasts for first in firsts}
        pairs |= {(last, total - last) for last in lasts for total in sums}
        pairs |= {(total - first, first) for first in firsts for total in sums}
        pairs |= {(last, last - apart) for last in lasts}
        fits = self.last.there, self.first.there
        return ((last, first) for last, first in pairs if 0 <= last <= fits[0] and 0 <= first <= fits[1])

    def _lawful(self, both: int, last: int, first: int, new: int) -> bool:
        """Whether a cohort of so many of each group satisfies spec 8.8."""
        total = both + last + first + new
        if self.earlier is not None and not self._hides(self.earlier.missed(total)):
            return False
        if self.on_another:
            gone, joined = (self.both.missed(both), self.last.missed(last)), (_here(first), _here(new))
            if not (self._hides(*gone) and self._hides(*joined)):
                return False
        return not self.three or self._hides_three(both, last, first, new)

    def _hides_three(self, both: int, last: int, first: int, new: int) -> bool:
        """Of the combinations of three sums with weights -1, 0, 1, those that can show few (spec 8.8, strictly, 2);
        whom the two cohorts before show is shown anyway."""
        known_last, known_first = self.last.size < self.least, self.first.size < self.least
        both_in, both_out, new_in = _here(both), self.both.missed(both), _here(new)
        last_in, last_out = _known(_here(last), known_last), _known(self.last.missed(last), known_last)
        first_in, first_out = _known(_here(first), known_first), _known(self.first.missed(first), known_first)
        return (
            self._hides(both_out, first_out, last_in, new_in)
            and self._hides(both_in, both_out, first_out, last_out, new_in)
            and self._hides(both_in, first_in, first_out, last_out, new_in)
            and self._hides(both_in, first_out, last_in, last_out, new_in)
        )

    def _hides(self, *shown: _Shown) -> bool:
        """Whether these are many together, or all given up."""
        return sum(count for count, _ in shown) >= self.least or all(given_up for _, given_up in shown)


def _here(count: int) -> _Shown:
    """Members of the cohort: nobody gives them up."""
    return count, not count


def _known(shown: _Shown, known: bool) -> _Shown:
    return shown[0], known or shown[1]
