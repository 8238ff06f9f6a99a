"""Sums of squares by look-up, for many small integers at once (spec 5.9).

Two squares: for every n below a limit the smallest c with n = b^2 + c^2, filled in by running through all pairs.
Three squares: 4 m + 1 is a sum of three squares, one odd (Legendre, Gauss), so m = a (a + 1) + b^2 + c^2. Taking
a as large as possible leaves less than 2 a + 2, and a few smaller a are tried until what is left is a sum of two
squares. With the largest a first, b and c are short, which makes them cheap to commit to.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers
from proofs.randomness import Randomness
from proofs.squares import four_squares, two_squares

_SHORT = 128  # a commitment takes one addition for a cell of at most this magnitude
_SHORT_TRIES = 24
_TRIES = 64
_SMALLEST_TABLE, _LARGEST_TABLE = 2**12, 2**26
_REST = 2**22  # more than a number up to 2^56 less two squares leaves, also after _SHORT_TRIES steps of the second
_FIRST_TRIES = 4
_WHOLE = 2**16  # bounds for which the decompositions of all magnitudes are kept


@lru_cache(maxsize=2)
def _two_square_table(limit: int) -> NDArray[np.int16]:
    """For n < limit <= 2^28 the least c with n = b^2 + c^2, or -1 where there is none."""
    table = np.full(limit, -1, dtype=np.int16)
    for c in range(math.isqrt(limit // 2), -1, -1):  # downwards, so that the smallest stays
        squares = np.arange(c, math.isqrt(limit - 1) + 1, dtype=np.int64) ** 2 + c * c
        table[squares[: np.searchsorted(squares, limit)]] = c
    return table


@lru_cache(maxsize=4)
def four_square_table(limit: int) -> Integers:
    """(limit + 1, 4): row n holds a, b, c, d with a^2 + b^2 + c^2 + d^2 = n, for 0 <= limit <= 2^20."""
    pairs = _two_square_table(limit + 1)
    sums = np.flatnonzero(pairs >= 0)
    table = np.zeros((limit + 1, 4), dtype=np.int64)
    left = np.arange(limit + 1)
    for first in sums:
        found = left[left >= first]
        found = found[pairs[found - first] >= 0]
        table[found, :2] = _roots(np.full(len(found), first), pairs)
        table[found, 2:] = _roots(found - first, pairs)
        left = np.setdiff1d(left, found, assume_unique=True)
        if not len(left):
            break
    return table


def four_square_roots(values: Integers, rand: Randomness) -> Integers:
    """(n, 4): nonnegative a, b, c, d with a^2 + b^2 + c^2 + d^2 = value, for 0 <= value <= 2^56.

    a and b as large as possible; where what is left is no sum of two squares a smaller b is tried, and for what is no
    sum of three squares a smaller a. rand: for the few that have none so.
    """
    roots = np.zeros((len(values), 4), dtype=np.int64)
    largest, left = _isqrt(values), np.arange(len(values))
    for offset in range(_FIRST_TRIES):
        first = largest[left] - offset
        found, rest = _three_squares(values[left] - first * first)
        good = found & (first >= 0)
        roots[left[good]] = np.column_stack([first, rest])[good]
        left = left[~good]
    for index in left:
        roots[index] = four_squares(int(values[index]), rand)
    return roots


def _three_squares(values: Integers) -> tuple[NDArray[np.bool_], Integers]:
    """Which are b^2 + c^2 + d^2 with a b near the largest, and (n, 3) roots of these."""
    pairs, roots = _two_square_table(_REST), np.zeros((len(values), 3), dtype=np.int64)
    largest, left, found = _isqrt(values), np.arange(len(values)), np.zeros(len(values), dtype=np.bool_)
    for offset in range(_SHORT_TRIES):
        first = largest[left] - offset
        rest = values[left] - first * first
        good = (first >= 0) & (rest < _REST) & (pairs[np.minimum(rest, _REST - 1)] >= 0)
        roots[left[good]] = np.column_stack([first[good], _roots(rest[good], pairs)])
        found[left[good]] = True
        left = left[~good]
    return found, roots


def _roots(sums: Integers, pairs: NDArray[np.int16]) -> Integers:
    """(n, 2): the larger and the smaller root of sums of two squares."""
    small = pairs[sums].astype(np.int64)
    return np.stack([_isqrt(sums - small * small), small], axis=1)


def _isqrt(values: Integers) -> Integers:
    """Floor of the square root of integers in [0, 2^60): a double's root is off by less than one."""
    roots = np.sqrt(values.astype(np.float64)).astype(np.int64)
    roots -= roots * roots > values
    roots += (roots + 1) * (roots + 1) <= values
    return roots


def range_roots(magnitudes: Integers, bound: int) -> Integers:
    """(n, 3): nonnegative a, b, c with v^2 + a^2 + a + b^2 + c^2 = bound^2, for 0 <= v <= bound <= 2^20."""
    if bound <= _WHOLE:
        return _all_range_roots(bound)[magnitudes]
    distinct, positions = np.unique(magnitudes, return_inverse=True)
    return _search(distinct, bound)[positions]


@lru_cache(maxsize=64)
def _all_range_roots(bound: int) -> Integers:
    return _search(np.arange(bound + 1), bound)


def _search(values: Integers, bound: int) -> Integers:
    """`range_roots` of distinct values, largest a first."""
    targets = bound * bound - values * values
    limit = min(max(_TRIES * 2 * (bound + 1), _SMALLEST_TABLE), _LARGEST_TABLE)
    pairs = _two_square_table(1 << (limit - 1).bit_length())
    largest = (_isqrt(4 * targets + 1) - 1) // 2
    roots = np.zeros((len(values), 3), dtype=np.int64)
    left = np.arange(len(values))
    for step in range(_TRIES + _SHORT_TRIES):
        offset = step if step < _SHORT_TRIES else step - _SHORT_TRIES
        a = largest[left] - offset
        rest = targets[left] - a * (a + 1)
        small = pairs[np.minimum(rest, len(pairs) - 1)]
        good = (a >= 0) & (rest < len(pairs)) & (small >= 0) & ((step >= _SHORT_TRIES) | (small <= _SHORT))
        roots[left[good], 0] = a[good]
        roots[left[good], 1:] = _roots(rest[good], pairs)
        left = left[~good]
        if not len(left):
            break
    for index in left:
        roots[index] = _one(int(targets[index]), int(largest[index]))
    return roots


def _one(target: int, largest: int) -> tuple[int, int, int]:
    """One decomposition, where the table is too short: by the first a that leaves a prime, or two times one."""
    for a in range(largest, -1, -1):
        rest = target - a * (a + 1)
        pair = two_squares(rest >> 1 - rest % 2)
        if pair is not None:
            b, c = pair
            return (a, b, c) if rest % 2 else (a, b + c, abs(b - c))
    raise ArithmeticError(f"no decomposition of {target}")
