"""Message times noise in the sumcheck, with the public signs: sum W m' n' over the cube (spec 5.9).

W(row, column) = sign (factor + eq(tau_rows, row) weights(column)) is a multilinear polynomial like the tables. In rows
the engine sums; pads change its sums by multiples of smaller ones. In columns there are C scalars of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.engine import Engine, SignedProduct, SignedSums
from proofs.polynomials import add, dot, eq_table, fold, interpolate, line_of_sums, multiply, quadratic, scale
from proofs.privacy_noise import NoiseSigns
from proofs.relations.terms import FinalPoint, SignedWeights, SummedWeights


@dataclass(frozen=True)
class SignedWeight:
    """W as far as it is public: signs, what they are multiplied with, and tau's row coordinates."""

    signs: NoiseSigns
    weights: SignedWeights
    row_point: Sequence[int]

    @property
    def columns(self) -> list[int] | None:
        """weights(column) of every column; None for zeros."""
        return SummedWeights(self.weights.weights).table() or None

    def product(self, left: int, right: int) -> SignedProduct:
        """As the engine wants it; left, right: positions of message and noise."""
        return SignedProduct(left, right, self.signs.table, self.weights.factor, self.columns)

    def row_sums(self, engine: Engine) -> list[int]:
        """sum_c W(row, c) of every data row."""
        signs = self.signs.table
        totals = scale(engine.ternary_products(signs, [1] * signs.shape[1]), self.weights.factor)
        if (columns := self.columns) is None:
            return totals
        rows = zip(eq_table(self.row_point), engine.ternary_products(signs, columns), strict=False)
        return add(totals, [equal * value % ORDER for equal, value in rows])

    def row_at(self, engine: Engine, point: Sequence[int]) -> list[int]:
        """W(point, c) for every column, the row variables bound."""
        signs, equal = self.signs.table, eq_table(point)[: len(self.signs.table)]
        found = scale(engine.ternary_combination(signs, equal), self.weights.factor)
        if (columns := self.columns) is None:
            return found
        both = [x * y % ORDER for x, y in zip(equal, eq_table(self.row_point), strict=False)]
        weighted = zip(columns, engine.ternary_combination(signs, both), strict=True)
        return add(found, [weight * value % ORDER for weight, value in weighted])

    def at(self, engine: Engine, final: FinalPoint) -> int:
        """W at the final point, in as many additions as there are cells, or twice as many."""
        signs = self.signs.table
        rows = final.rows[: len(signs)]
        value = self.weights.factor * dot(rows, engine.ternary_products(signs, final.columns))
        if (columns := self.columns) is None:
            return value % ORDER
        both = [x * y % ORDER for x, y in zip(rows, eq_table(self.row_point), strict=False)]
        weighted = [x * y % ORDER for x, y in zip(columns, final.columns, strict=True)]
        return (value + dot(both, engine.ternary_products(signs, weighted))) % ORDER


@dataclass(frozen=True, repr=False)  # secret
class SignedRows:
    """In the row rounds: the sums of W of every row left, and the pads of message and noise."""

    totals: list[int]
    left_pad: int
    right_pad: int

    def polynomial(self, sums: SignedSums, pad: list[int]) -> list[int]:
        """sum W (m + p_m pad) (n + p_n pad)."""
        crossed = add(scale(quadratic(*sums.left), self.right_pad), scale(quadratic(*sums.right), self.left_pad))
        pads = scale(multiply(pad, line_of_sums(self.totals)), self.left_pad * self.right_pad % ORDER)
        return add(interpolate(sums.product), multiply(pad, add(crossed, pads)))

    def bind(self, challenge: int) -> SignedRows:
        """The current variable fixed."""
        return SignedRows(fold(self.totals, challenge), self.left_pad, self.right_pad)


@dataclass(frozen=True, repr=False)  # secret
class SignedColumns:
    """In the column rounds: W, message and noise, padded, a scalar for every column left."""

    weight: list[int]
    left: list[int]
    right: list[int]

    def at(self, x: int) -> int:
        """The sum with the current variable at a small x."""
        parts = [_at(values, x) for values in (self.weight, self.left, self.right)]
        return sum(w * m % ORDER * n for w, m, n in zip(*parts, strict=True))

    def bind(self, challenge: int) -> SignedColumns:
        """The current variable fixed."""
        return SignedColumns(fold(self.weight, challenge), fold(self.left, challenge), fold(self.right, challenge))


def _at(table: Sequence[int], x: int) -> list[int]:
    return [even + x * (odd - even) for even, odd in zip(table[0::2], table[1::2], strict=True)]
