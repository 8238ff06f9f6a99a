"""The row rounds of the sumcheck: machine integers in the first round, elements modulo ORDER after it (spec 5.7).

The first round, half of all the work by size, needs no modular product. W_j[r] = sum_c t_j[c] v[r, c] is a matrix
product in double precision, split so that every partial sum is an integer below 2^53: exact in any order of summation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.engine import RoundSums, Signs, Table
from proofs.errors import Misuse
from proofs.native.scalars import element_sums, fold, fold_integers, pair_products, square_sums
from proofs.native.words import Words, check_scalars, integer, reduced, to_words
from proofs.workers import map_chunks

_ROW_BLOCK = 1024  # rows converted to double precision at once
_WORTHWHILE = 4  # pairs of rows below which a second thread does not pay
Three = tuple[int, int, int]


@dataclass(frozen=True)
class IntegerTables:
    """Before the first challenge: v (rows, columns), the left signs (rows, k) and W (rows, k), all small integers."""

    values: Table
    signs: Signs
    products: Table

    @classmethod
    def prepared(cls, table: Table, row_signs: Signs, column_signs: Signs) -> IntegerTables:
        """|W| <= 2^40 * columns <= 2^56, the caller's bounds."""
        return cls(table, np.ascontiguousarray(row_signs.T), _exact_product(table, column_signs))

    def squares(self) -> Three:
        """Sums of v(X)^2."""
        parts = map_chunks(lambda a, b: square_sums(self.values[2 * a : 2 * b]), _pairs(self.values), _WORTHWHILE)
        return _three(sum((int(part[x][0]) << 64) + int(part[x][1]) for part in parts) for x in range(3))

    def crosses(self, weights: Sequence[int]) -> Three:
        """Sums of weights[j] left_j(X) W_j(X)."""
        signs, products = self.signs.astype(np.int64), self.products
        return _three(
            sum(w * e for w, e in zip(weights, _column_dots(left, right), strict=True))
            for left, right in zip(_evaluations(signs), _evaluations(products), strict=True)
        )

    def totals(self) -> tuple[int, int]:
        """Sums of v(X); one row's sum is below 2^56."""
        sums = self.values.sum(axis=1)
        return sum(sums[0::2].tolist()) % ORDER, sum(sums[1::2].tolist()) % ORDER

    def folded(self, weights: Sequence[int], challenge: int) -> ElementTables:
        """After the first challenge; the weights are now part of the left factors."""
        return ElementTables(
            _folded(fold_integers, self.values, challenge),
            _folded_signs(self.signs, weights, challenge),
            _folded(fold_integers, self.products, challenge),
        )

    def single_row(self) -> list[int]:
        """The only row."""
        return [value % ORDER for value in self.values[0].tolist()]


@dataclass(frozen=True)
class ElementTables:
    """Between challenges: v (rows, columns, 4), left factors and W (rows, k, 4), elements modulo ORDER."""

    values: Words
    left: Words
    products: Words

    def squares(self) -> Three:
        """Sums of v(X)^2."""
        return _pair_products(self.values, self.values)

    def crosses(self, _weights: Sequence[int]) -> Three:
        """Sums of left_j(X) W_j(X)."""
        return _pair_products(self.left, self.products)

    def totals(self) -> tuple[int, int]:
        """Sums of v(X)."""
        return integer(element_sums(self.values, 0)) % ORDER, integer(element_sums(self.values, 1)) % ORDER

    def folded(self, _weights: Sequence[int], challenge: int) -> ElementTables:
        """After one more challenge."""
        return ElementTables(
            _folded(fold, self.values, challenge),
            _folded(fold, self.left, challenge),
            _folded(fold, self.products, challenge),
        )

    def single_row(self) -> list[int]:
        """The only row."""
        return reduced(self.values[0])


class NativeRowSumcheck:
    """`proofs.engine.RowSumcheck`; the one pair with arbitrary scalars has a row's size and stays in Python."""

    def __init__(
        self, tables: IntegerTables, weights: Sequence[int], extra_left: Sequence[int], extra_products: Sequence[int]
    ) -> None:
        self._tables: IntegerTables | ElementTables = tables
        self._weights = tuple(weights)
        self._extra_left = list(extra_left)
        self._extra_products = list(extra_products)

    def sums(self) -> RoundSums:
        """See `RowSumcheck`; raises Misuse once a single row is left."""
        self._require_rows(more_than_one=True)
        extra = _extra_sums(self._extra_left, self._extra_products)
        crosses = self._tables.crosses(self._weights)
        cross = _three(a + b for a, b in zip(crosses, extra, strict=True))
        return RoundSums(square=self._tables.squares(), cross=cross, total=self._tables.totals())

    def bind(self, challenge: int) -> None:
        """See `RowSumcheck`; raises Misuse once a single row is left."""
        self._require_rows(more_than_one=True)
        check_scalars("challenge", [challenge])
        self._tables = self._tables.folded(self._weights, challenge)
        self._extra_left = _folded_list(self._extra_left, challenge)
        self._extra_products = _folded_list(self._extra_products, challenge)

    def row(self) -> list[int]:
        """See `RowSumcheck`; raises Misuse while rows are left to bind."""
        self._require_rows(more_than_one=False)
        return self._tables.single_row()

    def _require_rows(self, more_than_one: bool) -> None:
        if (len(self._tables.values) > 1) is not more_than_one:
            wanted = "more than one row" if more_than_one else "a single row"
            raise Misuse(f"row sumcheck: expected {wanted} left, found {len(self._tables.values)}")


def _three(values: Iterable[int]) -> Three:
    at_0, at_1, at_2 = values
    return at_0 % ORDER, at_1 % ORDER, at_2 % ORDER


def _pairs(table: NDArray[np.int64] | Words) -> int:
    return (len(table) + 1) // 2


def _exact_product(table: Table, column_signs: Signs) -> Table:
    """(rows, k): table @ column_signs.T for |entries| <= 2^40 and up to 2^16 columns."""
    transposed = column_signs.T.astype(np.float64)
    low_bits = 53 - (table.shape[1] - 1).bit_length()  # a sum of `columns` numbers below 2^low_bits stays below 2^53
    product = np.empty((len(table), transposed.shape[1]), np.int64)
    for start in range(0, len(table), _ROW_BLOCK):
        block = table[start : start + _ROW_BLOCK]
        if max(int(block.max()), -int(block.min())) < 1 << low_bits:
            exact = (block.astype(np.float64) @ transposed).astype(np.int64)
        else:
            high = (block >> low_bits).astype(np.float64) @ transposed
            low = (block & ((1 << low_bits) - 1)).astype(np.float64) @ transposed
            exact = (high.astype(np.int64) << low_bits) + low.astype(np.int64)
        product[start : start + _ROW_BLOCK] = exact
    return product


def _evaluations(table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(pairs, k) each: the lines through pairs of rows at 0, 1, 2."""
    even, odd = table[0::2], np.zeros_like(table[0::2])
    odd[: len(table) // 2] = table[1::2]
    return even, odd, 2 * odd - even


def _column_dots(left: NDArray[np.int64], right: NDArray[np.int64]) -> list[int]:
    """sum_i left[i, j] right[i, j] for |left| <= 3, |right| < 2^63, fewer than 2^28 rows: in halves, so exactly."""
    high = (left * (right >> 32)).sum(axis=0)
    low = (left * (right & 0xFFFFFFFF)).sum(axis=0)
    return [(upper << 32) + lower for upper, lower in zip(high.tolist(), low.tolist(), strict=True)]


def _folded(kernel: Callable[..., None], table: NDArray[np.int64] | Words, challenge: int) -> Words:
    factor = to_words([(challenge << 256) % ORDER])[0]
    folded = np.empty((_pairs(table), table.shape[1], 4), np.uint64)
    map_chunks(lambda a, b: kernel(table[2 * a : 2 * b], factor, folded[a:b]), len(folded), _WORTHWHILE)
    return folded


def _folded_signs(signs: Signs, weights: Sequence[int], challenge: int) -> Words:
    """w_j (s + r (s' - s)) for pairs of rows s, s' of signs: one of nine values for each j, looked up."""
    table = [w * (s + challenge * (t - s)) % ORDER for w in weights for s in (-1, 0, 1) for t in (-1, 0, 1)]
    even, odd, _ = _evaluations(signs.astype(np.int64))
    folded: Words = to_words(table)[9 * np.arange(len(weights)) + 3 * (even + 1) + odd + 1]
    return folded


def _pair_products(left: Words, right: Words) -> Three:
    parts = map_chunks(lambda a, b: pair_products(left[2 * a : 2 * b], right[2 * a : 2 * b]), _pairs(left), _WORTHWHILE)
    return _three(sum(integer(part[x]) for part in parts) for x in range(3))


def _extra_sums(left: Sequence[int], right: Sequence[int]) -> Three:
    sums = [0, 0, 0]
    for i in range(0, len(left), 2):
        a, c = left[i], right[i]
        b, d = (left[i + 1], right[i + 1]) if i + 1 < len(left) else (0, 0)
        sums[0] += a * c
        sums[1] += b * d
        sums[2] += (2 * b - a) * (2 * d - c)
    return _three(sums)


def _folded_list(values: Sequence[int], challenge: int) -> list[int]:
    padded = [*values, 0] if len(values) % 2 else values
    return [(a + challenge * (b - a)) % ORDER for a, b in zip(padded[0::2], padded[1::2], strict=True)]
