"""Kernels modulo ORDER: sums of products kept exact in wide accumulators, and the folding of a table's rows.

Elements are four uint64, least significant first. Only folding multiplies modulo ORDER, in Montgomery's way by one
factor held as r 2^256 mod ORDER; everything else is summed without reduction and reduced in Python.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from proofs.arrays import Integers, Words
from proofs.curve import ORDER
from proofs.machine.jit import inner, kernel
from proofs.native.field import ONE, ZERO, Element, Word
from proofs.wide import add_carry, multiply_add, subtract_borrow, umul128

Five: TypeAlias = tuple[Word, Word, Word, Word, Word]
Eight: TypeAlias = tuple[Word, Word, Word, Word, Word, Word, Word, Word]
Nine: TypeAlias = tuple[Word, Word, Word, Word, Word, Word, Word, Word, Word]

N0, N1, N2, N3 = (np.uint64(ORDER >> shift & (2**64 - 1)) for shift in (0, 64, 128, 192))
NEGATED_INVERSE = np.uint64(-pow(ORDER, -1, 2**64) % 2**64)


@inner
def load(row: Words, column: int) -> Element:
    """row[column] of (columns, 4): indexing a row, instead of its table, is what keeps the address out of the loop."""
    return row[column, 0], row[column, 1], row[column, 2], row[column, 3]


@inner
def store(row: Words, column: int, a: Element) -> None:
    """row[column] = a."""
    row[column, 0], row[column, 1], row[column, 2], row[column, 3] = a


@inner
def _add_order(a: Element, mask: Word) -> Element:
    """a + (ORDER & mask), the carry dropped."""
    c, r0 = add_carry(a[0], N0 & mask, ZERO)
    c, r1 = add_carry(a[1], N1 & mask, c)
    c, r2 = add_carry(a[2], N2 & mask, c)
    c, r3 = add_carry(a[3], N3 & mask, c)
    return r0, r1, r2, r3


@inner
def minus(a: Element, b: Element) -> tuple[Word, Element]:
    """(borrow, a - b mod 2^256)."""
    c, r0 = subtract_borrow(a[0], b[0], ZERO)
    c, r1 = subtract_borrow(a[1], b[1], c)
    c, r2 = subtract_borrow(a[2], b[2], c)
    c, r3 = subtract_borrow(a[3], b[3], c)
    return c, (r0, r1, r2, r3)


@inner
def subtract(a: Element, b: Element) -> Element:
    """a - b mod ORDER."""
    borrow, difference = minus(a, b)
    return _add_order(difference, ZERO - borrow)


@inner
def below_order(carry: Word, a: Element) -> Element:
    """carry 2^256 + a < 2 ORDER, less ORDER where needed; without a branch, which no processor could foresee."""
    borrow, reduced = minus(a, (N0, N1, N2, N3))
    return _add_order(reduced, ZERO - (borrow & (carry ^ ONE)))


@inner
def add(a: Element, b: Element) -> Element:
    """a + b mod ORDER."""
    c, r0 = add_carry(a[0], b[0], ZERO)
    c, r1 = add_carry(a[1], b[1], c)
    c, r2 = add_carry(a[2], b[2], c)
    c, r3 = add_carry(a[3], b[3], c)
    return below_order(c, (r0, r1, r2, r3))


@inner
def _step(r: Five, a: Word, b: Element) -> Five:
    """(r + a b + m ORDER) / 2^64 on five words, m chosen to make that whole: one word of Montgomery's product."""
    r0, r1, r2, r3, r4 = r
    b0, b1, b2, b3 = b
    c, r0 = multiply_add(a, b0, r0, ZERO)
    c, r1 = multiply_add(a, b1, r1, c)
    c, r2 = multiply_add(a, b2, r2, c)
    c, r3 = multiply_add(a, b3, r3, c)
    r5, r4 = add_carry(r4, c, ZERO)
    m = r0 * NEGATED_INVERSE
    c, r0 = multiply_add(m, N0, r0, ZERO)
    c, r1 = multiply_add(m, N1, r1, c)
    c, r2 = multiply_add(m, N2, r2, c)
    c, r3 = multiply_add(m, N3, r3, c)
    c, r4 = add_carry(r4, c, ZERO)
    return r1, r2, r3, r4, r5 + c


@inner
def montgomery_product(a: Element, b: Element) -> Element:
    """a b / 2^256 mod ORDER for a, b < ORDER."""
    r = _step((ZERO, ZERO, ZERO, ZERO, ZERO), a[0], b)
    r = _step(r, a[1], b)
    r = _step(r, a[2], b)
    r = _step(r, a[3], b)
    return below_order(r[4], (r[0], r[1], r[2], r[3]))


@inner
def product(a: Element, b: Element) -> Eight:
    """a b exactly."""
    a0, a1, a2, a3 = a
    b0, b1, b2, b3 = b
    c, r0 = umul128(a0, b0)
    c, r1 = multiply_add(a0, b1, c, ZERO)
    c, r2 = multiply_add(a0, b2, c, ZERO)
    r4, r3 = multiply_add(a0, b3, c, ZERO)
    c, r1 = multiply_add(a1, b0, r1, ZERO)
    c, r2 = multiply_add(a1, b1, r2, c)
    c, r3 = multiply_add(a1, b2, r3, c)
    r5, r4 = multiply_add(a1, b3, r4, c)
    c, r2 = multiply_add(a2, b0, r2, ZERO)
    c, r3 = multiply_add(a2, b1, r3, c)
    c, r4 = multiply_add(a2, b2, r4, c)
    r6, r5 = multiply_add(a2, b3, r5, c)
    c, r3 = multiply_add(a3, b0, r3, ZERO)
    c, r4 = multiply_add(a3, b1, r4, c)
    c, r5 = multiply_add(a3, b2, r5, c)
    r7, r6 = multiply_add(a3, b3, r6, c)
    return r0, r1, r2, r3, r4, r5, r6, r7


@inner
def add_product(r: Nine, a: Element, b: Element) -> Nine:
    """r + a b exactly. The product is formed apart, so that the next one need not wait for this sum's carries."""
    s = product(a, b)
    c, r0 = add_carry(r[0], s[0], ZERO)
    c, r1 = add_carry(r[1], s[1], c)
    c, r2 = add_carry(r[2], s[2], c)
    c, r3 = add_carry(r[3], s[3], c)
    c, r4 = add_carry(r[4], s[4], c)
    c, r5 = add_carry(r[5], s[5], c)
    c, r6 = add_carry(r[6], s[6], c)
    c, r7 = add_carry(r[7], s[7], c)
    return r0, r1, r2, r3, r4, r5, r6, r7, r[8] + c


@inner
def of_integer(value: int) -> Element:
    """An int64 modulo ORDER."""
    sign = value >> 63
    mask = np.uint64(sign)
    return _add_order((np.uint64(value), mask, mask, mask), mask)


@kernel
def fold(table: Words, challenge: Words, first: int, stop: int) -> None:
    """In place: row i becomes t[2i] + r (t[2i + 1] - t[2i]) in columns first .. stop - 1, an absent last row zero.

    table (rows, columns, 4); challenge (4,): r 2^256 mod ORDER. ceil(rows / 2) rows are then of use. No row is written
    before it is read; columns are independent of each other.
    """
    rows, columns = table.shape[0], table.shape[1]
    r = (challenge[0], challenge[1], challenge[2], challenge[3])
    absent = np.zeros((columns, 4), np.uint64)
    for i in range((rows + 1) // 2):
        even, odd, out = table[2 * i], table[2 * i + 1] if 2 * i + 1 < rows else absent, table[i]
        for j in range(first, stop):
            low = load(even, j)
            store(out, j, add(low, montgomery_product(r, subtract(load(odd, j), low))))


@kernel
def signed_products(matrix: Integers, weights: Words) -> Words:
    """(rows, 6): the exact sums over m of |matrix[r, m]| times weights[0, m], or weights[1, m] for a negative entry.

    matrix int64; weights (2, columns, 4) < ORDER, so that weights[1] = -weights[0] gives the product modulo ORDER.
    """
    rows, columns = matrix.shape
    sums = np.empty((rows, 6), np.uint64)
    for i in range(rows):
        r0, r1, r2, r3, r4, r5 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        for j in range(columns):
            value = matrix[i, j]
            sign = 1 if value < 0 else 0
            magnitude = np.uint64(abs(value))
            c, r0 = multiply_add(magnitude, weights[sign, j, 0], r0, ZERO)
            c, r1 = multiply_add(magnitude, weights[sign, j, 1], r1, c)
            c, r2 = multiply_add(magnitude, weights[sign, j, 2], r2, c)
            c, r3 = multiply_add(magnitude, weights[sign, j, 3], r3, c)
            c, r4 = add_carry(r4, c, ZERO)
            r5 += c
        sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3], sums[i, 4], sums[i, 5] = r0, r1, r2, r3, r4, r5
    return sums
