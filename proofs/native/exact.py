"""Products of small integer matrices by signs, in floating point but exact: the one use of BLAS.

Every partial sum, in whatever order it is formed, is an integer that the format holds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Signs, Table

_ROW_BLOCK = 1024  # rows converted at once
_SINGLE_BITS, _DOUBLE_BITS = 24, 53


def sign_products(table: Table, signs: Signs) -> Table:
    """(rows, k): table @ signs.T for signs (k, columns), |entries| <= 2^40 and up to 2^16 columns."""
    product = np.empty((len(table), len(signs)), np.int64)
    for start in range(0, len(table), _ROW_BLOCK):
        product[start : start + _ROW_BLOCK] = _block_product(table[start : start + _ROW_BLOCK], signs.T)
    return product


def _block_product(block: Table, signs: NDArray[np.int8]) -> Table:
    """In single precision, in double, or in double by halves, as the largest entry needs."""
    growth = (block.shape[1] - 1).bit_length()  # a sum of `columns` numbers below 2^n stays below 2^(n + growth)
    largest = max(int(block.max()), -int(block.min()))
    if largest < 1 << (_SINGLE_BITS - growth):
        product: Table = (block.astype(np.float32) @ signs.astype(np.float32)).astype(np.int64)
        return product
    doubles, low_bits = signs.astype(np.float64), _DOUBLE_BITS - growth
    high = np.zeros_like(block) if largest < 1 << low_bits else block >> low_bits
    low = block - (high << low_bits)
    product = (low.astype(np.float64) @ doubles).astype(np.int64)
    if high.any():
        product += (high.astype(np.float64) @ doubles).astype(np.int64) << low_bits
    return product


def column_dots(left: Signs, right: Table) -> list[int]:
    """sum_i left[i, j] right[i, j] for |left| <= 1, |right| < 2^63, fewer than 2^30 rows: in halves, so exactly."""
    high = (left * (right >> 32)).sum(axis=0)
    low = (left * (right & 0xFFFFFFFF)).sum(axis=0)
    return [(upper << 32) + lower for upper, lower in zip(high.tolist(), low.tolist(), strict=True)]
