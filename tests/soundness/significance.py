"""Significance without tables: exact tails, so that a threshold's false alarm is a stated number.

All randomness of the tests that use these is seeded, so they pass or fail once and for all; the false alarm is the
chance that an honest implementation would have failed under the seed that was picked.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

FALSE_ALARM = 1e-6  # of one test function, shared evenly by all comparisons in it


def binomial_range(trials: int, chance: float, alarm: float) -> tuple[int, int]:
    """The narrowest (low, high) such that a count below low or above high has probability at most `alarm` / 2 each."""
    logs = [
        math.lgamma(trials + 1) - math.lgamma(i + 1) - math.lgamma(trials - i + 1)
        + i * math.log(chance) + (trials - i) * math.log1p(-chance)
        for i in range(trials + 1)
    ]  # fmt: skip
    mass = np.exp(np.array(logs))
    below, above = np.cumsum(mass), np.cumsum(mass[::-1])
    return int(np.searchsorted(below, alarm / 2)), trials - int(np.searchsorted(above, alarm / 2))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """The probability that chi square with an even number of degrees of freedom exceeds the statistic."""
    if freedom % 2 or freedom < 2:
        raise ValueError(f"an even number of degrees of freedom, not {freedom}")
    half, term, total = statistic / 2, 1.0, 0.0
    for i in range(freedom // 2):
        total += term
        term *= half / (i + 1)
    return math.exp(-half) * total


def chi_square_limit(freedom: int, alarm: float) -> float:
    """The statistic that chi square with an even number of degrees of freedom exceeds with probability `alarm`."""
    low, high = 0.0, 10_000.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_tail(middle, freedom) > alarm else (low, middle)
    return high


def uniformity(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chi square of counts against equal shares, over the last axis."""
    expected = counts.sum(axis=-1, keepdims=True) / counts.shape[-1]
    statistic: NDArray[np.float64] = ((counts - expected) ** 2 / expected).sum(axis=-1)
    return statistic


def homogeneity(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chi square of two samples of equal size from one distribution, over the last axis: (x - y)^2 / (x + y)."""
    both = np.maximum(left + right, 1)
    statistic: NDArray[np.float64] = ((left - right) ** 2 / both).sum(axis=-1)
    return statistic
