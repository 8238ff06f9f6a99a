"""The Fiat-Shamir transcript of one argument: what is absorbed, and which challenges follow, in order (spec 5.5).

Prover and verifier both walk through this one class, so they cannot disagree. Every value of the statement and of the
proof that is known at a point is absorbed before the next challenge is drawn; the last responses need not be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.challenger import Challenger
from proofs.domains import ARGUMENT
from proofs.engine import Signs
from proofs.parameters import ArgumentParameters
from proofs.proof import encode_projections, encode_scalars


@dataclass(frozen=True)
class ProjectionSigns:
    """The k random projections s_j^T V t_j: int8 with entries -1, 0, 1."""

    rows: Signs  # s, (k, R)
    columns: Signs  # t, (k, C)


@dataclass(frozen=True)
class RelationWeights:
    """Challenges that join norm, projections and padding into one sum over the cube."""

    projections: list[int]  # rho, k scalars
    padding: int  # theta
    padding_point: list[int]  # tau, one coordinate per column variable


def statement_bytes(parameters: ArgumentParameters) -> bytes:
    """d, R, C, B, k, M, Z, each as 32 bytes big-endian."""
    shape = parameters.shape
    bounds = (parameters.norm_bound, parameters.projections, parameters.mask_bound, parameters.response_bound)
    return b"".join(n.to_bytes(32, "big") for n in (shape.dimension, shape.rows, shape.columns, *bounds))


class ArgumentTranscript:
    """Call the methods once each in this order, `round_challenge` once per round."""

    def __init__(self, parameters: ArgumentParameters, context: bytes) -> None:
        self._parameters = parameters
        self._challenger = Challenger(ARGUMENT)
        self._challenger.absorb("context", context)
        self._challenger.absorb("statement", statement_bytes(parameters))

    def projection_signs(self, commitments: bytes, auxiliary: bytes) -> ProjectionSigns:
        """Absorbs D and A; draws s, then t."""
        shape, count = self._parameters.shape, self._parameters.projections
        self._challenger.absorb("commitments", commitments)
        self._challenger.absorb("auxiliary", auxiliary)
        rows = self._challenger.signs("row-signs", count, shape.rows)
        return ProjectionSigns(rows, self._challenger.signs("column-signs", count, shape.columns))

    def relation_weights(self, projections: Sequence[int]) -> RelationWeights:
        """Absorbs z; draws rho, theta, tau."""
        self._challenger.absorb("projections", encode_projections(self._parameters, projections))
        weights = self._challenger.scalars("projection-weights", self._parameters.projections)
        padding = self._challenger.scalar("padding-weight")
        point = self._challenger.scalars("padding-point", self._parameters.shape.column_variables)
        return RelationWeights(weights, padding, point)

    def claim(self, claim: int) -> None:
        """Absorbs the masked sum."""
        self._challenger.absorb("claim", encode_scalars([claim]))

    def round_challenge(self, coefficients: Sequence[int]) -> int:
        """Absorbs a round's coefficients as sent; draws r_i."""
        self._challenger.absorb("round", encode_scalars(coefficients))
        return self._challenger.scalar("round-challenge")

    def opening_weights(self, evaluation: int) -> tuple[int, int]:
        """Absorbs w; draws the weights of the second and the third linear relation."""
        self._challenger.absorb("evaluation", encode_scalars([evaluation]))
        second, third = self._challenger.scalars("opening-weights", 2)
        return second, third

    def opening_challenge(self, table: bytes, auxiliary: bytes, form: int) -> int:
        """Absorbs the three first messages; draws c."""
        self._challenger.absorb("table-announcement", table)
        self._challenger.absorb("auxiliary-announcement", auxiliary)
        self._challenger.absorb("form-announcement", encode_scalars([form]))
        return self._challenger.scalar("opening-challenge")
