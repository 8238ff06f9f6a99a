"""Products of small integer matrices by signs, in 32-bit integers: a kernel, and what drives it.

The entries are cut into pieces small enough that no sum exceeds 32 bits; most tables need one. Written so that the
innermost loop is one of vector instructions: several times faster than 64-bit integers, and no slower than BLAS, whose
own threads would compete with the workers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Signs, Table
from proofs.machine.jit import kernel
from proofs.native.jobs import Job

_UNROLLED = 4  # rows, and columns, that the kernel takes at once
_SUM_BITS = 31
_CHEAPER = 512  # times than a modular product: the unit by which jobs are cut
Small = NDArray[np.int32]


@kernel
def add_sign_products(table: Small, signs: Small, sums: Small) -> None:
    """sums += table @ signs; table (rows, columns), signs (columns, k), rows and columns multiples of _UNROLLED."""
    rows, columns = table.shape
    for r in range(0, rows, _UNROLLED):
        s0, s1, s2, s3 = sums[r], sums[r + 1], sums[r + 2], sums[r + 3]
        for c in range(0, columns, _UNROLLED):
            a0, a1, a2, a3 = table[r, c], table[r, c + 1], table[r, c + 2], table[r, c + 3]
            b0, b1, b2, b3 = table[r + 1, c], table[r + 1, c + 1], table[r + 1, c + 2], table[r + 1, c + 3]
            c0, c1, c2, c3 = table[r + 2, c], table[r + 2, c + 1], table[r + 2, c + 2], table[r + 2, c + 3]
            d0, d1, d2, d3 = table[r + 3, c], table[r + 3, c + 1], table[r + 3, c + 2], table[r + 3, c + 3]
            for j in range(signs.shape[1]):
                t0, t1, t2, t3 = signs[c, j], signs[c + 1, j], signs[c + 2, j], signs[c + 3, j]
                s0[j] += a0 * t0 + a1 * t1 + a2 * t2 + a3 * t3
                s1[j] += b0 * t0 + b1 * t1 + b2 * t2 + b3 * t3
                s2[j] += c0 * t0 + c1 * t1 + c2 * t2 + c3 * t3
                s3[j] += d0 * t0 + d1 * t1 + d2 * t2 + d3 * t3


def transposed_signs(signs: Signs) -> Small:
    """(columns, k) for `sign_products`, filled up with zeros to a multiple of _UNROLLED columns; signs (k, columns)."""
    count, columns = signs.shape
    transposed = np.zeros((columns + -columns % _UNROLLED, count), np.int32)
    transposed[:columns] = signs.T
    return transposed


def sign_products(table: Table, signs: Small) -> Table:
    """(rows, k): table @ signs for |entries| <= 2^40 and up to 2^16 columns; signs of `transposed_signs`, which may
    have more columns."""
    rows, columns = table.shape
    height, width = rows + -rows % _UNROLLED, columns + -columns % _UNROLLED
    piece_bits = _SUM_BITS - width.bit_length()  # pieces below 2^piece_bits in magnitude: sums below 2^31
    product = np.zeros((rows, signs.shape[1]), np.int64)
    piece, shift = np.zeros((height, width), np.int32), 0
    while True:
        one_left = max(int(table.max()), -int(table.min())) < 1 << piece_bits
        piece[:rows, :columns] = table if one_left else table & ((1 << piece_bits) - 1)
        sums = np.zeros((height, signs.shape[1]), np.int32)
        add_sign_products(piece, signs[:width], sums)
        product += sums[:rows].astype(np.int64) << shift
        if one_left:
            return product
        shift, table = shift + piece_bits, table >> piece_bits


def sign_product_job(table: Table, signs: Small, products: Table) -> Job:
    """products[:] = sign_products(table, signs)."""

    def run(start: int, stop: int) -> None:
        products[start:stop] = sign_products(table[start:stop], signs)

    return Job(run, len(table), 1 + table.shape[1] * signs.shape[1] // _CHEAPER)


def column_dots(left: Signs, right: Table) -> list[int]:
    """sum_i left[i, j] right[i, j] for |left| <= 1, |right| < 2^63, fewer than 2^30 rows: in halves, so exactly."""
    high = (left * (right >> 32)).sum(axis=0)
    low = (left * (right & 0xFFFFFFFF)).sum(axis=0)
    return [(upper << 32) + lower for upper, lower in zip(high.tolist(), low.tolist(), strict=True)]
