"""A proof as a typed value, and its one spelling in bytes (spec 5.6).

Fixed size, fixed order, no lengths inside: everything about the layout follows from the parameters. Every byte string
that decodes is the encoding of what it decodes to.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.encryption import RESIDUE_SIZE
from proofs.errors import Malformed
from proofs.folding import Fold
from proofs.parameters import ArgumentParameters


@dataclass(frozen=True)
class Announcements:
    """The first messages of the openings; update and share are empty without the encryption's proof."""

    table: bytes
    auxiliary: bytes
    update: bytes
    share: bytes
    form: int


@dataclass(frozen=True)
class Proof:
    """What the prover sends besides the row commitments, in the order of the bytes.

    Points are 33 undecoded bytes; scalars are in [0, ORDER); projections and quotients are signed integers of their own
    widths, combinations unsigned ones of RESIDUE_SIZE. What only the encryption's proof needs is empty without it, or
    None.
    """

    auxiliary: bytes  # A, the commitment to masks, pads and mask polynomial
    projections: tuple[int, ...]  # z, k integers
    combinations: tuple[int, ...]  # Y, S residues modulo q: the combinations of the ciphertext
    quotients: tuple[int, ...]  # z', S integers
    claim: int  # masked sum over the cube
    rounds: tuple[tuple[int, ...], ...]  # of each round's polynomial all coefficients but the linear one, lowest first
    evaluations: tuple[int, ...]  # w, every padded table at the final point
    table_announcement: bytes  # first message of the opening of the combination of rows
    auxiliary_announcement: bytes  # first message of the opening of A
    update_announcement: bytes  # first message of the opening of the update's rows alone
    share_announcement: bytes  # first message of the opening of E_0
    form_announcement: int  # the linear form at the first messages' openings
    table_blinding_response: int
    auxiliary_blinding_response: int
    update_blinding_response: int | None
    share_blinding_response: int | None
    cross_values: tuple[int, ...]  # of the vectors' combination, what the form is beside its claimed value
    folds: tuple[Fold, ...]
    response: tuple[int, ...]  # the folded vector

    @property
    def announcements(self) -> Announcements:
        """The first messages, as the transcript absorbs them."""
        return Announcements(
            self.table_announcement,
            self.auxiliary_announcement,
            self.update_announcement,
            self.share_announcement,
            self.form_announcement,
        )

    @property
    def blinding_responses(self) -> tuple[int, ...]:
        """Those that are there, in the order of the announcements."""
        apart = (self.update_blinding_response, self.share_blinding_response)
        every = (self.table_blinding_response, self.auxiliary_blinding_response, *apart)
        return tuple(each for each in every if each is not None)

    def encode(self, parameters: ArgumentParameters) -> bytes:
        """Exactly parameters.proof_size bytes, for a proof made under these parameters."""
        return b"".join(
            (
                self.auxiliary,
                encode_integers(parameters.response_width, self.projections),
                encode_residues(self.combinations),
                encode_quotients(parameters, self.quotients),
                encode_scalars([self.claim]),
                *(encode_scalars(coefficients) for coefficients in self.rounds),
                encode_scalars(self.evaluations),
                self.table_announcement,
                self.auxiliary_announcement,
                self.update_announcement,
                self.share_announcement,
                encode_scalars([self.form_announcement]),
                encode_scalars(self.blinding_responses),
                encode_scalars(self.cross_values),
                *(encode_fold(fold) for fold in self.folds),
                encode_scalars(self.response),
            )
        )


def encode_scalars(scalars: Iterable[int]) -> bytes:
    """32 bytes each, big-endian; scalars in [0, ORDER)."""
    return b"".join([scalar.to_bytes(SCALAR_SIZE, "big") for scalar in scalars])


def encode_fold(fold: Fold) -> bytes:
    """Two points, two scalars."""
    return fold.even + fold.odd + encode_scalars([fold.even_value, fold.odd_value])


def encode_residues(residues: Iterable[int]) -> bytes:
    """RESIDUE_SIZE bytes each, big-endian; residues in [0, 2^64)."""
    return b"".join([residue.to_bytes(RESIDUE_SIZE, "big") for residue in residues])


def encode_integers(width: int, integers: Iterable[int]) -> bytes:
    """`width` bytes each, big-endian two's complement."""
    return b"".join([z.to_bytes(width, "big", signed=True) for z in integers])


def encode_quotients(parameters: ArgumentParameters, quotients: Iterable[int]) -> bytes:
    """Those of each relation in its own width."""
    left = iter(quotients)
    return b"".join(encode_integers(each.width, islice(left, each.count)) for each in parameters.quotients)


def decode_proof(parameters: ArgumentParameters, data: bytes) -> Proof:
    """Raises Malformed("proof-length") or Malformed("scalar-range"); points are left to the engine."""
    if len(data) != parameters.proof_size:
        raise Malformed("proof-length", f"{parameters.proof_size} bytes", f"{len(data)} bytes")
    reader, apart = _Reader(data), len(parameters.layout.apart)
    return Proof(
        auxiliary=reader.take(POINT_SIZE),
        projections=reader.integers(parameters.projections, parameters.response_width),
        combinations=reader.residues(parameters.combinations),
        quotients=tuple(z for each in parameters.quotients for z in reader.integers(each.count, each.width)),
        claim=reader.scalar("claim"),
        rounds=tuple(reader.scalars(f"rounds[{i}]", degree) for i, degree in enumerate(parameters.round_degrees)),
        evaluations=reader.scalars("evaluations", len(parameters.layout.tables)),
        table_announcement=reader.take(POINT_SIZE),
        auxiliary_announcement=reader.take(POINT_SIZE),
        update_announcement=reader.take(POINT_SIZE * apart),
        share_announcement=reader.take(POINT_SIZE * apart),
        form_announcement=reader.scalar("form_announcement"),
        table_blinding_response=reader.scalar("table_blinding_response"),
        auxiliary_blinding_response=reader.scalar("auxiliary_blinding_response"),
        update_blinding_response=reader.scalar("update_blinding_response") if apart else None,
        share_blinding_response=reader.scalar("share_blinding_response") if apart else None,
        cross_values=reader.scalars("cross_values", 2 * len(parameters.opened) - 2),
        folds=tuple(reader.fold(f"folds[{j}]") for j in range(parameters.folded.folds)),
        response=reader.scalars("response", parameters.folded.last),
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
        values = tuple([int.from_bytes(self.take(SCALAR_SIZE), "big") for _ in range(count)])
        if values and max(values) >= ORDER:
            index = next(i for i, value in enumerate(values) if value >= ORDER)
            raise Malformed("scalar-range", f"{name}[{index}] below the group order", f"{values[index]:x}")
        return values

    def fold(self, name: str) -> Fold:
        even, odd = self.take(POINT_SIZE), self.take(POINT_SIZE)
        return Fold(even, odd, *self.scalars(name, 2))

    def residues(self, count: int) -> tuple[int, ...]:
        return tuple([int.from_bytes(self.take(RESIDUE_SIZE), "big") for _ in range(count)])

    def integers(self, count: int, width: int) -> tuple[int, ...]:
        return tuple([int.from_bytes(self.take(width), "big", signed=True) for _ in range(count)])
