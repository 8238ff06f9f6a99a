"""Who may act, with which key: the policy's identities and what the log has changed of them (spec 2.5).

Two kinds of entries change the membership, between rounds only: a party's KeyRotation and the issuer's Revocation. All
who follow the log derive the same value from them. The changes form a Merkle tree of their own, whose root every
RoundOpen carries: whoever trusts t cosigners and knows one root notices a change that is withheld.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated

from proofs.errors import Misuse, Rejected
from protocols.envelopes import Envelope, check_possession, check_signature
from protocols.identities import SigningKey, check_public_key
from protocols.log.merkle import Frontier, leaf_hash
from protocols.messages import AtMost, KeyRotation, PartyId, PublicKey, Revocation
from protocols.pinned import PinnedPolicy
from protocols.policy import Member, Policy
from protocols.reasons import REVOCATIONS

MOST_ROTATIONS = 16  # of one party, for good: so the changes of the largest roster fit into one message (spec 2.5)

Change = KeyRotation | Revocation


@dataclass(frozen=True)
class Changed:
    """A party whose standing is not that of the policy: its key in force, None if it was revoked. former: the key that
    was in force before."""

    party: PartyId
    public_key: PublicKey | None
    former: PublicKey
    index: int  # of the entry that made it so; for who is not shown the log, its place among the changes
    rotations: int  # how many it has had


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
        place = self._place(party)
        found = self.changed[place : place + 1]
        return found[0] if found and found[0].party == party else None

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

    def key_at(self, party: str, enrolled: bytes, size: int) -> bytes:
        """The key of a party in the log's first `size` entries, if it changed once at most since then, as everybody
        does between two rounds."""
        standing = self.standing(party)
        if standing is not None and standing.index >= size:
            return standing.former
        return self.key(party, enrolled)

    def clients_at(self, policy: Policy, size: int) -> Iterator[str]:
        """The clients who were in force in the log's first `size` entries, ascending by id: nobody comes back."""
        for member in policy.roster:
            standing = self.standing(member.id)
            if standing is None or standing.public_key is not None or standing.index >= size:
                yield member.id

    def after(self, change: Changed, former: bytes, entry: bytes) -> Membership:
        """The membership once `change` takes the place of the key `former`; `entry` is what says so."""
        place, (changed, retired) = self._place(change.party), (self.changed, self.retired)
        following = place + (self.standing(change.party) is not None)
        end = bisect.bisect_left(retired, former)
        tree = Frontier.decode(self.tree)
        tree.append(leaf_hash(entry))
        later = Membership(
            (*changed[:place], change, *changed[following:]), (*retired[:end], former, *retired[end:]), tree.encode()
        )
        mentioned = self.__dict__.pop("_mentioned", None) or self._keys_mentioned()
        mentioned.update({former} if change.public_key is None else {former, change.public_key})
        later.__dict__["_mentioned"] = mentioned
        return later

    def mentions(self, key: bytes) -> bool:
        """Whether this is or was the key of a party that changed."""
        return key in self._mentioned

    def _place(self, party: str) -> int:
        return bisect.bisect_left(self.changed, party, key=lambda each: each.party)

    @cached_property
    def _mentioned(self) -> set[bytes]:
        """`after` hands it on instead of copying it, so that many changes are linear; whoever asks an earlier
        membership once more pays for it again."""
        return self._keys_mentioned()

    def _keys_mentioned(self) -> set[bytes]:
        """Every key that was ever in force, of the parties that changed."""
        return {*self.retired, *(each.public_key for each in self.changed if each.public_key is not None)}

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


def changed_by(
    pinned: PinnedPolicy, members: Membership, index: int, data: bytes, envelope: Envelope, since: int | None = None
) -> Membership:
    """The membership after the change in an entry, `data` being its bytes and `envelope` the same decoded.

    since: index of the first entry after the last round ended, None for who is shown the changes alone.
    1. It is of this federation and policy, of a party enrolled and not revoked: "federation", "policy-hash",
    "unknown-party", "revoked".
    A rotation: 2. replaces the key in force: "rotation-previous"; 3. is signed by it: "signature"; 4. names a key that
    passes the enrolment rule: "public-key"; 5. that is and was nobody's: "rotation-key"; 6. that signed for it:
    "possession"; 7. is the party's first since the last round ended: "rotation-pace"; 8. and one of its first
    MOST_ROTATIONS: "rotation-cap".
    A revocation: 9. is signed by the issuer: "signature"; 10. has a reason of the list: "revocation-reason"; 11. leaves
    at least t trustees, without whom no checkpoint could cover it: "revocation-quorum". No rotation stands in its way.
    Raises Rejected with these names, or "order" for an entry that changes nothing. The place in the log is the
    caller's to judge.
    """
    message, policy = envelope.message, pinned.policy
    if not isinstance(message, KeyRotation | Revocation):
        raise Rejected("order", "a key-rotation or revocation", envelope.type)
    pinned.require_own(message.federation, message.policy)
    enrolment = _enrolment(policy)
    if message.party not in enrolment.by_party:
        raise Rejected("unknown-party", "a client or trustee of the policy", message.party)
    current = members.key(message.party, enrolment.by_party[message.party])
    standing = members.standing(message.party)
    rotations = standing.rotations if standing else 0
    if isinstance(message, KeyRotation):
        _check_rotation(enrolment, members, message, envelope, current)
        _check_pace(message, standing, since)
        return members.after(Changed(message.party, message.public_key, current, index, rotations + 1), current, data)
    _check_revocation(policy, members, message, envelope)
    return members.after(Changed(message.party, None, current, index, rotations), current, data)


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


@dataclass(frozen=True)
class _Enrolment:
    """A policy's parties and their keys, and every key in it: the log's and the issuer's, too."""

    by_party: Mapping[str, bytes]
    keys: frozenset[bytes]


class _SamePolicy:
    """A policy as a key of a cache, by identity: to hash or to compare the roster is what the cache spares."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def __hash__(self) -> int:
        return id(self.policy)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SamePolicy) and other.policy is self.policy


def _enrolment(policy: Policy) -> _Enrolment:
    return _enrolment_of(_SamePolicy(policy))


@lru_cache(maxsize=8)
def _enrolment_of(same: _SamePolicy) -> _Enrolment:
    policy = same.policy
    by_party: dict[str, bytes] = {}
    for member in (*policy.trustees, *policy.roster):
        by_party.setdefault(member.id, member.public_key)
    keys = (member.public_key for member in (*policy.trustees, *policy.roster))
    return _Enrolment(by_party, frozenset((policy.log_key, policy.issuer_key, *keys)))


def _check_rotation(
    enrolment: _Enrolment, members: Membership, message: KeyRotation, envelope: Envelope, current: bytes
) -> None:
    if message.previous != current:
        raise Rejected("rotation-previous", f"the key in force, {current.hex()}", message.previous.hex())
    check_signature(envelope, current)
    check_public_key(message.public_key)
    if message.public_key in enrolment.keys or members.mentions(message.public_key):
        raise Rejected("rotation-key", "a key that is and was nobody's", message.public_key.hex())
    check_possession(message)


def _check_pace(message: KeyRotation, standing: Changed | None, since: int | None) -> None:
    """`standing` is a party's that was not revoked: what changed it were rotations."""
    if standing is None:
        return
    if since is not None and standing.index >= since:
        found = f"another of {message.party} after entry {standing.index}"
        raise Rejected("rotation-pace", "one rotation of a party between two rounds", found)
    if standing.rotations >= MOST_ROTATIONS:
        found = f"one more of {message.party}: have it revoked, and replaced in the next federation"
        raise Rejected("rotation-cap", f"at most {MOST_ROTATIONS} rotations of a party", found)


def _check_revocation(policy: Policy, members: Membership, message: Revocation, envelope: Envelope) -> None:
    check_signature(envelope, policy.issuer_key)
    REVOCATIONS.find(message.reason)
    left = [member.id for member in members.trustees(policy) if member.id != message.party]
    was_trustee = any(member.id == message.party for member in policy.trustees)
    if was_trustee and len(left) < policy.threshold:
        raise Rejected("revocation-quorum", f"at least {policy.threshold} trustees left", f"{len(left)}")
