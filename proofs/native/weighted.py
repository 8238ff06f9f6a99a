"""Weighted sums of the rows of an integer matrix, read in the order in which it lies in memory: a kernel."""

from __future__ import annotations

import numpy as np

from proofs.jit import kernel
from proofs.native.scalars import ZERO, Integers
from proofs.native.words import Words
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
