from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse, Rejected
from protocols.cohorts import Choice, ack_digest, choose_cohort, cohort_digest, disputed_by_quorum
from protocols.envelopes import open_policy
from protocols.messages import Dispute, ShareAck
from protocols.policy import Policy
from protocols.reasons import COHORT_FULL, DISPUTED, EXEMPTING, OFFENCES, UNACKNOWLEDGED
from protocols.verdicts import VERDICTS
from tests.simulator import Setting, make_policy
from tests.spelling import answering

POLICY, _ = open_policy(make_policy(Setting(trustees=5, threshold=4, corrupt=2, max_cohort=4))[0])
NAMES = tuple(member.id for member in POLICY.trustees)


def ack(trustee: str, acknowledged: Sequence[int], disputed: Sequence[int] = ()) -> ShareAck:
    disputes = tuple(Dispute(index, "share-opening") for index in disputed)
    return ShareAck("simulated", 1, bytes(32), trustee, *answering(0, acknowledged, disputes), bytes(32))


def plain_choice(policy: Policy, valid: Sequence[int], acks: Mapping[str, ShareAck]) -> Choice:
    """The rule as it is written: over all sets of at least t trustees, index by index."""
    disputes = {
        index: sum(index in [dispute.index for dispute in each.disputed] for each in acks.values()) for index in valid
    }
    candidates = [index for index in valid if disputes[index] <= policy.corrupt][: policy.max_cohort]
    positions = [position for position, member in enumerate(policy.trustees) if member.id in acks]
    choices = []
    for size in range(policy.threshold, len(positions) + 1):
        for quorum in combinations(positions, size):
            names = tuple(policy.trustees[position].id for position in quorum)
            accepted = tuple(i for i in candidates if all(i in acks[name].acknowledged for name in names))
            choices.append((-len(accepted), -len(quorum), quorum, accepted, names))
    _, _, _, accepted, names = min(choices) if choices else (0, 0, (), (), ())
    left_out = {}
    for index in valid:
        if disputes[index] > policy.corrupt:
            left_out[index] = DISPUTED
        elif index not in candidates:
            left_out[index] = COHORT_FULL
        elif index not in accepted:
            left_out[index] = UNACKNOWLEDGED
    return Choice(accepted, names, left_out)


INDICES = st.lists(st.integers(9, 18), max_size=8)


@st.composite
def situations(draw: st.DrawFn) -> tuple[Policy, list[int], dict[str, ShareAck]]:
    """Of any policy; a trustee may say anything, twice, in any order, of what is not there, and so may a stranger."""
    trustees = tuple(replace(POLICY.trustees[0], id=f"t{i}") for i in range(draw(st.integers(1, 7))))
    policy = replace(
        POLICY,
        trustees=trustees,
        threshold=draw(st.integers(1, len(trustees))),
        corrupt=draw(st.integers(0, 3)),
        max_cohort=draw(st.integers(0, 8)),
    )
    valid = sorted(draw(st.sets(st.integers(10, 17), max_size=8)))
    habit = draw(st.sets(st.sampled_from(valid))) if valid else set()  # what most acknowledge, so that sets overlap
    names = draw(st.permutations([member.id for member in trustees]))[: draw(st.integers(0, len(trustees)))]
    acks = {name: ack(name, [*draw(INDICES), *draw(st.sampled_from([habit, ()]))], draw(INDICES)) for name in names}
    if draw(st.booleans()):
        acks["stranger"] = ack("stranger", valid, draw(INDICES))
    return policy, valid, acks


@settings(max_examples=300, deadline=None)
@given(situations())
def test_choice_is_that_of_the_rule(situation: tuple[Policy, list[int], dict[str, ShareAck]]) -> None:
    policy, valid, acks = situation
    choice = choose_cohort(policy, valid, acks)
    assert choice == plain_choice(policy, valid, acks)
    assert list(choice.left_out) == [index for index in valid if index not in choice.accepted]


def test_disputed_is_what_more_than_f_trustees_dispute() -> None:
    """However often each of them does so."""
    acks = {name: ack(name, [], [7, 8, 8]) for name in NAMES[:2]} | {NAMES[2]: ack(NAMES[2], [], [8, 9, 9, 9])}
    assert disputed_by_quorum(POLICY, acks) == {8}
    assert disputed_by_quorum(POLICY, {}) == set()


def test_of_sixteen_trustees_the_nine_who_hold_most() -> None:
    """Of 11440 sets: every trustee misses a client of sixteen, the last seven trustees two more."""
    trustees = tuple(replace(POLICY.trustees[0], id=f"t{i:02}") for i in range(16))
    policy = replace(POLICY, trustees=trustees, threshold=9, max_cohort=64)
    valid = list(range(100, 228))
    acks = {
        member.id: ack(member.id, [i for i in valid if i % 16 != at and (at < 9 or i % 16 < 14)])
        for at, member in enumerate(trustees)
    }
    choice = choose_cohort(policy, valid, acks)
    assert choice.trustees == tuple(member.id for member in trustees[:9])
    assert choice.accepted == tuple(i for i in valid[:64] if i % 16 >= 9)
    assert set(choice.left_out.values()) == {UNACKNOWLEDGED, COHORT_FULL}


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
    assert tuple(VERDICTS.values()) == (
        "accepted",
        "duplicate",
        "replayed",
        "malformed",
        "invalid-proof",
        "disputed",
        "cohort-full",
        "unacknowledged",
        "suppressed",
    )
    assert set(OFFENCES) == {"duplicate", "replayed", "malformed", "invalid-proof", "disputed"}
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
