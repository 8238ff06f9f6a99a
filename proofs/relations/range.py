"""Every coordinate has u^2 + a^2 + a + b^2 + c^2 = beta^2, so |u| <= beta; or beta w for both (spec 5.1, claim 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.polynomials import eq_prefix_sum
from proofs.ranges import CoordinateGroup
from proofs.relations.norm import NOISE, UPDATE
from proofs.relations.relation import DirectRelation, OwnTable, Sent, Weights, WrapBound
from proofs.relations.scale import UNSCALED, Scale
from proofs.relations.terms import ColumnWeights, EqSlice, RankOneForm, SignedWeights, Terms
from proofs.shape import TableShape

RANGE_TABLES = ("range-a", "range-b", "range-c")
RANGE = "range"  # the class of weights of the update and of the range tables
RANGE_COMMITMENTS = "range-commitments"


@dataclass(frozen=True)
class Range(DirectRelation):
    """segments: every coordinate's beta, slices that cover the vector; of a weight 1, as all are times the weight.
    noised: whether it is m - s o n that is within them."""

    shape: TableShape
    segments: tuple[CoordinateGroup, ...]
    scale: Scale = UNSCALED
    noised: bool = False

    name = "range"
    commitments = RANGE_COMMITMENTS
    label = "range-weight"

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        """a, b and c, each of the size of the update."""
        return tuple(OwnTable(name, self.shape.data_rows, self.shape.columns) for name in RANGE_TABLES)

    @property
    def classes(self) -> Mapping[str, str]:
        """The update and a, b, c are one class."""
        return dict.fromkeys((UPDATE, *RANGE_TABLES), RANGE)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Start, stop and beta of every slice; how many there are is in every statement."""
        return tuple(number for each in self.segments for number in (each.start, each.stop, each.bound))

    @property
    def squares_bound(self) -> int:
        """beta^2 for every coordinate, times W^2 with a weight."""
        squares = sum((segment.stop - segment.start) * segment.bound**2 for segment in self.segments)
        return squares * self.scale.largest**2

    @property
    def scalars(self) -> int:
        """theta_r."""
        return 1

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """One coordinate: u^2 + a^2 + a + b^2 + c^2 less the largest beta^2, or that times the square of the weight;
        with noise |u| <= 2 X."""
        largest = max(segment.bound for segment in self.segments) ** 2
        bound = largest * entry if self.scale.own_square else largest
        squares = 7 if self.noised else 4
        return [WrapBound("range", 2 * (squares * entry**2 + entry + bound))]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """All squares weigh theta_r eq(tau, cell), and the a of the data rows as well."""
        (theta,) = weights.scalars
        rows = EqSlice(weights.row_point, 0, self.shape.data_rows)
        columns = EqSlice(weights.column_point, 0, self.shape.columns)
        total, forms = self.scale.terms_of(theta * self._bounds(weights))
        squares = {RANGE: ColumnWeights(theta, 0, weights.column_point)}
        signed = SignedWeights()
        if self.noised:
            squares[NOISE] = squares[RANGE]
            signed = SignedWeights(0, (ColumnWeights(-2 * theta % ORDER, 0, weights.column_point),))
        forms = [RankOneForm(rows, columns, {RANGE_TABLES[0]: 1}, theta), *forms]
        return Terms(total=total, squares=squares, forms=forms, signed=signed)

    def _bounds(self, weights: Weights) -> int:
        """sum_i eq(tau, cell i) beta_i^2."""
        point, total = [*weights.column_point, *weights.row_point], 0
        for segment in self.segments:
            cells = eq_prefix_sum(point, segment.stop) - eq_prefix_sum(point, segment.start)
            total += segment.bound**2 * cells
        return total
