"""Weighted sums of the rows of an integer matrix, in the order in which it lies in memory, and of signs: kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers, Words
from proofs.machine.jit import kernel
from proofs.native.field import ZERO
from proofs.native.scalars import load, store, subtract
from proofs.wide import add_carry, multiply_add

_BLOCK = 128  # columns whose accumulators stay in the first-level cache


@kernel
def signed_column_products(matrix: Integers, weights: Words, first: int, stop: int) -> Words:
    """(stop - first, 6): per column the exact sum over r of |matrix[r, c]| times weights[0, r], or weights[1, r] for a
    negative entry.

    matrix int64 (rows, columns), columns first .. stop - 1; weights (2, rows, 4) below ORDER.
    """
    sums = np.zeros((stop - first, 6), np.uint64)
    for start in range(first, stop, _BLOCK):
        for row in range(matrix.shape[0]):
            for column in range(start, min(stop, start + _BLOCK)):
                value = matrix[row, column]
                sign = 1 if value < 0 else 0
                magnitude = np.uint64(abs(value))
                own = sums[column - first]
                c, own[0] = multiply_add(magnitude, weights[sign, row, 0], own[0], ZERO)
                c, own[1] = multiply_add(magnitude, weights[sign, row, 1], own[1], c)
                c, own[2] = multiply_add(magnitude, weights[sign, row, 2], own[2], c)
                c, own[3] = multiply_add(magnitude, weights[sign, row, 3], own[3], c)
                c, own[4] = add_carry(own[4], c, ZERO)
                own[5] += c
    return sums


@kernel
def signed_words(weights: Words) -> Words:
    """(2, n, 4): elements (n, 4) modulo ORDER, and their negatives."""
    both = np.empty((2, len(weights), 4), np.uint64)
    positive, negative = both[0], both[1]
    for i in range(len(weights)):
        weight = load(weights, i)
        store(positive, i, weight)
        store(negative, i, subtract((ZERO, ZERO, ZERO, ZERO), weight))
    return both


@kernel
def ternary_sums(signs: NDArray[np.int8], weights: Words) -> Words:
    """(rows, 5): per row the sum over columns of sign times weight, congruent modulo ORDER.

    signs (rows, columns) with entries -1, 0, 1; weights (columns, 4) below ORDER.
    """
    rows, columns = signs.shape
    choices = np.zeros((3 * columns, 4), np.uint64)  # at 3 j + 1 + sign: what a sign adds at column j
    for j in range(columns):
        weight = load(weights, j)
        store(choices, 3 * j, subtract((ZERO, ZERO, ZERO, ZERO), weight))
        store(choices, 3 * j + 2, weight)
    sums = np.empty((rows, 5), np.uint64)
    for i in range(rows):
        row = signs[i]
        r0, r1, r2, r3, r4 = ZERO, ZERO, ZERO, ZERO, ZERO
        for j in range(columns):
            a = load(choices, 3 * j + 1 + row[j])
            c, r0 = add_carry(r0, a[0], ZERO)
            c, r1 = add_carry(r1, a[1], c)
            c, r2 = add_carry(r2, a[2], c)
            c, r3 = add_carry(r3, a[3], c)
            r4 += c
        sums[i, 0], sums[i, 1], sums[i, 2], sums[i, 3], sums[i, 4] = r0, r1, r2, r3, r4
    return sums
