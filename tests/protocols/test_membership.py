"""Many changes of the membership: the same as by their definition, and linear."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols import membership
from protocols.envelopes import open_envelope, open_policy, seal, seal_rotation
from protocols.identities import SigningKey
from protocols.log.merkle import leaf_hash, root
from protocols.membership import ENROLLED, Membership, changed_by
from protocols.messages import ISSUER, Revocation
from protocols.pinned import PinnedPolicy
from protocols.policy import Member
from protocols.reasons import LEFT
from tests.simulator import Setting, identity_of, make_policy
from tests.work import lines_run

CLIENTS = 12


def key_of(client: int, generation: int) -> SigningKey:
    return SigningKey.from_seed(hashlib.sha256(f"{client}, {generation}".encode()).digest())


def policy_of(clients: int) -> PinnedPolicy:
    members = (Member(f"client-{number:05}", key_of(number, 0).public_key) for number in range(clients))
    policy, _ = open_policy(make_policy(Setting())[0])
    return PinnedPolicy(replace(policy, roster=tuple(members)), b"", bytes(32))


def rotation(pinned: PinnedPolicy, client: int, generation: int, following: SigningKey | None = None) -> bytes:
    """The rotation of a client from its key of this generation to the next."""
    after = following or key_of(client, generation + 1)
    return seal_rotation(
        pinned.policy.federation, pinned.hash, f"client-{client:05}", key_of(client, generation), after
    )


def revocation(pinned: PinnedPolicy, client: int) -> bytes:
    message = Revocation(pinned.policy.federation, pinned.hash, f"client-{client:05}", LEFT)
    return seal(message, ISSUER, identity_of("issuer"))


def follow(pinned: PinnedPolicy, entries: Sequence[bytes], members: Membership = ENROLLED) -> Membership:
    for index, entry in enumerate(entries):
        members = changed_by(pinned, members, index, entry, open_envelope(entry))
    return members


@settings(max_examples=20, deadline=None)
@given(clients=st.lists(st.integers(0, CLIENTS - 1), max_size=30), left=st.sets(st.integers(0, CLIENTS - 1)))
def test_membership_is_what_the_changes_amount_to(clients: list[int], left: set[int]) -> None:
    policy = policy_of(CLIENTS)
    keys, retired, entries = dict.fromkeys(range(CLIENTS), 0), [], []
    changed: dict[str, tuple[bytes | None, int]] = {}
    for client in clients:
        retired.append(key_of(client, keys[client]).public_key)
        entries.append(rotation(policy, client, keys[client]))
        keys[client] += 1
        changed[f"client-{client:05}"] = (key_of(client, keys[client]).public_key, len(entries) - 1)
    for client in sorted(left):
        retired.append(key_of(client, keys[client]).public_key)
        entries.append(revocation(policy, client))
        changed[f"client-{client:05}"] = (None, len(entries) - 1)
    members = follow(policy, entries)
    assert [(each.party, each.public_key, each.index) for each in members.changed] == [
        (party, *changed[party]) for party in sorted(changed)
    ]
    assert members.retired == tuple(sorted(retired))
    assert members.root() == root([leaf_hash(entry) for entry in entries])
    for number in range(CLIENTS):
        party, enrolled = f"client-{number:05}", key_of(number, 0).public_key
        if number in left:
            with pytest.raises(Rejected) as excinfo:
                members.key(party, enrolled)
            assert excinfo.value.check == "revoked"
        else:
            assert members.key(party, enrolled) == key_of(number, keys[number]).public_key
    assert members.standing("client-0000") is members.standing("client-99999") is None


def test_no_key_comes_back_whoever_asks_which_membership() -> None:
    """A membership hands what it knows on to the next; asked once more, it still knows its own keys, and only them."""
    policy = policy_of(4)
    entries = [rotation(policy, 0, 0), rotation(policy, 1, 0), rotation(policy, 0, 1)]
    states = [follow(policy, entries[:count]) for count in range(4)]
    chain = [ENROLLED]
    for index, entry in enumerate(entries):
        chain.append(changed_by(policy, chain[-1], index, entry, open_envelope(entry)))
    assert chain == states
    added = [key_of(0, 1), key_of(1, 1), key_of(0, 2)]  # by the three changes
    for _ in range(2):
        for count, members in enumerate(chain):
            assert [members.mentions(key.public_key) for key in added] == [place < count for place in range(3)]
            again = rotation(policy, 2, 0, following=added[0])
            if count == 0:
                changed_by(policy, members, 9, again, open_envelope(again))
                continue
            with pytest.raises(Rejected) as excinfo:
                changed_by(policy, members, 9, again, open_envelope(again))
            assert excinfo.value.check == "rotation-key"


def test_changes_cost_the_same_however_many_there_were() -> None:
    """Work counted in lines. Each of 300 clients rotates, all enrolled in one policy: twice as many, twice the work."""
    policy = policy_of(300)
    entries = [rotation(policy, client, 0) for client in range(300)]
    follow(policy, entries[:1])  # the roster is read once
    half = lines_run(lambda: follow(policy, entries[:150]), membership)
    whole = lines_run(lambda: follow(policy, entries), membership)
    assert whole < 2.3 * half
    assert whole < 300 * 100
