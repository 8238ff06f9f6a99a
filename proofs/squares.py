"""Four squares of an integer (Lagrange), found by Rabin and Shallit's method; sums of many squares.

M. Rabin, J. Shallit, Randomized algorithms in number theory, 1986. Draw x and y of the parities that make
p = n - x^2 - y^2 = 1 mod 4; if p is prime it is a sum of two squares, found from a square root of -1 by Euclid's
algorithm. The result is checked, so p need not be proved prime. Expected O(log n) draws.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse
from proofs.randomness import Randomness, uniform_below
from proofs.wiping import wipe

_SMALL = 256
_BASES = (2, 3, 5, 7, 11, 13, 17, 19)  # one of them is a non-residue of most primes; else draw again
_LIMB_BITS = 20
_LIMB_MASK = 2**_LIMB_BITS - 1
_CHUNK = 2**20  # products of two limbs are at most 2^40 in magnitude, so sums of this many at most 2^60
_PARITIES = {1: (0, 0), 2: (0, 1), 3: (1, 1)}  # of x and y, by n mod 4


def four_squares(n: int, rand: Randomness) -> tuple[int, int, int, int]:
    """Nonnegative a, b, c, d with a^2 + b^2 + c^2 + d^2 = n; raises Misuse for n < 0."""
    if n < 0:
        raise Misuse(f"four squares: expected n >= 0, found {n}")
    if n < _SMALL:
        return _small(n)
    if n % 4 == 0:
        a, b, c, d = four_squares(n // 4, rand)
        return 2 * a, 2 * b, 2 * c, 2 * d
    x_parity, y_parity = _PARITIES[n % 4]
    while True:
        x = _below_root(n, x_parity, rand)
        y = _below_root(n - x * x, y_parity, rand)
        pair = two_squares(n - x * x - y * y)
        if pair is not None:
            return x, y, *pair


def _below_root(n: int, parity: int, rand: Randomness) -> int:
    """Uniform among the integers of this parity in [0, sqrt(n)]; zero stands in where there is none."""
    choices = (math.isqrt(n) - parity) // 2 + 1
    return 2 * uniform_below(rand, choices) + parity if choices > 0 else 0


def two_squares(p: int) -> tuple[int, int] | None:
    """a^2 + b^2 = p, for most primes p = 1 mod 4; None where the attempt fails."""
    for base in _BASES:
        root = pow(base, p // 4, p) if p > 1 else 0
        if (root * root + 1) % max(p, 1) == 0:
            a, b = p, root
            while b * b > p:
                a, b = b, a % b
            rest = math.isqrt(p - b * b)
            return (b, rest) if b * b + rest * rest == p else None
    return None


def _small(n: int) -> tuple[int, int, int, int]:
    """By search, largest first; Lagrange's theorem says that it ends with a find."""
    return next(
        (a, b, c, d)
        for a in range(math.isqrt(n), -1, -1)
        for b in range(math.isqrt(n - a * a), -1, -1)
        for c in range(math.isqrt(n - a * a - b * b), -1, -1)
        if (d := math.isqrt(n - a * a - b * b - c * c)) ** 2 == n - a * a - b * b - c * c
    )


def norm_squared(vector: NDArray[np.int64], bound: int) -> int:
    """Exact sum of squares of the int64 vector; raises Misuse if an entry is beyond `bound` <= 2^40 in magnitude."""
    largest = max(int(vector.max(initial=0)), -int(vector.min(initial=0)))
    if largest > bound:
        raise Misuse(f"update: expected every |coordinate| <= B = {bound}, found {largest}")
    total = 0
    for start in range(0, vector.size, _CHUNK):
        chunk = vector[start : start + _CHUNK]
        high = chunk >> _LIMB_BITS
        low = chunk & _LIMB_MASK
        pairs = ((high, high, 2 * _LIMB_BITS), (high, low, _LIMB_BITS + 1), (low, low, 0))
        total += sum(int(x @ y) << shift for x, y, shift in pairs)
        wipe(high, low)
    return total
