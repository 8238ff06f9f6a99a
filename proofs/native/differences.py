"""Kernels of the row rounds of several tables: squares of differences of neighbouring rows, and cheaper folding.

For each pair of rows (e, o) a round's polynomial is |e + X (o - e)|^2. Its values at 0 and 1 are known from the round
before, so each round needs one number a pair: the sum of (o - e)^2, plain or weighted by column.

Sums are exact in wide accumulators; reduction happens in Python. Conventions and letters are those of `scalars`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers, Words
from proofs.curve import ORDER
from proofs.machine.jit import inner, kernel
from proofs.native.field import ZERO, Element, Word
from proofs.native.scalars import (
    N0,
    N1,
    N2,
    N3,
    NEGATED_INVERSE,
    Nine,
    add,
    add_product,
    below_order,
    load,
    of_integer,
    store,
    subtract,
)
from proofs.wide import add_carry, multiply_add, umul128

Six: TypeAlias = tuple[Word, Word, Word, Word, Word, Word]

_NONE = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
K0, K1, K2 = (np.uint64((2**256 - ORDER) >> shift & (2**64 - 1)) for shift in (0, 64, 128))  # 2^256 - ORDER


@inner
def _put(sums: Words, row: int, r: Nine) -> None:
    sums[row, 0], sums[row, 1], sums[row, 2], sums[row, 3], sums[row, 4] = r[0], r[1], r[2], r[3], r[4]
    sums[row, 5], sums[row, 6], sums[row, 7], sums[row, 8] = r[5], r[6], r[7], r[8]


@inner
def _get(sums: Words, row: int) -> Nine:
    return (
        sums[row, 0], sums[row, 1], sums[row, 2], sums[row, 3], sums[row, 4],
        sums[row, 5], sums[row, 6], sums[row, 7], sums[row, 8],
    )  # fmt: skip


@inner
def _row(table: Words, row: int, absent: Words) -> Words:
    """A row of the table, zeros where it has none."""
    return table[row] if row < table.shape[0] else absent


@inner
def _difference(even: Words, odd: Words, column: int) -> Element:
    """odd minus even at a column, modulo ORDER."""
    return subtract(load(odd, column), load(even, column))


@inner
def _shift_word(r: Nine) -> Nine:
    """(r + m ORDER) / 2^64, m chosen to make that whole, for r below 2^516."""
    m = r[0] * NEGATED_INVERSE
    c, _ = multiply_add(m, N0, r[0], ZERO)
    c, r1 = multiply_add(m, N1, r[1], c)
    c, r2 = multiply_add(m, N2, r[2], c)
    c, r3 = multiply_add(m, N3, r[3], c)
    c, r4 = add_carry(r[4], c, ZERO)
    c, r5 = add_carry(r[5], ZERO, c)
    c, r6 = add_carry(r[6], ZERO, c)
    c, r7 = add_carry(r[7], ZERO, c)
    return r1, r2, r3, r4, r5, r6, r7, r[8] + c, ZERO


@inner
def _lowered(r: Nine) -> Element:
    """A four-word integer congruent to r / 2^256 modulo ORDER, not always below ORDER, for r below 2^516."""
    r = _shift_word(_shift_word(_shift_word(_shift_word(r))))
    r0, r1, r2, r3, top = r[0], r[1], r[2], r[3], r[4]
    for _ in range(2):  # 2^256 = 2^256 - ORDER (mod ORDER), a number of 129 bits; the second time nothing is left
        c, r0 = multiply_add(top, K0, r0, ZERO)
        c, r1 = multiply_add(top, K1, r1, c)
        c, r2 = multiply_add(top, K2, r2, c)
        top, r3 = add_carry(r3, c, ZERO)
    return r0, r1, r2, r3


@kernel
def square_differences(table: Words) -> Words:
    """(ceil(rows / 2), 9): per pair of rows the exact sum over columns of (odd - even)^2; table (rows, columns, 4)."""
    pairs, columns = (table.shape[0] + 1) // 2, table.shape[1]
    absent = np.zeros((columns, 4), np.uint64)
    sums = np.empty((pairs, 9), np.uint64)
    for i in range(pairs):
        even, odd = table[2 * i], _row(table, 2 * i + 1, absent)
        r = _NONE
        for j in range(columns):
            difference = _difference(even, odd, j)
            r = add_product(r, difference, difference)
        _put(sums, i, r)
    return sums


@kernel
def product_differences(left: Words, right: Words) -> Words:
    """(ceil(rows / 2), 9): per pair of rows the exact sum over columns of left's difference times right's."""
    pairs, columns = (left.shape[0] + 1) // 2, left.shape[1]
    absent = np.zeros((columns, 4), np.uint64)
    sums = np.empty((pairs, 9), np.uint64)
    for i in range(pairs):
        left_even, left_odd = left[2 * i], _row(left, 2 * i + 1, absent)
        right_even, right_odd = right[2 * i], _row(right, 2 * i + 1, absent)
        r = _NONE
        for j in range(columns):
            r = add_product(r, _difference(left_even, left_odd, j), _difference(right_even, right_odd, j))
        _put(sums, i, r)
    return sums


@kernel
def weighted_square_differences(t0: Words, t1: Words, t2: Words, t3: Words, weights: Words, pairs: int) -> Words:
    """(pairs, 9): per pair of rows the sum over columns c of w_c times the sum over tables of (odd - even)^2 at c.

    Tables (rows, columns, 4) of any numbers of rows, also none; weights (columns, 4) hold w_c 2^256 mod ORDER. Not
    reduced modulo ORDER, but congruent.
    """
    columns = weights.shape[0]
    absent = np.zeros((columns, 4), np.uint64)
    sums = np.empty((pairs, 9), np.uint64)
    squares = np.empty((columns, 9), np.uint64)
    for i in range(pairs):
        squares[:] = ZERO
        _add_squares(squares, t0, 2 * i, absent)
        _add_squares(squares, t1, 2 * i, absent)
        _add_squares(squares, t2, 2 * i, absent)
        _add_squares(squares, t3, 2 * i, absent)
        total = _NONE
        for j in range(columns):
            total = add_product(total, _lowered(_get(squares, j)), load(weights, j))
        _put(sums, i, total)
    return sums


@inner
def _add_squares(squares: Words, table: Words, row: int, absent: Words) -> None:
    """Add to squares (columns, 9) those of the difference of a row and the next."""
    if row < table.shape[0]:
        even, odd = table[row], _row(table, row + 1, absent)
        for j in range(len(squares)):
            difference = _difference(even, odd, j)
            _put(squares, j, add_product(_get(squares, j), difference, difference))


@inner
def _plus_square(high: Word, low: Word, value: np.int64) -> tuple[Word, Word]:
    magnitude = np.uint64(abs(value))
    c, low = multiply_add(magnitude, magnitude, low, ZERO)
    return high + c, low


@kernel
def integer_squares(table: Integers) -> Words:
    """(rows, 2): the exact sum of squares of every row of int64 entries below 2^42 in magnitude, up to 2^40 a row."""
    rows, columns = table.shape
    sums = np.empty((rows, 2), np.uint64)
    for i in range(rows):
        row = table[i]
        high, low = ZERO, ZERO
        for j in range(columns):
            high, low = _plus_square(high, low, row[j])
        sums[i, 0], sums[i, 1] = low, high
    return sums


@inner
def _add_small_product(r: Six, a: Word, b: Element) -> Six:
    """r + a b on six words."""
    c, r0 = multiply_add(a, b[0], r[0], ZERO)
    c, r1 = multiply_add(a, b[1], r[1], c)
    c, r2 = multiply_add(a, b[2], r[2], c)
    c, r3 = multiply_add(a, b[3], r[3], c)
    c, r4 = add_carry(r[4], c, ZERO)
    return r0, r1, r2, r3, r4, r[5] + c


@kernel
def weighted_integer_squares(
    t0: Integers, t1: Integers, t2: Integers, t3: Integers, weights: Words, rows: int
) -> Words:
    """(rows, 7): per row the exact sum over columns c of w_c times the sum over tables of t[row, c]^2.

    int64 tables of any numbers of rows, also none, entries below 2^42 in magnitude; weights (columns, 4).
    """
    sums = np.empty((rows, 7), np.uint64)
    for i in range(rows):
        r = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
        upper = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)  # from what exceeds 64 bits, 2^64 times as heavy
        for j in range(weights.shape[0]):
            high, low = ZERO, ZERO
            if i < len(t0):
                high, low = _plus_square(high, low, t0[i, j])
            if i < len(t1):
                high, low = _plus_square(high, low, t1[i, j])
            if i < len(t2):
                high, low = _plus_square(high, low, t2[i, j])
            if i < len(t3):
                high, low = _plus_square(high, low, t3[i, j])
            weight = load(weights, j)
            r = _add_small_product(r, low, weight)
            if high != ZERO:
                upper = _add_small_product(upper, high, weight)
        sums[i, 0] = r[0]
        c, sums[i, 1] = add_carry(r[1], upper[0], ZERO)
        c, sums[i, 2] = add_carry(r[2], upper[1], c)
        c, sums[i, 3] = add_carry(r[3], upper[2], c)
        c, sums[i, 4] = add_carry(r[4], upper[3], c)
        c, sums[i, 5] = add_carry(r[5], upper[4], c)
        sums[i, 6] = upper[5] + c
    return sums


@inner
def _scaled(a: Word, b: Element) -> Element:
    """a b / 2^64 mod ORDER for a below 2^64, b below ORDER: one word of Montgomery's product."""
    c, r0 = umul128(a, b[0])
    c, r1 = multiply_add(a, b[1], c, ZERO)
    c, r2 = multiply_add(a, b[2], c, ZERO)
    r4, r3 = multiply_add(a, b[3], c, ZERO)
    m = r0 * NEGATED_INVERSE
    c, _ = multiply_add(m, N0, r0, ZERO)
    c, r1 = multiply_add(m, N1, r1, c)
    c, r2 = multiply_add(m, N2, r2, c)
    c, r3 = multiply_add(m, N3, r3, c)
    c, r4 = add_carry(r4, c, ZERO)
    return below_order(c, (r1, r2, r3, r4))


@kernel
def fold_small(table: Integers, challenges: Words, folded: Words) -> None:
    """folded[i] = t[2i] + r (t[2i + 1] - t[2i]) of int64 entries below 2^62 in absolute value, absent rows zero.

    folded (ceil(rows / 2), columns, 4); challenges (2, 4): r 2^64 and -r 2^64 mod ORDER.
    """
    rows, columns = table.shape
    absent = np.zeros(columns, np.int64)
    for i in range(len(folded)):
        even, odd, out = table[2 * i], table[2 * i + 1] if 2 * i + 1 < rows else absent, folded[i]
        for j in range(columns):
            step = odd[j] - even[j]
            r = load(challenges, 1 if step < 0 else 0)
            store(out, j, add(of_integer(even[j]), _scaled(np.uint64(abs(step)), r)))


@kernel
def fold_signs(signs: NDArray[np.int8], lookup: Words, folded: Words) -> None:
    """folded[i, j] = lookup[9 j + 3 (s + 1) + t + 1] with s, t = signs[2i, j], signs[2i + 1, j], absent ones 0.

    signs (rows, k), lookup (9 k, 4), folded (ceil(rows / 2), k, 4).
    """
    rows, count = signs.shape
    for i in range(len(folded)):
        for j in range(count):
            s = np.int64(signs[2 * i, j])
            t = np.int64(signs[2 * i + 1, j]) if 2 * i + 1 < rows else np.int64(0)
            place = 9 * j + 3 * s + t + 4
            folded[i, j, 0], folded[i, j, 1] = lookup[place, 0], lookup[place, 1]
            folded[i, j, 2], folded[i, j, 3] = lookup[place, 2], lookup[place, 3]
