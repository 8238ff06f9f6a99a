"""What of a copy is the federation's own word: signed by its log's key (spec 9.3). The rest is whoever copied's."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from proofs.errors import Malformed, Rejected
from protocols.envelopes import check_signature, open_envelope, open_policy
from protocols.log.checkpoint import SignedNote, check_note, parse_note
from protocols.log.reader import TranscriptReader
from protocols.messages import Genesis
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy


def is_log_signed(policy: Policy, note: SignedNote) -> bool:
    """Whether the log's key signed this checkpoint, for the policy's origin, whoever else did."""
    try:
        check_note(replace(note, signatures=note.signatures[:1]), policy.log_key, (), 0, origin=policy.origin)
    except Rejected:
        return False
    return True


def foreign_policy(reader: TranscriptReader, pinned: PinnedPolicy) -> tuple[str, bytes] | None:
    """Federation and policy hash that entry 0 names, if this is the log of another policy; else None.

    It is one if the pinned log's key signed that entry; or if the log key of the transcript's own policy did, which is
    the one named, and `checkpoint` is not the pinned log's. So neither a changed byte nor a changed file makes it one.
    Raises OSError.
    """
    try:
        envelope = open_envelope(reader.entries(0, 1)[0]) if reader.size else None
    except (Malformed, Rejected):
        return None
    message = None if envelope is None else envelope.message
    if envelope is None or not isinstance(message, Genesis) or message.policy == pinned.hash:
        return None
    keys = [pinned.policy.log_key]
    if not is_log_signed(pinned.policy, parse_note(reader.latest())):
        keys += _own_key(reader, message.policy)
    for key in keys:
        try:
            check_signature(envelope, key)
        except Rejected:
            continue
        return message.federation, message.policy
    return None


def _own_key(reader: TranscriptReader, name: bytes) -> list[bytes]:
    """The log key of the transcript's own policy, if that is the one of this hash."""
    try:
        data = reader.policy()
        policy, _ = open_policy(data)
    except (Malformed, Rejected):
        return []
    return [policy.log_key] if hashlib.sha256(data).digest() == name else []
