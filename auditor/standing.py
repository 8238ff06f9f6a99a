"""Who was in force at which place of the log (spec 2.5): followed entry by entry, asked by every other check."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from proofs.errors import Rejected
from protocols.envelopes import Envelope, check_signature
from protocols.membership import ENROLLED, Membership, changed_by
from protocols.messages import COORDINATOR, MESSAGE_TYPES, KeyRotation, Revocation
from protocols.pinned import PinnedPolicy
from protocols.policy import Member

FORMER_KEYS = 16  # of one party, that a wrong signature is tried with: a log may hold many of both


def in_force(trustees: Sequence[tuple[int, tuple[Member, ...]]], size: int) -> tuple[Member, ...]:
    """Of trustees with the size of the log from which on they are in force, ascending from 0, those at `size`."""
    return trustees[bisect.bisect_right(trustees, size, key=lambda each: each[0]) - 1][1]


class Standing:
    """The membership as of the entries read so far, and the trustees as of any earlier size of the log."""

    def __init__(self, pinned: PinnedPolicy) -> None:
        policy = pinned.policy
        self.membership: Membership = ENROLLED
        self._pinned, self._policy = pinned, policy
        self._clients = {member.id: member.public_key for member in policy.roster}
        self._enrolled_trustees = {member.id: member.public_key for member in policy.trustees}
        self.trustees = [(0, policy.trustees)]  # from each size of the log on, ascending
        self.left: dict[str, int] = {}  # clients that were revoked, and the size of the log from which on
        self._ended = 1  # the index after the last RoundClosed or RoundAborted, whoever wrote it
        self._former: dict[str, list[tuple[bytes, int]]] = {}  # a party's replaced keys, and the entries that did it

    def change(self, index: int, data: bytes, envelope: Envelope) -> None:
        """A rotation or revocation at `index`; raises Rejected, and then it changes nothing."""
        message = envelope.message
        self.membership = changed_by(self._pinned, self.membership, index, data, envelope, self._ended)
        if isinstance(message, KeyRotation):
            self._former.setdefault(message.party, []).append((message.previous, index))
        if isinstance(message, Revocation) and message.party in self._clients:
            self.left[message.party] = index + 1
        if isinstance(message, KeyRotation | Revocation) and message.party in self._enrolled_trustees:
            self.trustees.append((index + 1, self.membership.trustees(self._policy)))

    def end_round(self, index: int) -> None:
        """The entry at `index` is a RoundClosed or RoundAborted: every party may rotate its key once more."""
        self._ended = index + 1

    def key(self, kind: str, signer: str) -> bytes:
        """The key in force of the one who must sign an entry of this type.

        Raises Rejected("unknown-signer"), Rejected("revoked").
        """
        if signer == COORDINATOR:
            return self._policy.log_key
        by_client = MESSAGE_TYPES.find(kind).signer == "client"
        enrolled = (self._clients if by_client else self._enrolled_trustees).get(signer)
        if enrolled is None:
            whom = "a client of the roster" if by_client else "a trustee of the policy"
            raise Rejected("unknown-signer", whom, signer)
        return self.membership.key(signer, enrolled)

    def replaced_at(self, envelope: Envelope) -> int | None:
        """The entry that replaced the key which signed this envelope; None if no former key of the signer did, of the
        last FORMER_KEYS."""
        for key, index in self._former.get(envelope.signer, [])[-FORMER_KEYS:]:
            try:
                check_signature(envelope, key)
            except Rejected:
                continue
            return index
        return None

    def trustees_at(self, size: int) -> tuple[Member, ...]:
        """The trustees in force after the first `size` entries, with their keys."""
        return in_force(self.trustees, size)
