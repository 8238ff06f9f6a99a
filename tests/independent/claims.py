"""What is claimed, and the bytes of a proof (spec 5.1, 5.6)."""

from __future__ import annotations

from dataclasses import dataclass

from tests.independent.curve import decode_scalars
from tests.independent.encoding import Unreadable
from tests.independent.parameters import Numbers


@dataclass(frozen=True)
class Claim:
    """What is proved: row commitments by relation, the context, and with encryption its public side."""

    commitments: bytes
    range_commitments: bytes
    weight_commitments: bytes
    noise_commitments: bytes
    context: bytes
    proof: bytes
    seed: bytes
    ciphertext_hash: bytes
    ciphertext: list[int] | None
    share_commitment: bytes
    privacy_noise_commitments: bytes = b""
    sign_context: bytes = b""


@dataclass(frozen=True)
class Proof:
    """The items of 5.6, as bytes where the transcript absorbs them, and decoded."""

    auxiliary: bytes
    projections: bytes
    combinations: bytes
    quotients: bytes
    claim: bytes
    rounds: list[bytes]
    evaluations: bytes
    announcements: list[bytes]
    form: bytes
    blindings: bytes
    across: bytes
    folds: list[tuple[bytes, bytes]]  # the points, the scalars
    response: list[int]


def split(proof: bytes, numbers: Numbers) -> Proof:
    """V1 and V2: exactly the items of 5.6, every scalar below ORDER."""
    if len(proof) != numbers.proof_size:
        raise Unreadable("proof-length")
    position = 0

    def take(length: int) -> bytes:
        nonlocal position
        position += length
        return proof[position - length : position]

    encrypted = numbers.encrypted
    result = Proof(
        auxiliary=take(33),
        projections=take(numbers.k * numbers.width),
        combinations=take(8 * numbers.S),
        quotients=take(numbers.S * numbers.quotient_width if encrypted else 0),
        claim=take(32),
        rounds=[take(32 * degree) for degree in numbers.degrees],
        evaluations=take(32 * len(numbers.tables)),
        announcements=[take(33) for _ in range(4 if encrypted else 2)],
        form=take(32),
        blindings=take(32 * len(numbers.opened)),
        across=take(32 * (2 * len(numbers.opened) - 2)),
        folds=[(take(66), take(64)) for _ in range(numbers.folds)],
        response=decode_scalars(take(32 * numbers.last)),
    )
    decode_scalars(b"".join([result.claim, *result.rounds, result.evaluations, result.form]))
    decode_scalars(b"".join([result.blindings, result.across, *(scalars for _, scalars in result.folds)]))
    return result
