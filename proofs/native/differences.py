"""Kernels of the row rounds of several tables: squares of differences of neighbouring rows, and cheaper folding.

For each pair of rows (e, o) a round's polynomial is |e + X (o - e)|^2. Its values at 0 and 1 are known from the round
before, so each round needs one number a pair: the sum of (o - e)^2, plain or weighted by column.

Sums are exact in wide accumulators; reduction happens in Python. Conventions and letters are those of `scalars`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.jit import inner, kernel
from proofs.native.field import Element, Word
from proofs.native.scalars import (
    N0,
    N1,
    N2,
    N3,
    NEGATED_INVERSE,
    ZERO,
    Integers,
    Nine,
    add,
    add_product,
    load,
    minus,
    of_integer,
    store,
    subtract,
)
from proofs.native.words import Words
from proofs.wide import add_carry, multiply_add, umul128

Six: TypeAlias = tuple[Word, Word, Word, Word, Word, Word]

_NONE = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)
_ZERO = (ZERO, ZERO, ZERO, ZERO)
K0, K1, K2 = (np.uint64((2**256 - ORDER) >> shift & (2**64 - 1)) for shift in (0, 64, 128))  # 2^256 - ORDER


@inner
def _put(sums: Words, row: int, r: Nine) -> None:
    sums[row, 0], sums[row, 1], sums[row, 2], sums[row, 3], sums[row, 4] = r[0], r[1], r[2], r[3], r[4]
    sums[row, 5], sums[row, 6], sums[row, 7], sums[row, 8] = r[5], r[6], r[7], r[8]


@inner
def _difference(table: Words, row: int, column: int) -> Element:
    """Row + 1 minus row, modulo ORDER; absent rows are zero."""
    rows = table.shape[0]
    low, high = _ZERO, _ZERO
    if row < rows:
        low = load(table, row, column)
    if row + 1 < rows:
        high = load(table, row + 1, column)
    return subtract(high, low)


@inner
def _add_square(r: Nine, a: Element) -> Nine:
    """r + a^2 exactly: the six mixed products once, doubled, and the four squares."""
    a0, a1, a2, a3 = a
    c, s1 = umul128(a0, a1)
    c, s2 = multiply_add(a0, a2, c, ZERO)
    s4, s3 = multiply_add(a0, a3, c, ZERO)
    c, s3 = multiply_add(a1, a2, s3, ZERO)
    s5, s4 = multiply_add(a1, a3, s4, c)
    s6, s5 = multiply_add(a2, a3, s5, ZERO)
    c, s1 = add_carry(s1, s1, ZERO)
    c, s2 = add_carry(s2, s2, c)
    c, s3 = add_carry(s3, s3, c)
    c, s4 = add_carry(s4, s4, c)
    c, s5 = add_carry(s5, s5, c)
    s7, s6 = add_carry(s6, s6, c)
    high, s0 = umul128(a0, a0)
    c, s1 = add_carry(s1, high, ZERO)
    high, low = umul128(a1, a1)
    c, s2 = add_carry(s2, low, c)
    c, s3 = add_carry(s3, high, c)
    high, low = umul128(a2, a2)
    c, s4 = add_carry(s4, low, c)
    c, s5 = add_carry(s5, high, c)
    high, low = umul128(a3, a3)
    c, s6 = add_carry(s6, low, c)
    c, s7 = add_carry(s7, high, c)
    c, r0 = add_carry(r[0], s0, ZERO)
    c, r1 = add_carry(r[1], s1, c)
    c, r2 = add_carry(r[2], s2, c)
    c, r3 = add_carry(r[3], s3, c)
    c, r4 = add_carry(r[4], s4, c)
    c, r5 = add_carry(r[5], s5, c)
    c, r6 = add_carry(r[6], s6, c)
    c, r7 = add_carry(r[7], s7, c)
    return r0, r1, r2, r3, r4, r5, r6, r7, r[8] + c


@inner
def _shift_word(r: Nine) -> Nine:
    """(r + m ORDER) / 2^64, m chosen to make that whole, for r below 2^512 + 2^514."""
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
    pairs = (table.shape[0] + 1) // 2
    sums = np.empty((pairs, 9), np.uint64)
    for i in range(pairs):
        r = _NONE
        for j in range(table.shape[1]):
            r = _add_square(r, _difference(table, 2 * i, j))
        _put(sums, i, r)
    return sums


@kernel
def product_differences(left: Words, right: Words) -> Words:
    """(ceil(rows / 2), 9): per pair of rows the exact sum over columns of left's difference times right's."""
    pairs = (left.shape[0] + 1) // 2
    sums = np.empty((pairs, 9), np.uint64)
    for i in range(pairs):
        r = _NONE
        for j in range(left.shape[1]):
            r = add_product(r, _difference(left, 2 * i, j), _difference(right, 2 * i, j))
        _put(sums, i, r)
    return sums


@kernel
def weighted_square_differences(t0: Words, t1: Words, t2: Words, t3: Words, weights: Words, pairs: int) -> Words:
    """(pairs, 9): per pair of rows the sum over columns c of w_c times the sum over tables of (odd - even)^2 at c.

    Tables (rows, columns, 4) of any numbers of rows, also none; weights (columns, 4) hold w_c 2^256 mod ORDER. Not
    reduced modulo ORDER, but congruent.
    """
    sums = np.empty((pairs, 9), np.uint64)
    for i in range(pairs):
        total = _NONE
        for j in range(weights.shape[0]):
            r = _NONE
            if 2 * i < len(t0):
                r = _add_square(r, _difference(t0, 2 * i, j))
            if 2 * i < len(t1):
                r = _add_square(r, _difference(t1, 2 * i, j))
            if 2 * i < len(t2):
                r = _add_square(r, _difference(t2, 2 * i, j))
            if 2 * i < len(t3):
                r = _add_square(r, _difference(t3, 2 * i, j))
            weight = (weights[j, 0], weights[j, 1], weights[j, 2], weights[j, 3])
            total = add_product(total, _lowered(r), weight)
        _put(sums, i, total)
    return sums


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
        high, low = ZERO, ZERO
        for j in range(columns):
            high, low = _plus_square(high, low, table[i, j])
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
            weight = (weights[j, 0], weights[j, 1], weights[j, 2], weights[j, 3])
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
    borrow, reduced = minus((r1, r2, r3, r4), (N0, N1, N2, N3))
    if borrow > c:
        return r1, r2, r3, r4
    return reduced


@kernel
def fold_small(table: Integers, challenges: Words, folded: Words) -> None:
    """folded[i] = t[2i] + r (t[2i + 1] - t[2i]) of int64 entries below 2^62 in absolute value, absent rows zero.

    folded (ceil(rows / 2), columns, 4); challenges (2, 4): r 2^64 and -r 2^64 mod ORDER.
    """
    rows, columns = table.shape
    for i in range(len(folded)):
        for j in range(columns):
            low = table[2 * i, j]
            high = table[2 * i + 1, j] if 2 * i + 1 < rows else 0
            step = high - low
            sign = 1 if step < 0 else 0
            r = (challenges[sign, 0], challenges[sign, 1], challenges[sign, 2], challenges[sign, 3])
            store(folded, i, j, add(of_integer(low), _scaled(np.uint64(abs(step)), r)))


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
