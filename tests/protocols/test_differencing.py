from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols.differencing import check_candidate, check_difference, check_pair

CLIENTS = st.frozensets(st.sampled_from("abcdef"))
NOBODY: frozenset[str] = frozenset()


def accepted(*arguments: object) -> bool:
    try:
        check_pair(*arguments)  # type: ignore[arg-type]
    except Rejected:
        return False
    return True


@pytest.mark.parametrize(
    ("first", "second", "offenders", "allowed"),
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
        ("abc", "abcd", "d", True),
    ],
)
def test_one_sided_differences(first: str, second: str, offenders: str, allowed: bool) -> None:
    assert accepted(frozenset(first), frozenset(second), frozenset(offenders), 2) is allowed


@given(CLIENTS, CLIENTS, CLIENTS, CLIENTS)
def test_knowing_more_offenders_never_refuses_more(
    first: frozenset[str], second: frozenset[str], fewer: frozenset[str], more: frozenset[str]
) -> None:
    if accepted(first, second, fewer, 3):
        assert accepted(first, second, fewer | more, 3)


@given(st.lists(CLIENTS, max_size=4), CLIENTS)
def test_all_pairs_are_the_candidates_one_by_one(cohorts: list[frozenset[str]], offenders: frozenset[str]) -> None:
    def stepwise() -> bool:
        try:
            for count, cohort in enumerate(cohorts):
                check_candidate(cohorts[:count], cohort, offenders, 2)
        except Rejected:
            return False
        return True

    try:
        check_difference(cohorts, offenders, 2)
        together = True
    except Rejected:
        together = False
    assert together == stepwise()


def test_the_isolated_client_is_named() -> None:
    with pytest.raises(Rejected) as excinfo:
        check_pair(frozenset("abc"), frozenset("ab"), NOBODY, 2)
    assert excinfo.value.check == "differencing"
    assert excinfo.value.found.endswith("c")
