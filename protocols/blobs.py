"""Content-addressed bulk data: which blobs a message names (spec 3.6)."""

from __future__ import annotations

import hashlib

from protocols.envelopes import open_envelope
from protocols.messages import (
    Aggregate,
    FederationClosed,
    Genesis,
    KeyShare,
    Message,
    RoundClosed,
    RoundOpen,
    Submission,
)
from protocols.policy import Policy


def blob_hash(data: bytes) -> bytes:
    """SHA-256: a blob's name."""
    return hashlib.sha256(data).digest()


def message_blobs(message: Message | Policy) -> tuple[tuple[str, bytes], ...]:
    """(field, blob hash) of every blob that a message names, in the order of its fields.

    RoundOpen names the policy and a model that Genesis or RoundClosed named before. The list is this table and not an
    inspection of types, since other hashes have the same type.
    """
    match message:
        case Genesis() | RoundOpen():
            return (("policy", message.policy), ("model", message.model))
        case Submission():
            own = ("commitments", "ciphertext", "share_commitments", "proof")
            named = tuple((name, getattr(message, name)) for name in own[:3])
            shares = tuple((f"shares[{position}]", share.blob) for position, share in enumerate(message.shares))
            optional = (("coordinate_range", message.coordinate_range), ("encryption_proof", message.encryption_proof))
            more = tuple((name, blob) for name, blob in optional if blob is not None)
            return (*named, *shares, (own[3], message.proof), *more)
        case KeyShare():
            return (("share", message.share),)
        case Aggregate():
            names = ("ciphertext", "key", "plaintext", "blindings")
            return tuple((name, getattr(message, name)) for name in names)
        case RoundClosed():
            optimizer = () if message.optimizer is None else (("optimizer", message.optimizer),)
            return (("model", message.model), *optimizer)
        case FederationClosed():
            return (("model", message.model),)
        case _:
            return ()


def entry_blobs(entry: bytes) -> tuple[bytes, ...]:
    """Hashes of the blobs that a log entry names. Raises Malformed where the entry is not an envelope of version 1."""
    return tuple(name for _, name in message_blobs(open_envelope(entry).message))
