"""A proof as a typed value, and its one spelling in bytes (spec 5.6).

Fixed size, fixed order, no lengths inside: everything about the layout follows from the parameters. Every byte string
that decodes is the encoding of what it decodes to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.errors import Malformed
from proofs.parameters import ArgumentParameters


@dataclass(frozen=True)
class Proof:
    """What the prover sends besides the row commitments, in the order of the bytes.

    Points are 33 undecoded bytes; scalars are in [0, ORDER); projections are signed integers of response_width bytes.
    """

    auxiliary: bytes  # A, the commitment to masks, pad and mask polynomial
    projections: tuple[int, ...]  # z, k integers
    claim: int  # masked sum over the cube
    rounds: tuple[tuple[int, ...], ...]  # of each round's polynomial all coefficients but the linear one, lowest first
    evaluation: int  # w, the padded table at the final point
    table_announcement: bytes  # first message of the opening of the row combination
    auxiliary_announcement: bytes  # first message of the opening of A
    form_announcement: int  # the linear form at the first messages' openings
    table_response: tuple[int, ...]  # C scalars
    table_blinding_response: int
    auxiliary_response: tuple[int, ...]  # auxiliary_length scalars
    auxiliary_blinding_response: int

    def encode(self, parameters: ArgumentParameters) -> bytes:
        """Exactly parameters.proof_size bytes, for a proof made under these parameters."""
        return b"".join(
            (
                self.auxiliary,
                encode_projections(parameters, self.projections),
                encode_scalars([self.claim]),
                *(encode_scalars(coefficients) for coefficients in self.rounds),
                encode_scalars([self.evaluation]),
                self.table_announcement,
                self.auxiliary_announcement,
                encode_scalars([self.form_announcement]),
                encode_scalars(self.table_response),
                encode_scalars([self.table_blinding_response]),
                encode_scalars(self.auxiliary_response),
                encode_scalars([self.auxiliary_blinding_response]),
            )
        )


def encode_scalars(scalars: Iterable[int]) -> bytes:
    """32 bytes each, big-endian; scalars in [0, ORDER)."""
    return b"".join(scalar.to_bytes(SCALAR_SIZE, "big") for scalar in scalars)


def encode_projections(parameters: ArgumentParameters, projections: Iterable[int]) -> bytes:
    """response_width bytes each, big-endian two's complement."""
    width = parameters.response_width
    return b"".join(z.to_bytes(width, "big", signed=True) for z in projections)


def decode_proof(parameters: ArgumentParameters, data: bytes) -> Proof:
    """Raises Malformed("proof-length") or Malformed("scalar-range"); points are left to the engine."""
    if len(data) != parameters.proof_size:
        raise Malformed("proof-length", f"{parameters.proof_size} bytes", f"{len(data)} bytes")
    reader = _Reader(data)
    return Proof(
        auxiliary=reader.take(POINT_SIZE),
        projections=reader.integers(parameters.projections, parameters.response_width),
        claim=reader.scalar("claim"),
        rounds=tuple(reader.scalars(f"rounds[{i}]", degree) for i, degree in enumerate(parameters.round_degrees)),
        evaluation=reader.scalar("evaluation"),
        table_announcement=reader.take(POINT_SIZE),
        auxiliary_announcement=reader.take(POINT_SIZE),
        form_announcement=reader.scalar("form_announcement"),
        table_response=reader.scalars("table_response", parameters.shape.columns),
        table_blinding_response=reader.scalar("table_blinding_response"),
        auxiliary_response=reader.scalars("auxiliary_response", parameters.auxiliary_length),
        auxiliary_blinding_response=reader.scalar("auxiliary_blinding_response"),
    )


class _Reader:
    """Consumes bytes whose total length has been checked."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0

    def take(self, size: int) -> bytes:
        start, self._offset = self._offset, self._offset + size
        return self._data[start : self._offset]

    def scalar(self, name: str) -> int:
        value = int.from_bytes(self.take(SCALAR_SIZE), "big")
        if value >= ORDER:
            raise Malformed("scalar-range", f"{name} below the group order", f"{value:x}")
        return value

    def scalars(self, name: str, count: int) -> tuple[int, ...]:
        return tuple(self.scalar(f"{name}[{i}]") for i in range(count))

    def integers(self, count: int, width: int) -> tuple[int, ...]:
        return tuple(int.from_bytes(self.take(width), "big", signed=True) for _ in range(count))
