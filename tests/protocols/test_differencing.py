from __future__ import annotations

from collections.abc import Set

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols.differencing import check_candidate, check_pair

CLIENTS = st.frozensets(st.sampled_from("abcdef"))
MINIMUM = st.integers(1, 4)
NOBODY: frozenset[str] = frozenset()


def accepted(earlier: Set[str], later: Set[str], exempt: Set[str], min_cohort: int) -> bool:
    try:
        check_pair(earlier, later, exempt, min_cohort)
    except Rejected:
        return False
    return True


@pytest.mark.parametrize(
    ("earlier", "later", "exempt", "allowed"),
    [
        ("abcd", "abcd", "", True),
        ("abcd", "abc", "", False),
        ("abc", "abcd", "", False),
        ("abcd", "ab", "", True),
        ("abcd", "abef", "", True),
        ("abcd", "abce", "", False),
        ("abcd", "abcef", "", False),
        ("abcd", "abc", "d", True),
        ("abcd", "abc", "a", False),
        ("abc", "abcd", "d", False),
        ("abcd", "abce", "d", False),
        ("abcd", "abcef", "d", True),
    ],
)
def test_one_sided_differences(earlier: str, later: str, exempt: str, allowed: bool) -> None:
    assert accepted(frozenset(earlier), frozenset(later), frozenset(exempt), 2) is allowed


def test_one_exempt_client_does_not_make_up_for_another() -> None:
    assert not accepted(frozenset("abcd"), frozenset("ab"), frozenset("c"), 3)
    assert accepted(frozenset("abcd"), frozenset("ab"), frozenset("cd"), 3)


@given(CLIENTS, CLIENTS, CLIENTS, MINIMUM)
def test_the_rule_as_it_is_said(
    earlier: frozenset[str], later: frozenset[str], exempt: frozenset[str], minimum: int
) -> None:
    missing, joined = earlier - later, later - earlier
    allowed = (len(missing) in {0, *range(minimum, 7)} or missing <= exempt) and len(joined) in {0, *range(minimum, 7)}
    assert accepted(earlier, later, exempt, minimum) is allowed


@given(CLIENTS, CLIENTS, CLIENTS, CLIENTS)
def test_exempting_more_never_refuses_more(
    earlier: frozenset[str], later: frozenset[str], fewer: frozenset[str], more: frozenset[str]
) -> None:
    if accepted(earlier, later, fewer, 3):
        assert accepted(earlier, later, fewer | more, 3)


@given(CLIENTS, CLIENTS, CLIENTS, MINIMUM)
def test_only_the_exempt_are_ever_isolated(
    earlier: frozenset[str], later: frozenset[str], exempt: frozenset[str], minimum: int
) -> None:
    if accepted(earlier, later, exempt, minimum):
        for isolated in (earlier - later, later - earlier):
            assert len(isolated) >= minimum or isolated <= exempt & (earlier - later)


@given(CLIENTS, CLIENTS, MINIMUM)
def test_without_exemptions_the_order_of_the_rounds_does_not_matter(
    earlier: frozenset[str], later: frozenset[str], minimum: int
) -> None:
    assert accepted(earlier, later, NOBODY, minimum) is accepted(later, earlier, NOBODY, minimum)


@given(CLIENTS, CLIENTS, CLIENTS, CLIENTS, MINIMUM)
def test_only_who_is_missing_from_the_later_cohort_can_be_exempt(
    earlier: frozenset[str], later: frozenset[str], exempt: frozenset[str], others: frozenset[str], minimum: int
) -> None:
    irrelevant = others - (earlier - later)
    assert accepted(earlier, later, exempt | irrelevant, minimum) is accepted(earlier, later, exempt, minimum)


@given(st.lists(CLIENTS, max_size=4), CLIENTS, CLIENTS, MINIMUM)
def test_a_candidate_is_held_against_every_opened_cohort(
    opened: list[frozenset[str]], candidate: frozenset[str], exempt: frozenset[str], minimum: int
) -> None:
    try:
        check_candidate(opened, candidate, exempt, minimum)
        together = True
    except Rejected:
        together = False
    assert together is all(accepted(each, candidate, exempt, minimum) for each in opened)


def test_the_isolated_client_is_named() -> None:
    with pytest.raises(Rejected) as excinfo:
        check_pair(frozenset("abc"), frozenset("ab"), NOBODY, 2)
    assert excinfo.value.check == "differencing"
    assert excinfo.value.found.endswith("c")
