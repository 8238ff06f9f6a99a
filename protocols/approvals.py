"""A party's approval of the policy, signed before the first round (spec 4.7).

As a file it is an envelope that is never an entry. Only the signatures are published, in one blob that Genesis names:
who signed, and what, follows from the policy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proofs.errors import Malformed, Rejected
from protocols.encoding import encode
from protocols.envelopes import Statement, check_statement, open_statement, seal_statement
from protocols.identities import SIGNATURE_SIZE, SigningKey
from protocols.messages import Genesis, Hash32, PartyId
from protocols.pinned import PinnedPolicy
from protocols.policy import Member

APPROVAL = "policy-approval"  # the envelope's type; never an entry's


@dataclass(frozen=True)
class Approval:
    """What a party signs that takes part under a policy."""

    federation: PartyId
    policy: Hash32  # SHA-256 of the policy file
    party: PartyId


@dataclass(frozen=True)
class Given:
    """A party's approval of a policy, verified."""

    party: str
    signature: bytes


def approve(pinned: PinnedPolicy, key: SigningKey) -> bytes:
    """The approval of the party whose key this is, as a file.

    Raises Rejected("approval") where the policy demands none of it.
    """
    members = pinned.approvers.values()
    party = next((each.id for each in members if each.public_key == key.public_key), None)
    if party is None:
        raise Rejected("approval", "the key of a party whose approval the policy demands", key.public_key.hex())
    return seal_statement(APPROVAL, party, _approval_of(pinned, party), key)


def read_approval(pinned: PinnedPolicy, data: bytes) -> Given:
    """Whose approval of this policy a file is.

    Raises Malformed; Rejected("federation"), ("policy-hash") for one of another policy, ("approval") for one of a party
    that it demands none of, ("signature").
    """
    approval, statement = open_statement(APPROVAL, Approval, data)
    if statement.signer != approval.party:
        raise Malformed("envelope.signer", f"{approval.party} for this {APPROVAL}", statement.signer)
    pinned.require_own(approval.federation, approval.policy)
    member = pinned.approvers.get(approval.party)
    if member is None:
        raise Rejected("approval", "a party whose approval the policy demands", approval.party)
    check_statement(statement, member.public_key)
    return Given(approval.party, statement.signature)


def collect(pinned: PinnedPolicy, given: Iterable[Given]) -> bytes:
    """The blob of all approvals that the policy demands.

    Raises Rejected("approvals") where one is missing, or one party's is there twice.
    """
    signatures: dict[str, bytes] = {}
    for each in given:
        if each.party in signatures:
            raise Rejected("approvals", "one approval a party", f"two of {each.party}")
        signatures[each.party] = each.signature
    lacking = [party for party in pinned.approvers if party not in signatures]
    if lacking:
        raise Rejected("approvals", "the approvals of all parties that the policy asks", f"none of {_some(lacking)}")
    return b"".join(signatures[party] for party in pinned.approvers)


def faulty(pinned: PinnedPolicy, data: bytes) -> list[Member]:
    """Those whose signature in the blob, of `pinned.approvals_size` bytes, is none of theirs, in its order."""
    found: list[Member] = []
    for position, member in enumerate(pinned.approvers.values()):
        signature = data[SIGNATURE_SIZE * position : SIGNATURE_SIZE * (position + 1)]
        body = encode(_approval_of(pinned, member.id))
        try:
            check_statement(Statement(APPROVAL, member.id, body, signature), member.public_key)
        except Rejected:
            found.append(member)
    return found


def check_approvals(pinned: PinnedPolicy, data: bytes) -> None:
    """Accept the blob of all approvals, or raise Malformed("approvals") for its length, Rejected("approvals")."""
    if len(data) != pinned.approvals_size:
        raise Malformed("approvals", f"{pinned.approvals_size} bytes, 64 a party", f"{len(data)} bytes")
    if wrong := faulty(pinned, data):
        raise Rejected("approvals", "the approvals of all parties that the policy asks", f"none of {_some_of(wrong)}")


def require_named(pinned: PinnedPolicy, message: Genesis) -> None:
    """Raise Rejected("approvals") unless Genesis names approvals just where the policy demands them."""
    demanded = bool(pinned.approvers)
    if demanded != (message.approvals is not None):
        raise Rejected("approvals", *(("approvals", "none") if demanded else ("none", "approvals")))


def _approval_of(pinned: PinnedPolicy, party: str) -> Approval:
    return Approval(pinned.policy.federation, pinned.hash, party)


def _some_of(members: Iterable[Member]) -> str:
    return _some([member.id for member in members])


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
