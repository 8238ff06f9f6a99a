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
    table_response: list[int]
    auxiliary_response: list[int]
    update_response: list[int]
    share_response: list[int]


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
        table_response=decode_scalars(take(32 * numbers.C + 32)),
        auxiliary_response=decode_scalars(take(32 * numbers.auxiliary_length + 32)),
        update_response=decode_scalars(take(32 * numbers.C if encrypted else 0)),
        share_response=decode_scalars(take(32 * numbers.secret_length + 32 if encrypted else 0)),
    )
    decode_scalars(b"".join([result.claim, *result.rounds, result.evaluations, result.form]))
    return result
