"""Who may act, with which key: the policy's identities and what the log has changed of them (spec 2.5).

Two kinds of entries change the membership, between rounds only: a party's KeyRotation and the issuer's Revocation. All
who follow the log derive the same value from them. The changes form a Merkle tree of their own, whose root every
RoundOpen carries: whoever trusts t cosigners and knows one root notices a change that is withheld.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated

from proofs.errors import Misuse, Rejected
from protocols.envelopes import Envelope, check_possession, check_signature
from protocols.identities import SigningKey, check_public_key
from protocols.log.merkle import Frontier, leaf_hash
from protocols.messages import AtMost, KeyRotation, PartyId, PublicKey, Revocation
from protocols.policy import Member, Policy

# Reasons of a Revocation.
KEY_COMPROMISED = "key-compromised"
LEFT = "left"
EXPELLED = "expelled"
REASONS = (KEY_COMPROMISED, LEFT, EXPELLED)

Change = KeyRotation | Revocation


@dataclass(frozen=True)
class Changed:
    """A party whose standing is not that of the policy: its key in force, None if it was revoked."""

    party: PartyId
    public_key: PublicKey | None
    index: int  # of the entry that made it so


@dataclass(frozen=True)
class Membership:
    """What the changes so far amount to. tree: frontier of the Merkle tree over their entries (spec 3.1)."""

    changed: tuple[Changed, ...]  # ascending by party
    retired: tuple[PublicKey, ...]  # once in force and never again, ascending
    tree: Annotated[bytes, AtMost(4096)]

    @property
    def count(self) -> int:
        """How many changes there were."""
        return self._frontier.size

    def root(self) -> bytes:
        """What RoundOpen.changes must be: the root of the tree over the changes' entries."""
        return self._frontier.root()

    def standing(self, party: str) -> Changed | None:
        """How a party stands, None if nothing changed since the policy."""
        return self._by_party.get(party)

    def key(self, party: str, enrolled: bytes) -> bytes:
        """The key of a party that is in force, `enrolled` being the policy's; raises Rejected("revoked")."""
        standing = self.standing(party)
        if standing is None:
            return enrolled
        if standing.public_key is None:
            raise Rejected("revoked", "a party in force", f"{party}, revoked by entry {standing.index}")
        return standing.public_key

    def trustees(self, policy: Policy) -> tuple[Member, ...]:
        """The trustees who are in force, with their keys, in the policy's order."""
        return tuple(self._in_force(policy.trustees))

    def clients(self, policy: Policy) -> tuple[Member, ...]:
        """The clients who are in force, with their keys, ascending."""
        return tuple(self._in_force(policy.roster))

    @cached_property
    def _by_party(self) -> dict[str, Changed]:
        return {each.party: each for each in self.changed}

    @cached_property
    def _frontier(self) -> Frontier:
        return Frontier.decode(self.tree)

    def _in_force(self, members: tuple[Member, ...]) -> Iterator[Member]:
        for member in members:
            standing = self.standing(member.id)
            if standing is None:
                yield member
            elif standing.public_key is not None:
                yield Member(member.id, standing.public_key)


ENROLLED = Membership((), (), Frontier().encode())


def changed_by(policy: Policy, members: Membership, index: int, data: bytes, envelope: Envelope) -> Membership:
    """The membership after the change in an entry, `data` being its bytes and `envelope` the same decoded.

    1. The federation is the policy's, the party enrolled and not revoked: "federation", "unknown-party", "revoked".
    A rotation: 2. replaces the key in force: "rotation-previous"; 3. is signed by it: "signature"; 4. names a key that
    passes the enrolment rule: "public-key"; 5. that is and was nobody's: "rotation-key"; 6. that signed for it:
    "possession".
    A revocation: 7. is signed by the issuer: "signature"; 8. has a reason of the list: "revocation-reason"; 9. leaves
    at least t trustees, without whom no checkpoint could cover it: "revocation-quorum".
    Raises Rejected with these names, or "order" for an entry that changes nothing. The place in the log is the
    caller's to judge.
    """
    message = envelope.message
    if not isinstance(message, KeyRotation | Revocation):
        raise Rejected("order", "a key-rotation or revocation", envelope.type)
    if message.federation != policy.federation:
        raise Rejected("federation", policy.federation, message.federation)
    current = members.key(message.party, _enrolled(policy, message.party))
    if isinstance(message, KeyRotation):
        _check_rotation(policy, members, message, envelope, current)
        after = Changed(message.party, message.public_key, index)
    else:
        _check_revocation(policy, members, message, envelope)
        after = Changed(message.party, None, index)
    others = (each for each in members.changed if each.party != message.party)
    tree = Frontier.decode(members.tree)
    tree.append(leaf_hash(data))
    return replace(
        members,
        changed=tuple(sorted((*others, after), key=lambda each: each.party)),
        retired=tuple(sorted((*members.retired, current))),
        tree=tree.encode(),
    )


def key_in_force(members: Membership, party: str, enrolled: bytes, keys: Sequence[SigningKey]) -> SigningKey:
    """The one of a party's own keys that is in force.

    Raises Rejected("revoked"); Rejected("own-key") if it holds none that is: then somebody else rotated it away.
    """
    wanted = members.key(party, enrolled)
    for key in keys:
        if key.public_key == wanted:
            return key
    raise Rejected("own-key", f"a key that {party} holds", f"in force is {wanted.hex()}")


def require_own_key(members: Membership, party: str, enrolled: bytes, keys: Sequence[SigningKey]) -> None:
    """Misuse, unless the party was revoked or holds its key in force: it was started with the wrong one."""
    try:
        key_in_force(members, party, enrolled, keys)
    except Rejected as error:
        if error.check != "revoked":
            raise Misuse(f"identity: the key in force of {party} is another: {error.found}") from None


def _enrolled(policy: Policy, party: str) -> bytes:
    for member in (*policy.trustees, *policy.roster):
        if member.id == party:
            return member.public_key
    raise Rejected("unknown-party", "a client or trustee of the policy", party)


def _check_rotation(
    policy: Policy, members: Membership, message: KeyRotation, envelope: Envelope, current: bytes
) -> None:
    if message.previous != current:
        raise Rejected("rotation-previous", f"the key in force, {current.hex()}", message.previous.hex())
    check_signature(envelope, current)
    check_public_key(message.public_key)
    taken = {policy.log_key, policy.issuer_key, *members.retired}
    taken |= {member.public_key for member in (*policy.trustees, *policy.roster)}
    taken |= {each.public_key for each in members.changed if each.public_key is not None}
    if message.public_key in taken:
        raise Rejected("rotation-key", "a key that is and was nobody's", message.public_key.hex())
    check_possession(message)


def _check_revocation(policy: Policy, members: Membership, message: Revocation, envelope: Envelope) -> None:
    check_signature(envelope, policy.issuer_key)
    if message.reason not in REASONS:
        raise Rejected("revocation-reason", " or ".join(REASONS), ascii(message.reason))
    left = [member.id for member in members.trustees(policy) if member.id != message.party]
    was_trustee = any(member.id == message.party for member in policy.trustees)
    if was_trustee and len(left) < policy.threshold:
        raise Rejected("revocation-quorum", f"at least {policy.threshold} trustees left", f"{len(left)}")
