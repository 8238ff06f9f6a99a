"""Kernels for sums of products of two tables with signed weights, W(r, c) = sign (f + rho_r kappa_c) (spec 5.9).

Before the first challenge all but rho and kappa are small integers, and rho_r is a factor of a whole row: sums without
kappa are exact integers, those with it exact sums of scalars. After it all three are elements modulo ORDER.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers, Words
from proofs.machine.jit import inner, kernel
from proofs.native.field import ZERO, Element, Word
from proofs.native.scalars import Nine, add, add_product, load, montgomery_product, store, subtract
from proofs.wide import add_carry, multiply_add, subtract_borrow, umul128

_EMPTY = (ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO)


@inner
def _magnitude(left: np.int64, right: np.int64) -> tuple[Word, Word]:
    """(high, low) of |left right|."""
    high, low = umul128(np.uint64(abs(left)), np.uint64(abs(right)))
    return high, low


@kernel
def integer_sums(signs: NDArray[np.int8], left: Integers, right: Integers) -> Words:
    """(rows, 4): per row over columns the sums of s left right, low and high word, of s left and of s right; all in
    two's complement.

    signs (rows, columns) with entries -1, 0, 1; int64 tables of entries below 2^42 in magnitude, up to 2^20 a row.
    """
    rows, columns = left.shape
    sums = np.empty((rows, 4), np.uint64)
    for i in range(rows):
        low, high, of_left, of_right = ZERO, ZERO, np.int64(0), np.int64(0)
        for j in range(columns):
            s, m, n = np.int64(signs[i, j]), left[i, j], right[i, j]
            of_left += s * m
            of_right += s * n
            h, v = _magnitude(s * m, n)
            if (s * m < 0) != (n < 0):
                c, low = subtract_borrow(low, v, ZERO)
                _, high = subtract_borrow(high, h + c, ZERO)
            else:
                c, low = add_carry(low, v, ZERO)
                _, high = add_carry(high, h, c)
        sums[i, 0], sums[i, 1] = low, high
        sums[i, 2], sums[i, 3] = np.uint64(of_left), np.uint64(of_right)
    return sums


@inner
def _add_scaled(own: Words, first: int, a: Word, b: Element) -> None:
    """own[first:] += a b, on six words."""
    c, own[first] = multiply_add(a, b[0], own[first], ZERO)
    c, own[first + 1] = multiply_add(a, b[1], own[first + 1], c)
    c, own[first + 2] = multiply_add(a, b[2], own[first + 2], c)
    c, own[first + 3] = multiply_add(a, b[3], own[first + 3], c)
    c, own[first + 4] = add_carry(own[first + 4], c, ZERO)
    own[first + 5] += c


@kernel
def weighted_sums(signs: NDArray[np.int8], left: Integers, right: Integers, weights: Words) -> Words:
    """(rows, 24): per row over columns c the sums of s w_c times left right, the same of what exceeds 64 bits of the
    product, to be taken 2^64 times; of left; of right; six words each, congruent modulo ORDER.

    As for `integer_sums`; weights (2, columns, 4): w, and -w for negative factors.
    """
    rows, columns = left.shape
    sums = np.zeros((rows, 24), np.uint64)
    positive, negative = weights[0], weights[1]
    for i in range(rows):
        own = sums[i]
        for j in range(columns):
            s, n = np.int64(signs[i, j]), right[i, j]
            m = s * left[i, j]
            plus, minus = load(positive, j), load(negative, j)
            high, low = _magnitude(m, n)
            weight = minus if (m < 0) != (n < 0) else plus
            _add_scaled(own, 0, low, weight)
            if high != ZERO:
                _add_scaled(own, 6, high, weight)
            _add_scaled(own, 12, np.uint64(abs(m)), minus if m < 0 else plus)
            _add_scaled(own, 18, np.uint64(abs(s * n)), minus if s * n < 0 else plus)
    return sums


@kernel
def fold_weights(signs: NDArray[np.int8], constants: Words, row_weights: Words, weights: Words, folded: Words) -> None:
    """folded[i, c] = (1 - r) W(2i, c) + r W(2i + 1, c), an absent row zero.

    signs (rows, columns); constants (9, 4): at 3 (s + 1) + t + 1 f times (1 - r) s + r t. row_weights (pairs, 9, 4):
    the same times 2^256 and with rho of the row in the place of f, for both rows. weights (columns, 4): kappa, or none.
    """
    rows, columns = signs.shape
    for i in range(len(folded)):
        even, out, own = signs[2 * i], folded[i], row_weights[i]
        for j in range(columns):
            t = signs[2 * i + 1, j] if 2 * i + 1 < rows else 0
            place = 3 * even[j] + t + 4
            value = load(constants, place)
            if len(weights) > 0:
                value = add(value, montgomery_product(load(own, place), load(weights, j)))
            store(out, j, value)


@inner
def _plus(r: Nine, a: Element) -> Nine:
    c, r0 = add_carry(r[0], a[0], ZERO)
    c, r1 = add_carry(r[1], a[1], c)
    c, r2 = add_carry(r[2], a[2], c)
    c, r3 = add_carry(r[3], a[3], c)
    return r0, r1, r2, r3, r[4] + c, r[5], r[6], r[7], r[8]


@inner
def _put(sums: Words, first: int, r: Nine) -> None:
    sums[first], sums[first + 1], sums[first + 2], sums[first + 3], sums[first + 4] = r[0], r[1], r[2], r[3], r[4]
    sums[first + 5], sums[first + 6], sums[first + 7], sums[first + 8] = r[5], r[6], r[7], r[8]


@inner
def _extended(even: Element, step: Element) -> Element:
    """At X = 2: even + 2 step."""
    return add(add(even, step), step)


@kernel
def step_sums(weights: Words, left: Words, right: Words) -> Words:
    """(ceil(rows / 2), 36): per pair of rows over columns, d the odd less the even row, the sums of dW dleft dright,
    of W left right at X = 2, of dW dleft, all over 2^256, and of dW dright. Tables (rows, columns, 4) of one size; an
    absent last row is zero."""
    rows, columns = left.shape[0], left.shape[1]
    pairs = (rows + 1) // 2
    absent = np.zeros((columns, 4), np.uint64)
    sums = np.empty((pairs, 36), np.uint64)
    for i in range(pairs):
        there = 2 * i + 1 < rows
        w_even, w_odd = weights[2 * i], weights[2 * i + 1] if there else absent
        m_even, m_odd = left[2 * i], left[2 * i + 1] if there else absent
        n_even, n_odd = right[2 * i], right[2 * i + 1] if there else absent
        leading, at_two, of_left, of_right = _EMPTY, _EMPTY, _EMPTY, _EMPTY
        for j in range(columns):
            w, m, n = load(w_even, j), load(m_even, j), load(n_even, j)
            dw, dm, dn = subtract(load(w_odd, j), w), subtract(load(m_odd, j), m), subtract(load(n_odd, j), n)
            both = montgomery_product(dw, dm)
            of_left = _plus(of_left, both)
            leading = add_product(leading, both, dn)
            of_right = add_product(of_right, dw, dn)
            both = montgomery_product(_extended(w, dw), _extended(m, dm))
            at_two = add_product(at_two, both, _extended(n, dn))
        own = sums[i]
        _put(own, 0, leading)
        _put(own, 9, at_two)
        _put(own, 18, of_left)
        _put(own, 27, of_right)
    return sums
