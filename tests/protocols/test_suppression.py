"""Under `strict_consecutive` the largest cohort that exposes nobody is found, against all subsets one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols.privacy import suppression
from protocols.privacy.differencing import Cohort, check_consecutive, check_nested
from protocols.privacy.suppression import largest_cohort
from tests.work import lines_run

NAMES = "abcdefgh"
NOBODY: frozenset[str] = frozenset()
Rank = tuple[int, int, int, int]


@dataclass(frozen=True)
class Situation:
    before: Sequence[Cohort]
    model: bytes
    earlier: frozenset[str] | None
    candidates: Sequence[str]
    exempt: frozenset[str]
    least: int

    @property
    def recurring(self) -> bool:
        """The model was left and came back: the one case in which the rule may miss a cohort."""
        return self.earlier is not None and self.earlier != self.before[-1].clients

    def chosen(self) -> frozenset[str]:
        return largest_cohort(self.before, self.model, self.earlier, self.candidates, self.exempt, self.least)

    def lawful(self, members: Set[str]) -> bool:
        try:
            if self.earlier is not None:
                check_nested(self.earlier, members, self.exempt, self.least)
            check_consecutive(self.before, Cohort(self.model, members), self.exempt, self.least)
        except Rejected:
            return False
        return len(members) >= self.least

    def rank(self, members: Set[str]) -> Rank:
        """By which one is preferred to another."""
        last = members & self.before[-1].clients
        first = self.before[-2].clients if len(self.before) > 1 else NOBODY
        return len(members), len(last), len(last & first), len(members & first)

    def best(self) -> Rank | None:
        """Of all lawful subsets of the candidates."""
        for size in range(len(self.candidates), self.least - 1, -1):
            found = (frozenset(each) for each in combinations(self.candidates, size))
            ranks = [self.rank(each) for each in found if self.lawful(each)]
            if ranks:
                return max(ranks)
        return None


def groups(situation: Situation, members: Set[str]) -> list[list[str]]:
    """The candidates among `members`, in their order, by which of the two cohorts before they were in."""
    found: dict[tuple[bool, ...], list[str]] = {}
    for each in situation.candidates:
        if each in members:
            found.setdefault(tuple(each in cohort.clients for cohort in situation.before), []).append(each)
    return list(found.values())


CLIENTS = st.frozensets(st.sampled_from(NAMES), min_size=1)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    models = draw(st.sampled_from([b"MNP", b"MMP", b"MPP", b"PPP", b"PMP"]))
    before = [Cohort(models[place : place + 1], draw(CLIENTS)) for place in (0, 1)][draw(st.integers(0, 1)) :]
    on_it = [each.clients for each in before if each.model == b"P"]
    earlier = on_it[-1] if on_it else None
    there = draw(CLIENTS) if earlier is None else draw(CLIENTS) & earlier
    exempt = draw(st.frozensets(st.sampled_from(NAMES), max_size=3)) - there
    order = draw(st.permutations(sorted(there)))
    return Situation(before, b"P", earlier, order, exempt, draw(st.integers(2, 4)))


@settings(max_examples=500, deadline=None)
@given(situations())
def test_the_largest_lawful_cohort_is_found(situation: Situation) -> None:
    """Whatever was before, also cohorts that are too small themselves, as only a hostile log has them."""
    chosen = situation.chosen()
    assert not chosen or situation.lawful(chosen)
    if not situation.recurring:
        assert (situation.rank(chosen) if chosen else None) == situation.best()


@settings(max_examples=200, deadline=None)
@given(situations())
def test_of_each_group_the_first_in_the_order_leave(situation: Situation) -> None:
    chosen = situation.chosen()
    for group in groups(situation, frozenset(situation.candidates)) if chosen else ():
        staying = [each for each in group if each in chosen]
        assert staying == group[len(group) - len(staying) :]


def history(seed: int) -> tuple[int, int]:
    """(rounds in which a lawful cohort existed, those of them in which one was found) of a federation that a client
    leaves for good, in which others stay away now and then, and rounds fail after their cohort was closed."""
    rng = random.Random(seed)
    least, everybody = rng.choice([2, 3]), NAMES[: rng.randint(6, 8)]
    order = rng.sample(everybody, len(everybody))
    before = [Cohort(b"0", frozenset(everybody))]
    model, aborted, existed, found = 1, False, 0, 0
    for number in range(9):
        present = [each for each in order if rng.random() > 0.1 and not (each == everybody[0] and number > 1)]
        earlier = before[-1].clients if aborted else None
        there = [each for each in present if earlier is None or each in earlier]
        situation = Situation(before[-2:], b"%d" % model, earlier, there, NOBODY, least)
        chosen = situation.chosen()
        existed += situation.best() is not None
        found += bool(chosen)
        if chosen:
            before.append(Cohort(situation.model, chosen))
            aborted = rng.random() < 0.25
            model += not aborted
    return existed, found


def test_a_history_goes_on_wherever_it_can() -> None:
    """Where a member of the last cohort is gone for good, too."""
    played = [history(seed) for seed in range(120)]
    assert all(found == existed for existed, found in played)
    assert sum(existed for existed, _ in played) > 300  # there is something to be found


@pytest.mark.exhaustive
def test_six_hundred_histories_go_on_wherever_they_can() -> None:
    played = [history(seed) for seed in range(1000, 1600)]
    assert all(found == existed for existed, found in played)


def test_a_model_that_comes_back_may_need_a_part_of_the_newcomers() -> None:
    """The one thing that the rule misses: all three of those who are not in the last cohort leave one client of P."""
    before = [Cohort(b"P", frozenset("bcde")), Cohort(b"M", frozenset("ac"))]
    situation = Situation(before[1:], b"P", before[0].clients, "bcde", NOBODY, 2)
    assert situation.recurring
    assert (situation.chosen(), situation.best()) == (NOBODY, (2, 0, 0, 0))


def test_the_choice_is_linear_in_the_clients() -> None:
    """Also where nothing is lawful: everybody but one is there, and more must be missing than the last cohort has."""

    def chosen(count: int) -> None:
        names = [f"{number:04}" for number in range(count)]
        last, first = frozenset(names[: count // 2]), frozenset(names[count // 4 :])
        before = [Cohort(b"M", first), Cohort(b"N", last)]
        assert not largest_cohort(before, b"P", None, names[1:], NOBODY, count // 2 + count // 4)

    assert lines_run(lambda: chosen(400), suppression) < 2.3 * lines_run(lambda: chosen(200), suppression)
