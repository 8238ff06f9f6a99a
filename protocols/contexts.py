"""What signatures, proofs, seeds and encrypted shares are bound to (spec 8.3): the only definitions of these bytes.

Parties and auditors both import this module; it draws nothing and signs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from proofs import domains
from protocols.encoding import encode
from protocols.hashes import sha256
from protocols.messages import Submission

NO_PROOF = bytes(32)


def tagged_hash(tag: bytes, parts: Iterable[bytes]) -> bytes:
    """SHA-256 of `frame(tag, parts)` (spec 8.3)."""
    return sha256(frame(tag, parts))


def frame(tag: bytes, parts: Iterable[bytes]) -> bytes:
    """The tag, then each part, each behind its length in 8 bytes big-endian: a list of parts has one framing."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in (tag, *parts))


def number(value: int) -> bytes:
    """An integer in [0, 2^64) as a part of a frame: 8 bytes big-endian."""
    return value.to_bytes(8, "big")


def round_seed(checkpoint_root: bytes, round_number: int, round_keys: Sequence[bytes]) -> bytes:
    """RoundOpen.seed, of the entry hashes of its round keys in their order: 32 bytes that nobody could know before all
    of these keys were made."""
    return tagged_hash(
        domains.ROUND_SEED, (checkpoint_root, number(round_number), number(len(round_keys)), *round_keys)
    )


def submission_context(submission: Submission) -> bytes:
    """What the validity proof signs: the whole submission, with 32 zero bytes where the proof's hash will stand.

    It binds federation, round, RoundOpen (hence model, seed, policy and round keys), client, commitments, ciphertext
    and shares; a proof taken from any other submission was made for another context.
    """
    return frame(domains.SUBMISSION, (encode(replace(submission, proof=NO_PROOF)),))


def sign_context(policy: bytes, federation: str, round_number: int, round_open: bytes, client: str) -> bytes:
    """What the signs of a client's noise depend on beside its commitments (spec 12.1): nothing that the noise is in.

    policy: hash of the policy file. round_open: entry hash.
    """
    return frame(domains.SIGN_CONTEXT, (policy, federation.encode(), number(round_number), round_open, client.encode()))


def share_info(federation: str, round_number: int, round_open: bytes, client: str, trustee: str) -> bytes:
    """HPKE `info` of one encrypted share: a share copied to another client, trustee, round or log does not open."""
    return frame(
        domains.SHARE, (federation.encode(), number(round_number), round_open, client.encode(), trustee.encode())
    )
