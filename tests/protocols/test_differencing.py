from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import replace
from itertools import combinations, pairwise, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols.cohorts import Choice, Judged, choose, choose_cohort, exempt_clients, suppression_order
from protocols.contexts import tagged_hash
from protocols.envelopes import open_policy
from protocols.messages import ShareAck
from protocols.privacy.differencing import (
    Cohort,
    check_consecutive,
    check_nested,
    exposed_by_three,
    exposed_by_two,
    exposed_by_weights,
    may_leave,
)
from protocols.reasons import SUPPRESSED
from tests.independent.cohorts import strictly_fine
from tests.simulator import Setting, make_policy
from tests.spelling import answering

NAMES = "abcdefgh"
CLIENTS = st.frozensets(st.sampled_from(NAMES))
MINIMUM = st.integers(2, 4)
NOBODY: frozenset[str] = frozenset()
POLICY, _ = open_policy(make_policy(Setting(trustees=2, threshold=2, corrupt=1, max_cohort=16))[0])
HASH = bytes(range(32))


def accepted(earlier: Set[str], later: Set[str], exempt: Set[str], min_cohort: int) -> bool:
    try:
        check_nested(earlier, later, exempt, min_cohort)
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
        ("abcd", "abef", "", False),
        ("abcd", "abce", "", False),
        ("abcd", "abc", "d", True),
        ("abcd", "abc", "a", False),
        ("abc", "abcd", "d", False),
        ("abcd", "abce", "d", False),
    ],
)
def test_a_later_cohort_is_a_part_of_the_earlier(earlier: str, later: str, exempt: str, allowed: bool) -> None:
    assert accepted(frozenset(earlier), frozenset(later), frozenset(exempt), 2) is allowed


def test_one_exempt_client_does_not_make_up_for_another() -> None:
    assert not accepted(frozenset("abcd"), frozenset("ab"), frozenset("c"), 3)
    assert accepted(frozenset("abcd"), frozenset("ab"), frozenset("cd"), 3)


@given(CLIENTS, CLIENTS, CLIENTS, MINIMUM)
def test_the_rule_as_it_is_said(
    earlier: frozenset[str], later: frozenset[str], exempt: frozenset[str], minimum: int
) -> None:
    gone = earlier - later
    assert accepted(earlier, later, exempt, minimum) is (
        later <= earlier and (len(gone) in {0, *range(minimum, 9)} or gone <= exempt)
    )


@given(CLIENTS, CLIENTS, CLIENTS, CLIENTS, MINIMUM)
def test_exempting_more_never_refuses_more(
    earlier: frozenset[str], later: frozenset[str], fewer: frozenset[str], more: frozenset[str], minimum: int
) -> None:
    if accepted(earlier, later, fewer, minimum):
        assert accepted(earlier, later, fewer | more, minimum)


def test_who_is_isolated_is_named() -> None:
    for earlier, later, found in (("abc", "ab", "a difference of c"), ("ab", "abd", "new are d")):
        with pytest.raises(Rejected) as excinfo:
            check_nested(frozenset(earlier), frozenset(later), NOBODY, 2)
        assert (excinfo.value.check, excinfo.value.found) == ("differencing", found)


# ---- any number of sums ----

FAMILIES = st.lists(st.tuples(CLIENTS, CLIENTS), min_size=1, max_size=6)  # (cohort, exempt in its round)
WEIGHTS = st.lists(st.integers(-3, 3), min_size=6, max_size=6)


def opened(family: Sequence[tuple[Set[str], Set[str]]], minimum: int) -> tuple[list[Set[str]], Set[str]]:
    """Of these candidates in turn, the cohorts that may be opened on one model, and whom their rounds give up."""
    chain: list[Set[str]] = []
    given_up: set[str] = set()
    for candidate, exempt in family:
        if len(candidate) < minimum or (chain and not accepted(chain[-1], candidate, exempt, minimum)):
            continue
        given_up |= (chain[-1] - candidate) & exempt if chain else set()
        chain.append(candidate)
    return chain, given_up


def support(chain: Sequence[Set[str]], weights: Sequence[int]) -> set[str]:
    """The clients whose updates a combination of the sums shows something of."""
    pairs = list(zip(chain, weights, strict=False))
    return {client for client in NAMES if sum(weight for cohort, weight in pairs if client in cohort)}


def isolates(chain: Sequence[Set[str]], given_up: Set[str], weights: Sequence[int], minimum: int) -> bool:
    shown = support(chain, weights)
    return bool(shown - given_up) and len(shown) < minimum


@settings(max_examples=400)
@given(FAMILIES, WEIGHTS, MINIMUM)
def test_no_combination_of_the_sums_shows_a_few(
    family: list[tuple[frozenset[str], frozenset[str]]], weights: list[int], minimum: int
) -> None:
    """Of any family of cohorts, those that the rule lets be opened: whatever integers they are weighted with, the
    combination is of nobody, of min_cohort clients or more, or of those who were given up."""
    chain, given_up = opened(family, minimum)
    assert not isolates(chain, given_up, weights, minimum)


@settings(max_examples=400)
@given(st.sets(st.sampled_from(NAMES), min_size=4), st.data(), WEIGHTS, MINIMUM)
def test_no_combination_of_a_long_chain_shows_a_few(
    everybody: set[str], data: st.DataObject, weights: list[int], minimum: int
) -> None:
    """The same over families that nest: few of the random ones have more than two cohorts."""
    chain, given_up = [frozenset(everybody)], set[str]()
    for _ in range(5):
        members = sorted(chain[-1])
        later = frozenset(data.draw(st.sets(st.sampled_from(members)))) if members else NOBODY
        exempt = data.draw(CLIENTS)
        if len(later) >= minimum and accepted(chain[-1], later, exempt, minimum):
            given_up |= (chain[-1] - later) & exempt
            chain.append(later)
    assert not isolates(chain, given_up, weights, minimum)


@settings(max_examples=400)
@given(st.data(), st.integers(2, 3))
def test_no_combination_of_what_is_released_shows_a_few(data: st.DataObject, minimum: int) -> None:
    """Faults may be claimed falsely, and whoever releases a sum need not have looked at the rounds before: it asks that
    all be true which the cohorts so far rest on. Sums that are not released are not known. The cohorts nest, so that
    the blocks between those that are released tell of every combination."""
    chain, released = [frozenset(NAMES)], [frozenset(NAMES)]
    relied_on, guilty = set[tuple[int, str]](), set[tuple[int, str]]()
    for number in range(1, 5):
        claimed = data.draw(st.frozensets(st.sampled_from(sorted(chain[-1])), max_size=1))
        absent = data.draw(st.sampled_from([NOBODY, NOBODY, frozenset(sorted(chain[-1])[:minimum])]))
        later = chain[-1] - absent - claimed
        if len(later) < minimum or not accepted(chain[-1], later, claimed, minimum):
            continue
        guilty |= {(number, client) for client in claimed if data.draw(st.booleans())}
        if not may_leave(chain[-1] - later, NOBODY, minimum):
            relied_on |= {(number, client) for client in chain[-1] - later}
        chain.append(later)
        if relied_on <= guilty:
            released.append(later)
    given_up = {client for _, client in relied_on & guilty}
    for earlier, later in pairwise(released):
        gone = earlier - later
        assert len(gone) >= minimum or gone <= given_up


def test_pairs_alone_do_not_suffice() -> None:
    """What the rule is for: any two of these differ by three or more, and three of them show one client."""
    chain = [frozenset("abcdefg"), frozenset("abc"), frozenset("def")]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        for gone in (chain[first] - chain[second], chain[second] - chain[first]):
            assert not gone or len(gone) >= 3
    assert support(chain, [1, -1, -1]) == {"g"}
    assert not accepted(chain[1], chain[2], NOBODY, 3)


# ---- alike models: whom the sums of consecutive rounds expose ----


@given(CLIENTS, CLIENTS, MINIMUM)
def test_two_sums_expose_a_small_side(earlier: frozenset[str], later: frozenset[str], minimum: int) -> None:
    sides = [side for side in (earlier - later, later - earlier) if 0 < len(side) < minimum]
    assert exposed_by_two(earlier, later, minimum) == frozenset().union(*sides)


@given(st.lists(CLIENTS, min_size=3, max_size=3), MINIMUM)
def test_three_sums_expose_what_a_combination_shows(cohorts: list[frozenset[str]], minimum: int) -> None:
    """Against every weighting with -1, 0 and 1, but for those of the first two or the last two."""
    expected = set[str]()
    for weights in product((-1, 0, 1), repeat=3):
        shown = support(cohorts, weights)
        if weights[0] and weights[2] and len(shown) < minimum:
            expected |= shown
    assert exposed_by_three(cohorts, minimum) == expected


WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 3))


@given(WEIGHTS, WEIGHTS, MINIMUM)
def test_two_weighed_sums_expose_whoever_weighs_otherwise(
    earlier: dict[str, int], later: dict[str, int], minimum: int
) -> None:
    """Against every combination with coefficients that leave somebody out; of the clients in both."""
    both = earlier.keys() & later.keys()
    expected = set[str]()
    for first, second in product(range(1, 4), repeat=2):
        shown = {client for client in both if first * later[client] != second * earlier[client]}
        if len(shown) < min(minimum, len(both)):
            expected |= shown
    assert exposed_by_weights(earlier, later, minimum) == expected


def test_two_aborts_on_alike_models_expose_one() -> None:
    cohorts = [frozenset("abcdefg"), frozenset("abc"), frozenset("def")]
    assert not any(exposed_by_two(first, second, 3) for first, second in combinations(cohorts, 2))
    assert exposed_by_three(cohorts, 3) == {"g"}


# ---- the way out: whom a repetition leaves out for those who are missing ----


def judged(clients: Sequence[str], faults: dict[str, str]) -> list[Judged]:
    return [Judged(10 + at, client, faults.get(client)) for at, client in enumerate(clients)]


def acks(submissions: Sequence[Judged], unheld: Set[str]) -> dict[str, ShareAck]:
    held = answering(10, [each.index for each in submissions if each.client not in unheld])
    return {member.id: ShareAck("f", 1, bytes(32), member.id, *held, bytes(32)) for member in POLICY.trustees}


FAULTS = st.dictionaries(
    st.sampled_from(NAMES), st.sampled_from(["replayed", "malformed", "invalid-proof"]), max_size=3
)


@settings(max_examples=300, deadline=None)
@given(CLIENTS, st.permutations(NAMES), st.integers(0, 8), FAULTS, CLIENTS, MINIMUM)
def test_what_the_rule_chooses_may_be_opened(
    earlier: frozenset[str], order: list[str], count: int, faults: dict[str, str], unheld: frozenset[str], minimum: int
) -> None:
    """Whoever stays away, and for whatever reason submissions are left out: a cohort that is large enough nests, no
    more leave than need be, and they leave in the one order."""
    policy = replace(POLICY, min_cohort=minimum)
    submissions = judged([each for each in order if each in earlier][:count], faults)
    given = acks(submissions, unheld)
    clients = {each.index: each.client for each in submissions}
    before = choose_cohort(policy, [each.index for each in submissions if each.fault is None], given)
    choice = choose(policy, HASH, submissions, given, earlier)
    members = {clients[index] for index in choice.accepted}
    if len(members) >= minimum:
        check_nested(earlier, members, exempt_clients(submissions, choice), minimum)
    candidates = {clients[index] for index in before.accepted}
    leaving = {clients[index] for index, reason in choice.left_out.items() if reason == SUPPRESSED}
    assert members == candidates - leaving
    assert leaving == set(suppression_order(HASH, candidates)[: len(leaving)])
    if leaving:
        gone = earlier - candidates
        assert not may_leave(gone, exempt_clients(submissions, before), minimum)
        assert len(leaving) == min(len(candidates), minimum - len(gone))


RECENT = st.lists(st.tuples(st.sampled_from([b"M", b"N", b"O"]), CLIENTS), min_size=1, max_size=2)


@settings(max_examples=300, deadline=None)
@given(RECENT, st.permutations(NAMES), st.integers(0, 8), FAULTS, MINIMUM)
def test_what_the_strict_rule_chooses_exposes_nobody(
    past: list[tuple[bytes, frozenset[str]]], order: list[str], count: int, faults: dict[str, str], minimum: int
) -> None:
    """On a model of its own, after any two cohorts; by the words of the rule, those of the second auditor."""
    policy = replace(POLICY, min_cohort=minimum, strict_consecutive=True)
    submissions = judged(order[:count], faults)
    recent = [Cohort(model, clients) for model, clients in past]
    choice = choose(policy, HASH, submissions, acks(submissions, NOBODY), None, recent, b"P")
    clients = {each.index: each.client for each in submissions}
    members = {clients[index] for index in choice.accepted}
    exempt = exempt_clients(submissions, choice)
    if len(members) >= minimum:
        check_consecutive(recent, Cohort(b"P", members), exempt, minimum)
        assert strictly_fine([(model, set(each)) for model, each in past], b"P", members, exempt, minimum)


@settings(max_examples=300, deadline=None)
@given(RECENT, CLIENTS, MINIMUM)
def test_the_strict_rule_finds_a_cohort_where_all_of_the_last_one_submit(
    past: list[tuple[bytes, frozenset[str]]], others: frozenset[str], minimum: int
) -> None:
    """Whoever else submits, new or back again: a federation in which nobody is missing goes on."""
    policy = replace(POLICY, min_cohort=minimum, strict_consecutive=True)
    recent = [Cohort(model, clients) for model, clients in past]
    last = recent[-1].clients
    submissions = judged(sorted(last | others), {})
    choice = choose(policy, HASH, submissions, acks(submissions, NOBODY), None, recent, b"P")
    clients = {each.index: each.client for each in submissions}
    members = {clients[index] for index in choice.accepted}
    if all(len(each) >= minimum for _, each in past):
        assert last <= members
        check_consecutive(recent, Cohort(b"P", members), NOBODY, minimum)


@given(RECENT, CLIENTS, CLIENTS, MINIMUM, st.sampled_from([b"M", b"P"]))
def test_both_auditors_find_the_same_consecutive_rounds(
    past: list[tuple[bytes, frozenset[str]]],
    later: frozenset[str],
    exempt: frozenset[str],
    minimum: int,
    model: bytes,
) -> None:
    recent = [Cohort(each, clients) for each, clients in past]
    try:
        check_consecutive(recent, Cohort(model, later), exempt, minimum)
        fine = True
    except Rejected:
        fine = False
    assert fine is strictly_fine([(m, set(clients)) for m, clients in past], model, set(later), set(exempt), minimum)


def test_the_order_is_that_of_hashes_with_the_policy() -> None:
    by_hash = sorted(NAMES, key=lambda name: tagged_hash(b"verifl/v1/suppression", (HASH, name.encode())))
    assert suppression_order(HASH, NAMES) == by_hash
    assert suppression_order(bytes(32), NAMES) != by_hash


def chosen(clients: str, earlier: str | None, faults: dict[str, str] | None = None, minimum: int = 3) -> Choice:
    submissions = judged(clients, faults or {})
    return choose(
        replace(POLICY, min_cohort=minimum),
        HASH,
        submissions,
        acks(submissions, NOBODY),
        None if earlier is None else frozenset(earlier),
    )


@pytest.mark.parametrize(
    ("clients", "earlier", "faults", "suppressed"),
    [
        ("abcdefg", None, {}, 0),
        ("abcdefg", "abcdefg", {}, 0),
        ("abcdef", "abcdefg", {}, 2),
        ("abcde", "abcdefg", {}, 1),
        ("abcd", "abcdefg", {}, 0),
        ("abcdefg", "abcdefg", {"g": "invalid-proof"}, 0),
        ("abcdefg", "abcdefg", {"g": "replayed"}, 2),
        ("abcdef", "abcdefg", {"f": "malformed"}, 1),
        ("abcde", "abcdef", {}, 2),
        ("abcd", "abcde", {}, 2),
        ("ab", "abcde", {}, 0),
    ],
)
def test_how_many_are_suppressed(clients: str, earlier: str | None, faults: dict[str, str], suppressed: int) -> None:
    choice = chosen(clients, earlier, faults)
    assert choice.suppressed == suppressed
    assert len(choice.accepted) == len(clients) - len(faults) - suppressed
