"""The update's last coordinate is an integer weight w with 1 <= w <= W; w^2 scales all bounds (spec 5.1, claim 8).

(w - 1) (W - w) is a sum of four squares, so it is not negative. By Lagrange it can be one for every w in range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.polynomials import eq_index, eq_table
from proofs.relations.norm import UPDATE
from proofs.relations.relation import DirectRelation, OwnTable, Sent, Weights, WrapBound
from proofs.relations.scale import WEIGHT_CELL, WEIGHT_ROOTS, WEIGHT_SQUARES
from proofs.relations.terms import ColumnWeights, Listed, RankOneForm, Single, Terms
from proofs.shape import TableShape

WEIGHT_COMMITMENTS = "weight-commitments"
MAXIMUM_WEIGHT = 2**20
CELL_VARIABLES = 3
CELLS = 1 << CELL_VARIABLES  # of either table: the weight, four squares, three that are zero
USED = 5


@dataclass(frozen=True)
class ClientWeight(DirectRelation):
    """largest: W. Tables t and y of one row: y_c = t_c^2 in every cell, t_0 = w, t_1 .. t_4 the four roots."""

    shape: TableShape
    largest: int

    name = "client-weight"
    commitments = WEIGHT_COMMITMENTS
    label = "weight-factors"

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        """Roots, and their squares."""
        return OwnTable(WEIGHT_ROOTS, 1, CELLS), OwnTable(WEIGHT_SQUARES, 1, CELLS)

    @property
    def classes(self) -> Mapping[str, str]:
        """Only the roots are squared."""
        return {WEIGHT_ROOTS: WEIGHT_ROOTS}

    @property
    def numbers(self) -> tuple[int, ...]:
        """W."""
        return (self.largest,)

    @property
    def squares_bound(self) -> int:
        """w^2 + (w - 1)(W - w) <= W^2 for the roots; their squares sum to this, so the squares of these to no more than
        its square."""
        return self.largest**2 + self.largest**4

    @property
    def scalars(self) -> int:
        """theta_s, theta_w and theta_i."""
        return 3

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """t_c^2 - y_c; sum y_c - (W + 1) t_0 + W. That t_0 and the coordinate are equal is one of the projections'."""
        interval = (USED + self.largest + 1) * entry + self.largest
        return [WrapBound("weight-squares", 2 * (entry**2 + entry)), WrapBound("weight-interval", 2 * interval)]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """t_c^2 = y_c for every c by theta_s eq(tau, c), t_0 = u by theta_w, sum y = (W + 1) t_0 - W by theta_i."""
        squares, copy, interval = weights.scalars
        point = weights.column_point[:CELL_VARIABLES]
        factor = squares * eq_index(weights.row_point, 0)
        row, column = divmod(self.shape.dimension - 1, self.shape.columns)
        first, weight = Single(0), Single(WEIGHT_CELL)
        return Terms(
            total=-interval * self.largest,
            squares={WEIGHT_ROOTS: ColumnWeights(squares, 0, point)},
            forms=[
                RankOneForm(first, Listed(eq_table(point)), {WEIGHT_SQUARES: 1}, -factor % ORDER),
                RankOneForm(first, weight, {WEIGHT_ROOTS: 1}, (copy - interval * (self.largest + 1)) % ORDER),
                RankOneForm(Single(row), Single(column), {UPDATE: 1}, -copy % ORDER),
                RankOneForm(first, Listed([1] * USED), {WEIGHT_SQUARES: 1}, interval),
            ],
        )
