"""Bounds on honest noise: against the exact law of a few cells, both ends of each, and what is claimed of them."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from proofs.errors import Misuse
from protocols.privacy.energy import EnergyBounds, energy_tail, keystream_distance, tightest_bounds


def exact_energy(cells: int, sigma: float) -> np.ndarray:
    """P(sum of squares = e) for e = 0, 1, .., by convolution."""
    reach = int(8 * sigma)
    one = np.zeros(reach**2 + 1)
    for x in range(-reach, reach + 1):
        one[x * x] += math.exp(-x * x / (2 * sigma**2))
    law = one = one / one.sum()
    for _ in range(cells - 1):
        law = np.convolve(law, one)
    return law


def test_tails_bound_the_exact_law() -> None:
    cells, sigma = 3, 8.0
    law, mean = exact_energy(cells, sigma), cells * 64
    for ratio in (Fraction(1, 4), Fraction(1, 2), Fraction(9, 10)):
        assert law[: int(ratio * mean) + 1].sum() <= energy_tail(cells, ratio) < 1
    for ratio in (Fraction(11, 10), Fraction(2), Fraction(8)):
        assert law[math.ceil(ratio * mean) :].sum() <= energy_tail(cells, ratio) < 1
    assert energy_tail(cells, Fraction(1)) == 1


@pytest.mark.parametrize(
    ("cells", "variance"), [(1600, Fraction(64)), (4096, Fraction(1744**2)), (2**20, Fraction(1001, 7))]
)
def test_the_tightest_bounds_are_tight(cells: int, variance: Fraction) -> None:
    allowed, mean, groups = Fraction(1, 2**66), cells * variance, cells // 64
    found = tightest_bounds(cells, 64, variance, 66)

    def group(bound: int) -> Fraction:
        return groups * energy_tail(64, bound**2 / (64 * variance))

    assert group(found.group_bound) <= allowed < group(found.group_bound - 1)
    assert energy_tail(cells, found.floor / mean) <= allowed < energy_tail(cells, (found.floor + 1) / mean)
    assert energy_tail(cells, found.ceiling / mean) <= allowed < energy_tail(cells, (found.ceiling - 1) / mean)
    assert (
        allowed < found.deviation(cells, 64, variance) <= 3 * allowed + Fraction(1, 2**110) + keystream_distance(cells)
    )


def test_bounds_that_bound_nothing_deviate() -> None:
    mean = 1600 * 64
    assert EnergyBounds(8 * 8, mean // 2, 2 * mean).deviation(1600, 64, Fraction(64)) > 1
    assert EnergyBounds(8 * 40, mean, 2 * mean).deviation(1600, 64, Fraction(64)) > 1


@pytest.mark.parametrize(
    "wrong",
    [{"floor": 2 * 102400}, {"ceiling": 2 * 102400 // 5}, {"group_bound": 32}],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_bound_on_the_wrong_side_of_the_mean_fails_for_certain(wrong: dict[str, int]) -> None:
    values = {"group_bound": 8 * 40, "floor": 102400 // 2, "ceiling": 3 * 102400}
    assert EnergyBounds(**values).deviation(1600, 64, Fraction(64)) < Fraction(1, 2**60)
    assert EnergyBounds(**{**values, **wrong}).deviation(1600, 64, Fraction(64)) > 1


@pytest.mark.parametrize(("cells", "group_size"), [(32, 64), (100, 64), (64, 0), (0, 64)])
def test_groups_that_do_not_fill_the_cells_are_refused(cells: int, group_size: int) -> None:
    with pytest.raises(Misuse, match="a size that divides"):
        EnergyBounds(320, 1000, 10**6).deviation(cells, group_size, Fraction(64))
    with pytest.raises(Misuse, match="a size that divides"):
        tightest_bounds(cells, group_size, Fraction(64), 20)


def test_blocks_that_never_repeat_count() -> None:
    """Twice q^2 / 2^129 of a key and of the noise; bounds at 2^-66 leave an honest vector 2^-64 with it."""
    assert keystream_distance(2**20) == Fraction(2**24 + 9 * 2**40, 2**128)
    bounds = tightest_bounds(2**20, 64, Fraction(1744**2), 66)
    loose = EnergyBounds(8 * bounds.group_bound, bounds.floor // 2, 2 * bounds.ceiling)
    assert loose.deviation(2**20, 64, Fraction(1744**2)) > keystream_distance(2**20)
    assert Fraction(3, 2**66) + Fraction(1, 2**110) + keystream_distance(2**28) < Fraction(1, 2**64)


def test_few_cells_have_a_floor_where_sigma_is_large() -> None:
    """As many as a linear model of 31 coordinates has: sixteen a cell is what the proof needs (spec 10.4)."""
    enough = Fraction(28**2)
    found = tightest_bounds(32, 16, enough, 66)
    assert 16 * 32 <= found.floor < 32 * enough / 40
    with pytest.raises(Misuse, match=r"too little to tell with .*; lower privacy.epsilon, or train a larger model"):
        tightest_bounds(32, 16, Fraction(27**2), 66)
    assert found.deviation(32, 16, enough) < Fraction(1, 2**64)
    with pytest.raises(Misuse, match="ratio of energies"):
        EnergyBounds(found.group_bound, 16 * 32 - 1, found.ceiling).deviation(32, 16, enough)


def test_noise_that_cannot_be_told_is_refused() -> None:
    with pytest.raises(Misuse, match="too little to tell"):
        tightest_bounds(64, 64, Fraction(64), 66)
    with pytest.raises(Misuse, match="ratio of energies"):
        energy_tail(64, Fraction(1, 5))
