"""The update and its private row: their squares sum to B^2, or B^2 w^2, over the integers (spec 5.1, claim 2).

With noise for privacy the first table is the message m, the update is u = m - s o n, and u^2 = m^2 - 2 s m n + n^2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from proofs.privacy_noise import NoiseBounds
from proofs.relations.relation import DirectRelation, OwnTable, Sent, Weights, WrapBound
from proofs.relations.scale import UNSCALED, Scale
from proofs.relations.terms import SignedWeights, Terms
from proofs.shape import TableShape

UPDATE, PRIVATE = "update", "private"
NOISE = "noise"  # for privacy
NORM_COMMITMENTS = "commitments"


@dataclass(frozen=True)
class Norm(DirectRelation):
    """norm_bound: B. With a weight among the update's coordinates its own square comes on top. noise: of the message,
    never beside a weight."""

    shape: TableShape
    norm_bound: int
    scale: Scale = UNSCALED
    noise: NoiseBounds | None = None

    name = "norm"
    commitments = NORM_COMMITMENTS

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        """The update, R rows, and the private row."""
        rows, columns = self.shape.data_rows, self.shape.columns
        return OwnTable(UPDATE, rows, columns), OwnTable(PRIVATE, 1, columns)

    @property
    def plain(self) -> tuple[str, ...]:
        """Both tables, and the noise, where there is one."""
        return UPDATE, PRIVATE, NOISE

    @property
    def squares_bound(self) -> int:
        """B^2, or (B^2 + 1) W^2; with noise (B + sqrt U)^2, the root rounded up, as |m| <= |u| + |n|."""
        if self.noise is not None:
            return (self.norm_bound + math.isqrt(self.noise.ceiling) + 1) ** 2
        return self.total * self.scale.largest**2

    @property
    def total(self) -> int:
        """Of the squares of both tables; with a weight times the square of it."""
        return self.norm_bound**2 + self.scale.own_square

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """All cells of both tables, and the square of the weight; with noise a cell is one of m less one of n."""
        if self.noise is not None:
            squares = 4 * self.shape.data_cells + self.shape.columns
            return [WrapBound("norm", 2 * squares * entry**2)]
        squares = self.shape.cells * entry**2
        return [WrapBound("norm", 2 * (squares + self.scale.own_square * self.total * entry))]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """It has no weight: all others have one."""
        total, forms = self.scale.terms_of(self.total)
        signed = SignedWeights() if self.noise is None else SignedWeights(-2)
        return Terms(total=total, forms=forms, signed=signed)
