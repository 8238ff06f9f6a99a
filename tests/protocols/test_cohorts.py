from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse, Rejected
from protocols.cohorts import (
    COHORT_FULL,
    DISPUTED,
    EXCLUSIONS,
    EXEMPTING,
    OFFENCES,
    UNACKNOWLEDGED,
    ack_digest,
    choose_cohort,
    cohort_digest,
)
from protocols.envelopes import open_policy
from protocols.messages import Dispute, ShareAck
from protocols.policy import Policy
from tests.simulator import Setting, make_policy

POLICY, _ = open_policy(make_policy(Setting(trustees=5, threshold=4, corrupt=2, max_cohort=4))[0])
NAMES = tuple(member.id for member in POLICY.trustees)


def ack(trustee: str, acknowledged: Sequence[int], disputed: Sequence[int] = ()) -> ShareAck:
    disputes = tuple(Dispute(index, "share-opening") for index in disputed)
    return ShareAck("simulated", 1, bytes(32), trustee, tuple(acknowledged), disputes, bytes(32))


def brute_force(
    policy: Policy, valid: Sequence[int], acks: Mapping[str, ShareAck]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The rule as it is written: over all sets of at least t trustees."""
    undisputed = [
        index
        for index in valid
        if sum(index in {dispute.index for dispute in each.disputed} for each in acks.values()) <= policy.corrupt
    ]
    candidates = undisputed[: policy.max_cohort]
    names = [member.id for member in policy.trustees if member.id in acks]
    choices = []
    for size in range(policy.threshold, len(names) + 1):
        for quorum in combinations(names, size):
            accepted = tuple(i for i in candidates if all(i in acks[name].acknowledged for name in quorum))
            positions = tuple(NAMES.index(name) for name in quorum)
            choices.append((-len(accepted), -len(quorum), positions, accepted, quorum))
    return min(choices)[3:] if choices else ((), ())


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[int], dict[str, ShareAck]]:
    valid = sorted(draw(st.sets(st.integers(10, 17), max_size=7)))
    acks = {}
    for name in draw(st.sets(st.sampled_from(NAMES), min_size=3)):
        seen = sorted(draw(st.sets(st.sampled_from(valid)))) if valid else []
        complained = [index for index in seen if draw(st.integers(0, 3)) == 0]
        acks[name] = ack(name, [index for index in seen if index not in complained], complained)
    return valid, acks


@settings(max_examples=150, deadline=None)
@given(situations())
def test_choice_is_that_of_the_rule(situation: tuple[list[int], dict[str, ShareAck]]) -> None:
    valid, acks = situation
    choice = choose_cohort(POLICY, valid, acks)
    assert (choice.accepted, choice.trustees) == brute_force(POLICY, valid, acks)
    assert sorted((*choice.accepted, *choice.left_out)) == valid


def test_everybody_agrees() -> None:
    choice = choose_cohort(POLICY, [7, 8, 9], {name: ack(name, [7, 8, 9]) for name in NAMES})
    assert choice.accepted == (7, 8, 9)
    assert choice.trustees == NAMES
    assert choice.left_out == {}


def test_more_clients_come_before_more_trustees() -> None:
    acks = {name: ack(name, [7, 8, 9]) for name in NAMES[:4]} | {NAMES[4]: ack(NAMES[4], [7, 8])}
    choice = choose_cohort(POLICY, [7, 8, 9], acks)
    assert choice.accepted == (7, 8, 9)
    assert choice.trustees == NAMES[:4]


def test_ties_go_to_the_first_trustees() -> None:
    acks = {name: ack(name, [8, 9]) for name in NAMES}
    acks[NAMES[0]] = ack(NAMES[0], [7, 8])
    acks[NAMES[1]] = ack(NAMES[1], [7, 9])
    choice = choose_cohort(POLICY, [7, 8, 9], acks)
    assert choice.accepted == (8,)
    assert choice.trustees == (NAMES[0], *NAMES[2:])
    assert choice.left_out == {7: UNACKNOWLEDGED, 9: UNACKNOWLEDGED}


def test_disputes_by_f_trustees_do_not_exclude_and_by_more_do() -> None:
    wide = replace(POLICY, threshold=3)
    acks = {name: ack(name, [7, 8]) for name in NAMES[:3]} | {name: ack(name, [8], [7]) for name in NAMES[3:]}
    assert choose_cohort(wide, [7, 8], acks).accepted == (7, 8)
    acks[NAMES[2]] = ack(NAMES[2], [8], [7])
    choice = choose_cohort(wide, [7, 8], acks)
    assert choice.accepted == (8,)
    assert choice.left_out == {7: DISPUTED}


def test_cohort_is_full_at_max_cohort() -> None:
    valid = [1, 2, 3, 4, 5, 6]
    choice = choose_cohort(POLICY, valid, {name: ack(name, valid) for name in NAMES})
    assert choice.accepted == (1, 2, 3, 4)
    assert choice.left_out == {5: COHORT_FULL, 6: COHORT_FULL}


def test_fewer_than_t_acknowledgements_choose_nobody() -> None:
    choice = choose_cohort(POLICY, [7], {name: ack(name, [7]) for name in NAMES[:3]})
    assert choice.accepted == ()
    assert choice.trustees == ()
    assert choice.left_out == {7: UNACKNOWLEDGED}


def test_reasons_are_words_of_the_protocol() -> None:
    """They stand in signed entries: a change of one is a change of the version."""
    assert EXCLUSIONS == (
        "duplicate",
        "replayed",
        "malformed",
        "invalid-proof",
        "disputed",
        "cohort-full",
        "unacknowledged",
    )
    assert set(OFFENCES) == {"duplicate", "malformed", "invalid-proof", "disputed"}
    assert set(EXEMPTING) == {"malformed", "invalid-proof", "disputed"}


def test_too_many_trustees_are_refused() -> None:
    sixteen = replace(POLICY, trustees=tuple(replace(POLICY.trustees[0], id=f"t{i}") for i in range(16)))
    assert choose_cohort(sixteen, [], {}).trustees == ()
    crowd = replace(POLICY, trustees=tuple(replace(POLICY.trustees[0], id=f"t{i}") for i in range(17)))
    with pytest.raises(Rejected) as excinfo:
        choose_cohort(crowd, [], {})
    assert excinfo.value.check == "policy-trustees"


@pytest.mark.parametrize("valid", [[8, 7], [7, 7], [7, 8, 8], [7, 9, 8]])
def test_indices_must_ascend(valid: list[int]) -> None:
    with pytest.raises(Misuse, match="ascending"):
        choose_cohort(POLICY, valid, {})


def test_of_equal_cohorts_the_one_that_more_trustees_hold() -> None:
    """One client each: 7 is held by the first three trustees, 8 by the last four."""
    wide = replace(POLICY, threshold=3)
    held = {0: [7], 1: [7, 8], 2: [7, 8], 3: [8], 4: [8]}
    choice = choose_cohort(wide, [7, 8], {NAMES[i]: ack(NAMES[i], indices) for i, indices in held.items()})
    assert choice.accepted == (8,)
    assert choice.trustees == NAMES[1:]


def test_digests_bind_every_part() -> None:
    """As many parts in the same places, each of them another."""
    members = [("a", bytes(32)), ("b", bytes(32))]
    changes = [members[:1], [("c", bytes(32)), members[1]], [members[0], ("b", b"\x01" * 32)], members[::-1]]
    cohorts = [cohort_digest(bytes(32), each, ("t", "u")) for each in [members, *changes]]
    cohorts += [cohort_digest(bytes(32), members, names) for names in (("t",), ("t", "v"), ("u", "t"), ("tu",), ())]
    acks = [ack_digest(bytes(32), "t", each) for each in [members, *changes]]
    acks += [ack_digest(b"\x01" * 32, "t", members), ack_digest(bytes(32), "u", members)]
    assert len({*cohorts, *acks}) == len(cohorts) + len(acks) == 17


@given(st.lists(st.tuples(st.text("ab", max_size=3), st.binary(min_size=32, max_size=32)), max_size=3))
def test_digests_separate_what_they_bind(members: list[tuple[str, bytes]]) -> None:
    base = cohort_digest(bytes(32), members, ("a", "b"))
    assert base != cohort_digest(b"\x01" * 32, members, ("a", "b"))
    assert base != cohort_digest(bytes(32), members, ("ab",))
    assert base != cohort_digest(bytes(32), [*members, ("c", bytes(32))], ("a", "b"))
    assert base != ack_digest(bytes(32), "a", members)
    assert ack_digest(bytes(32), "a", members) != ack_digest(bytes(32), "b", members)
