"""Bounds on an honest vector of noise that hold but with a probability that is proved small (spec 10.4).

For n cells of a discrete Gaussian of variance parameter sigma^2 and x > 1, the sum of squares reaches x n sigma^2 with
probability at most exp(-(n/2) (x - 1 - ln x)), as for a continuous one; for x < 1 the same bounds the probability of
falling to it, but for a factor of at most 1 + 2^-190 (spec 10.4: x sigma^2 >= 16, n <= 2^28).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt, sqrt

from proofs.errors import Misuse
from protocols.privacy.normal import exponential_bound, logarithm_bounds

SAMPLING_DISTANCE = Fraction(1, 2**110)  # twice that of a key (spec 6.2) and of a vector (spec 10.6) from ideal ones
_KEY_BLOCKS, _SAMPLE_BLOCKS = 4096, 3  # of AES in counter mode, for a key and for each sample of noise
_LOWER_FACTOR = 1 + Fraction(1, 2**190)
LEAST_FLOOR = 16  # of L, a cell


def energy_tail(cells: int, ratio: Fraction, variance: Fraction = Fraction(64)) -> Fraction:
    """Bounds the probability that the sum of squares of `cells` is ratio cells sigma^2 or beyond, for the side of 1 on
    which the ratio is; 1 for the ratio 1. variance: sigma^2. Raises Misuse for a ratio below 16 / sigma^2."""
    if ratio < 1 and ratio * variance < LEAST_FLOOR:
        raise Misuse(f"ratio of energies: expected at least {LEAST_FLOOR / variance}, found {ratio}")
    exponent = Fraction(cells, 2) * (ratio - 1 - logarithm_bounds(ratio)[1])
    return min(Fraction(1), _LOWER_FACTOR * exponential_bound(-exponent))


@dataclass(frozen=True)
class EnergyBounds:
    """What an honest vector is held to. group_bound: E_n, on the root of each group's sum of squares. floor, ceiling: L
    and U, on the sum of all squares."""

    group_bound: int
    floor: int
    ceiling: int

    def deviation(self, cells: int, group_size: int, variance: Fraction) -> Fraction:
        """What an honest submission adds to eta (spec 10.5): the probability that an ideal vector, in groups of
        `group_size`, breaks a bound, so that it is drawn again; that samplers are not ideal; and that no block of a
        keystream comes twice. At least 1 for a bound on the wrong side of the mean. Raises Misuse where `group_size`
        does not divide `cells`, or L is below 16 a cell."""
        groups, mean = _groups(cells, group_size), cells * variance
        group = energy_tail(group_size, max(Fraction(1), self.group_bound**2 / (group_size * variance)))
        floor = energy_tail(cells, min(Fraction(1), self.floor / mean), variance)
        ceiling = energy_tail(cells, max(Fraction(1), self.ceiling / mean))
        return groups * group + floor + ceiling + SAMPLING_DISTANCE + keystream_distance(cells)


def keystream_distance(cells: int) -> Fraction:
    """Twice the distance of the keystreams of a key and of noise for `cells` from uniform ones, if AES were a random
    permutation: q blocks without a repetition are within q^2 / 2^129 (spec 10.6)."""
    return Fraction(_KEY_BLOCKS**2 + (_SAMPLE_BLOCKS * cells) ** 2, 2**128)


def tightest_bounds(cells: int, group_size: int, variance: Fraction, bits: int) -> EnergyBounds:
    """The tightest bounds each of which an honest vector breaks with probability at most 2^-bits, all groups together.

    cells: a multiple of group_size, with 2^-bits reached at an energy of 16 a cell: 300 of sigma = 8 at bits = 100.
    """
    allowed = Fraction(1, 2**bits)
    groups, mean = _groups(cells, group_size), cells * variance

    def group_fits(bound: int) -> bool:
        ratio = bound**2 / (group_size * variance)
        return ratio > 1 and groups * energy_tail(group_size, ratio) <= allowed

    def ceiling_fits(bound: int) -> bool:
        return bound > mean and energy_tail(cells, bound / mean) <= allowed

    def floor_fits(bound: int) -> bool:
        return bound < mean and energy_tail(cells, bound / mean, variance) <= allowed

    group_bound = _least(group_fits, isqrt(int(group_size * variance)))
    lowest = LEAST_FLOOR * cells
    if not floor_fits(lowest):
        raise Misuse(
            f"noise of {cells} cells, each of a deviation of {sqrt(variance):.3g} units, is too little to tell with "
            f"2^-{bits}; lower privacy.epsilon, or train a larger model"
        )
    floor = lowest + _least(lambda k: not floor_fits(lowest + k), 1) - 1
    return EnergyBounds(group_bound, floor, _least(ceiling_fits, int(mean) + 1))


def _groups(cells: int, group_size: int) -> int:
    if cells < 1 or group_size < 1 or cells % group_size:
        raise Misuse(f"groups: expected a size that divides {cells} cells, found {group_size}")
    return cells // group_size


def _least(fits: Callable[[int], bool], start: int) -> int:
    """The least k >= start >= 1 that fits, where all larger ones do."""
    step = 1
    while not fits(start + step - 1):
        step *= 2
    low, high = start + step // 2, start + step - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low
