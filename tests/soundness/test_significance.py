"""The statistics that other tests rest on, against numbers from elsewhere."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from tests.soundness.significance import (
    binomial_range,
    chi_square_limit,
    chi_square_tail,
    homogeneity,
    uniformity,
)


@pytest.mark.parametrize(("freedom", "limit"), [(2, 13.816), (4, 18.467), (16, 39.252), (24, 51.179)])
def test_chi_square_at_one_in_a_thousand(freedom: int, limit: float) -> None:
    """The table of Abramowitz and Stegun, 26.8."""
    assert abs(chi_square_limit(freedom, 0.001) - limit) < 0.001
    assert abs(chi_square_tail(limit, freedom) - 0.001) < 1e-6


@pytest.mark.parametrize(("trials", "chance"), [(50, 0.75), (200, 0.1), (300, 0.316)])
def test_binomial_range_is_the_narrowest(trials: int, chance: float) -> None:
    each = Fraction(chance)
    mass = [math.comb(trials, i) * each**i * (1 - each) ** (trials - i) for i in range(trials + 1)]
    assert sum(mass) == 1
    low, high = binomial_range(trials, chance, 1e-6)
    assert sum(mass[:low]) <= 5e-7 < sum(mass[: low + 1])
    assert sum(mass[high + 1 :]) <= 5e-7 < sum(mass[high:])


def test_statistics_of_known_counts() -> None:
    assert uniformity(np.array([10, 20])).item() == pytest.approx(10 / 3)
    assert homogeneity(np.array([10, 20]), np.array([15, 15])).item() == pytest.approx(25 / 25 + 25 / 35)
    with pytest.raises(ValueError, match="even"):
        chi_square_tail(1.0, 3)
