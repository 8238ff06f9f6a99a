"""The Fiat-Shamir transcript of one argument: what is absorbed, and which challenges follow, in order (spec 5.5).

Prover and verifier both walk through this one class, so they cannot disagree. Every value of the statement and of the
proof that is known at a point is absorbed before the next challenge is drawn; the last responses need not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.challenger import Challenger
from proofs.domains import ARGUMENT
from proofs.encryption import GROUP_SIZE, KEY_DIGIT_BITS, KEY_DIGITS, EncryptionStatement
from proofs.engine import Signs, Table
from proofs.layout import Layout
from proofs.parameters import ArgumentParameters
from proofs.proof import Announcements, encode_integers, encode_residues, encode_scalars


@dataclass(frozen=True)
class Commitments:
    """What is known before the first challenge: row commitments of the three families of tables, and A."""

    update: bytes
    range: bytes
    encryption: bytes
    auxiliary: bytes


@dataclass(frozen=True)
class ProjectionSigns:
    """The k random projections s_j^T V t_j: int8 with entries -1, 0, 1."""

    rows: Signs  # s, (k, total_rows): the rows of all tables
    columns: Signs  # t, (k, C)

    def of_tables(self, layout: Layout) -> list[Signs]:
        """(k, rows) for each table."""
        return [self.rows[:, span] for span in layout.spans]


@dataclass(frozen=True)
class CellWeights:
    """Weights of the S combinations of the encryption's equations: cell (r, c) has rows[s, r] columns[s, c]."""

    rows: Table  # (S, data_rows), below 2^weight_bits
    columns: Table  # (S, C)


@dataclass(frozen=True)
class RelationWeights:
    """Challenges that join all relations into one sum over the cube; zero or none where a relation is not in force."""

    projections: list[int]  # rho, k scalars
    padding: int  # theta_p
    row_point: list[int]  # tau, one coordinate per row variable
    column_point: list[int]  # tau, one coordinate per column variable
    range: int  # theta_r
    error: int  # theta_e
    key: int  # theta_k
    packing: int  # zeta
    packing_base: int  # xi
    quotients: list[int]  # omega, S scalars


@dataclass(frozen=True)
class OpeningWeights:
    """Challenges that join tables, and the three linear relations."""

    tables: int  # eta
    second: int  # kappa_2
    third: int  # kappa_3


def statement_bytes(parameters: ArgumentParameters) -> bytes:
    """Numbers of 32 bytes big-endian: d, C, B, k, M, Z; segments; N, q, T, E and what belongs to them (spec 5.5)."""
    shape, lattice = parameters.shape, parameters.encryption
    numbers = [shape.dimension, shape.columns, parameters.norm_bound]
    numbers += [parameters.projections, parameters.mask_bound, parameters.response_bound]
    numbers.append(len(parameters.segments))
    for segment in parameters.segments:
        numbers += [segment.start, segment.stop, segment.bound]
    if lattice is not None:
        numbers += [lattice.degree, lattice.modulus, lattice.plaintext_scale, lattice.noise_bound]
        numbers += [GROUP_SIZE, KEY_DIGIT_BITS, KEY_DIGITS, lattice.combinations, lattice.weight_bits]
        numbers += [parameters.quotient_mask_bound, parameters.quotient_bound]
    return b"".join(number.to_bytes(32, "big") for number in numbers)


class ArgumentTranscript:
    """Call the methods once each in this order, `round_challenge` per round, `cell_weights` for encryption."""

    def __init__(
        self, parameters: ArgumentParameters, context: bytes, encryption: EncryptionStatement | None = None
    ) -> None:
        self._parameters = parameters
        self._challenger = Challenger(ARGUMENT)
        self._challenger.absorb("context", context)
        self._challenger.absorb("statement", statement_bytes(parameters))
        if encryption is not None:
            self._challenger.absorb("ring-elements", encryption.elements.digest)
            self._challenger.absorb("ciphertext", encryption.ciphertext_hash)
            self._challenger.absorb("share-commitment", encryption.share_commitment)

    def projection_signs(self, commitments: Commitments) -> ProjectionSigns:
        """Absorbs D and A; draws s, then t."""
        layout, count = self._parameters.layout, self._parameters.projections
        self._challenger.absorb("commitments", commitments.update)
        if self._parameters.segments:
            self._challenger.absorb("range-commitments", commitments.range)
        if self._parameters.encryption is not None:
            self._challenger.absorb("encryption-commitments", commitments.encryption)
        self._challenger.absorb("auxiliary", commitments.auxiliary)
        rows = self._challenger.signs("row-signs", count, layout.total_rows)
        return ProjectionSigns(rows, self._challenger.signs("column-signs", count, layout.shape.columns))

    def cell_weights(self) -> CellWeights:
        """Draws the weights of the encryption's combinations."""
        lattice, shape = self._parameters.encryption, self._parameters.shape
        count, bits = self._parameters.quotients, lattice.weight_bits if lattice is not None else 0
        rows = self._challenger.integers("row-weights", count, shape.data_rows, bits)
        return CellWeights(rows, self._challenger.integers("column-weights", count, shape.columns, bits))

    def relation_weights(
        self, projections: Sequence[int], combinations: Sequence[int], quotients: Sequence[int]
    ) -> RelationWeights:
        """Absorbs z, Y and z'; draws rho, theta_p, tau, theta_r, and the encryption's weights."""
        parameters, layout = self._parameters, self._parameters.layout
        self._challenger.absorb("projections", encode_integers(parameters.response_width, projections))
        if parameters.encryption is not None:
            self._challenger.absorb("combinations", encode_residues(combinations))
            self._challenger.absorb("quotients", encode_integers(parameters.quotient_width, quotients))
        weights = self._challenger.scalars("projection-weights", parameters.projections)
        padding = self._challenger.scalar("padding-weight")
        point = self._challenger.scalars("cube-point", layout.variables)
        bounds = self._challenger.scalar("range-weight") if parameters.segments else 0
        flat = [0, 0, 0, 0]
        if parameters.encryption is not None:
            flat = self._challenger.scalars("encryption-weights", 4 + parameters.quotients)
        rows, columns = point[: layout.row_variables], point[layout.row_variables :]
        return RelationWeights(weights, padding, rows, columns, bounds, flat[0], flat[1], flat[2], flat[3], flat[4:])

    def claim(self, claim: int) -> None:
        """Absorbs the masked sum."""
        self._challenger.absorb("claim", encode_scalars([claim]))

    def round_challenge(self, coefficients: Sequence[int]) -> int:
        """Absorbs a round's coefficients as sent; draws r_i."""
        self._challenger.absorb("round", encode_scalars(coefficients))
        return self._challenger.scalar("round-challenge")

    def opening_weights(self, evaluations: Sequence[int]) -> OpeningWeights:
        """Absorbs the w_b; draws the weights of the tables, and of the second and the third linear relation."""
        self._challenger.absorb("evaluations", encode_scalars(evaluations))
        return OpeningWeights(*self._challenger.scalars("opening-weights", 3))

    def opening_challenge(self, first: Announcements) -> int:
        """Absorbs the first messages; draws c."""
        self._challenger.absorb("table-announcement", first.table)
        self._challenger.absorb("auxiliary-announcement", first.auxiliary)
        if self._parameters.encryption is not None:
            self._challenger.absorb("update-announcement", first.update)
            self._challenger.absorb("share-announcement", first.share)
        self._challenger.absorb("form-announcement", encode_scalars([first.form]))
        return self._challenger.scalar("opening-challenge")
