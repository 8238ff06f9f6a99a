"""Rehearsals of a federation: what its parties sign for one, and the policy that it is played under (spec 8.14).

A party's own key signs one thing of a rehearsal, and under a tag of its own: that another key, made for this rehearsal
alone, stands for it there. Everything else of a rehearsal is signed by such keys, which no policy but the rehearsal's
enrols. So whatever names somebody chooses, nothing of a rehearsal is signed by anybody elsewhere, nor the other way
round.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated

from proofs.domains import REHEARSAL
from proofs.errors import Malformed, Rejected
from protocols.encoding import POLICY_LIMIT, decode, encode
from protocols.envelopes import seal_policy
from protocols.hashes import sha256
from protocols.identities import SigningKey, check_public_key, verify
from protocols.messages import COORDINATOR, AtMost, Hash32, PartyId, PublicKey, Signature
from protocols.parameters import require_sound
from protocols.pinned import PinnedPolicy
from protocols.policy import Member, Policy
from protocols.rounds.versions import EXCHANGE_VERSION, Software, check_version

REHEARSAL_LIMIT = 4096  # bytes of a file
REHEARSED_LIMIT = POLICY_LIMIT  # of a rehearsal's policy


@dataclass(frozen=True)
class StandIn:
    """That `public_key` stands for a party in one rehearsal. federation, policy: those that the party pinned; it is
    their rehearsal. rehearsal: the key that stands for the coordinator in it, by which it is known. rehearsed: SHA-256
    of the policy that it is played under, once there is one; the coordinator alone says it. software: what runs.
    """

    federation: PartyId
    policy: Hash32
    party: PartyId
    public_key: PublicKey
    rehearsal: PublicKey
    rehearsed: Hash32 | None
    software: Software


@dataclass(frozen=True)
class _Wire:
    """The file. The signature is over REHEARSAL || body."""

    version: int
    body: Annotated[bytes, AtMost(REHEARSAL_LIMIT)]
    signature: Signature


def seal_stand_in(value: StandIn, key: SigningKey) -> bytes:
    """The file, signed by the party's key in the policy; raises Misuse for values outside their fields."""
    body = encode(value, REHEARSAL_LIMIT)
    return encode(_Wire(EXCHANGE_VERSION, body, key.sign(REHEARSAL + body)), REHEARSAL_LIMIT)


def open_stand_in(pinned: PinnedPolicy, data: bytes) -> StandIn:
    """Decode and check what a party signed for a rehearsal of this federation.

    1. It is of this version of the exchange: "exchange-version". It is a StandIn, of which only a coordinator
       says anything of `rehearsed`: Malformed.
    2. It is of this policy: "federation", "policy-hash".
    3. The party is enrolled, and its key signed it: "unknown-party", "signature".
    4. Its other key is a key, and in nobody's hand under the policy: "public-key", "stand-in".
    5. The coordinator's is the one by which the rehearsal is known: "rehearsal".
    Raises Malformed, or Rejected with these names; total on hostile bytes.
    """
    wire = decode(_Wire, data, REHEARSAL_LIMIT)
    check_version(wire.version)
    value, policy = decode(StandIn, wire.body, REHEARSAL_LIMIT), pinned.policy
    if value.rehearsed is not None and value.party != COORDINATOR:
        raise Malformed("StandIn.rehearsed", f"null of {value.party}", value.rehearsed.hex())
    pinned.require_own(value.federation, value.policy)
    keys = enrolled_keys(policy)
    if value.party not in keys:
        raise Rejected("unknown-party", "the coordinator, a trustee or a client of the policy", value.party)
    verify(keys[value.party], wire.signature, REHEARSAL + wire.body)
    check_public_key(value.public_key)
    if value.public_key in {*keys.values(), policy.issuer_key}:
        raise Rejected(
            "stand-in", "a key that was made for the rehearsal", f"one of the policy: {value.public_key.hex()}"
        )
    if value.party == COORDINATOR and value.public_key != value.rehearsal:
        raise Rejected("rehearsal", value.public_key.hex(), value.rehearsal.hex())
    return value


def enrolled_keys(policy: Policy) -> dict[str, bytes]:
    """The keys by which a policy knows its parties, and the coordinator."""
    members = {member.id: member.public_key for member in (*policy.roster, *policy.trustees)}
    return {COORDINATOR: policy.log_key, **members}


def rehearsal_policy(
    pinned: PinnedPolicy, rehearsal: bytes, issuer_key: bytes, initial_model: bytes, stand_ins: Mapping[str, bytes]
) -> Policy:
    """The policy of a rehearsal: the federation's, of one round, with these keys for its parties, without those that
    have none. rehearsal: the coordinator's. It may be none that holds, as too few are there."""
    real = pinned.policy
    name = f"rehearsal-{rehearsal.hex()[:48]}"
    return replace(
        real,
        federation=name,
        origin=f"verifl.rehearsal/{pinned.hash.hex()}/{name}",
        log_key=rehearsal,
        issuer_key=issuer_key,
        trustees=_present(real.trustees, stand_ins),
        roster=_present(real.roster, stand_ins),
        per_round=None,
        max_rounds=1,
        initial_model=sha256(initial_model),
        required_checks=(),
        approvals=(),
        task=None,
        initial_file=None,
        previous=None,
        privacy_budget=None if real.privacy_budget is None else replace(real.privacy_budget, former=()),
    )


def seal_rehearsal_policy(
    pinned: PinnedPolicy, rehearsal: bytes, issuer: SigningKey, initial_model: bytes, stand_ins: Mapping[str, bytes]
) -> bytes:
    """The file of `rehearsal_policy`, signed; raises Rejected("policy-...") where too few are there for one."""
    policy = rehearsal_policy(pinned, rehearsal, issuer.public_key, initial_model, stand_ins)
    require_sound(policy)
    return seal_policy(policy, issuer)


def check_rehearsal_policy(pinned: PinnedPolicy, rehearsed: PinnedPolicy, call: StandIn, initial_model: bytes) -> None:
    """A policy is the one that a coordinator's stand-in names, and differs from the federation's as far as it has to;
    raises Rejected("rehearsed")."""
    found = rehearsed.policy
    if call.rehearsed != rehearsed.hash:
        raise Rejected("rehearsed", "the policy that the coordinator named", rehearsed.hash.hex())
    stand_ins = {member.id: member.public_key for member in (*found.trustees, *found.roster)}
    if found != rehearsal_policy(pinned, call.public_key, found.issuer_key, initial_model, stand_ins):
        raise Rejected("rehearsed", "the federation's policy with other keys", "another policy")


def _present(members: tuple[Member, ...], stand_ins: Mapping[str, bytes]) -> tuple[Member, ...]:
    return tuple(Member(member.id, stand_ins[member.id]) for member in members if member.id in stand_ins)
