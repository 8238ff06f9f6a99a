"""Noise: a discrete Gaussian of any rational variance, in integers alone (spec 10.6).

A magnitude is looked up by inversion in a table of cumulative probabilities, with a uniform integer of 191 bits; a bit
more is its sign, so that the law is exactly symmetric. For a variance from 2^12 on, where the table would be long, a
sample is y + k z of two such: for y and z discrete Gaussians that is one of variance var(y) + k^2 var(z), but for a
factor of 1 + 2^-254 on each probability (Peikert 2010; proved anew in spec 10.3). No step is in floating point.

What leaks: the search takes the same steps for all words, but reads the table at places that depend on them, as a cache
can tell; and an attacker who measures how long the rest takes is not excluded either. Constant time is not claimed.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import isqrt

import numpy as np

from proofs.arrays import Integers, Words
from proofs.errors import Misuse
from proofs.machine.workers import map_chunks
from proofs.randomness import Randomness
from proofs.wiping import wipe
from protocols.lattice.gaussian import keystream

LEAST_VARIANCE, LARGEST_VARIANCE = Fraction(1), Fraction(2**48)
THRESHOLD_BITS = 191
TAIL = 16  # standard deviations: beyond are less than 2^-183 of all samples
_SEED_SIZE = 32
_CHUNK = 2**13
_BLOCKS = 3  # of 128 bits a sample: two words of 192
_FRACTION_BITS = 384  # of the fixed point that tables are computed in
_SPLIT_FROM = 2**12
_INNER = 10  # var(y) = 10 k^2


@dataclass(frozen=True)
class SplitVariance:
    """A sample is y + factor z, of discrete Gaussians of these variances; factor 0 where it is y alone."""

    inner: Fraction
    factor: int
    outer: Fraction

    @classmethod
    def of(cls, variance: Fraction) -> SplitVariance:
        """With tables of about equal length; what is left of z when the sum is known has a variance of 9 or more."""
        if variance < _SPLIT_FROM:
            return cls(variance, 0, Fraction(1))
        factor = isqrt(isqrt(int(variance) // _INNER))
        return cls(Fraction(_INNER * factor**2), factor, variance / factor**2 - _INNER)


def sample(variance: Fraction, count: int, rand: Randomness) -> Integers:
    """`count` independent samples of mass proportional to exp(-x^2 / (2 variance)) on the integers, int64 (count,).

    variance: from 1 to 2^48. Takes 32 bytes from `rand`. Each sample is within 2^-171 of the ideal one. Raises Misuse
    for another variance, or randomness of another length.
    """
    if not LEAST_VARIANCE <= variance <= LARGEST_VARIANCE:
        raise Misuse(f"variance: expected from {LEAST_VARIANCE} to {LARGEST_VARIANCE}, found {variance}")
    seed = rand(_SEED_SIZE)
    if len(seed) != _SEED_SIZE:
        raise Misuse(f"rand must return the {_SEED_SIZE} bytes asked for, not {len(seed)}")
    split = SplitVariance.of(variance)
    samples = np.zeros(count, dtype=np.int64)

    def fill(start: int, stop: int) -> None:
        for first in range(start, stop, _CHUNK):
            last = min(first + _CHUNK, stop)
            words = keystream(seed, _BLOCKS * first, _BLOCKS * (last - first)).reshape(-1, 2, _BLOCKS)
            look_up(split, words, samples[first:last])
            wipe(words)

    map_chunks(fill, count, _CHUNK)
    return samples


def look_up(split: SplitVariance, words: Words, out: Integers) -> None:
    """The samples that words, uint64 (n, 2, 3), stand for, each of 192 bits, low 64 first, into zeros `out` (n,)."""
    from protocols.privacy.kernels import add_samples

    add_samples(words[:, 0], _table(split.inner), np.int64(1), out)
    if split.factor:
        add_samples(words[:, 1], _table(split.outer), np.int64(split.factor), out)


def thresholds(variance: Fraction) -> list[int]:
    """2^191 P(|X| <= x) for x = 0 .. about 16 sigma, where the law is cut off, each within one of that; the last:
    2^191."""
    one = 1 << _FRACTION_BITS
    ratio = _exponential(1 / (2 * variance))  # of masses: exp(-x^2 / (2 variance)) is ratio^(x^2)
    square = ratio * ratio >> _FRACTION_BITS
    weights, step = [one], ratio
    for _ in range(TAIL * (isqrt(int(variance)) + 1)):
        weights.append(weights[-1] * step >> _FRACTION_BITS)
        step = step * square >> _FRACTION_BITS
    sums, total = [], -one
    for weight in weights:
        total += 2 * weight
        sums.append(total)
    return [(each << THRESHOLD_BITS) // total for each in sums]


def _exponential(x: Fraction) -> int:
    """exp(-x) in fixed point, for 0 < x <= 1/2, by its series."""
    total, term, k = 0, 1 << _FRACTION_BITS, 0
    while term:
        total += -term if k % 2 else term
        k += 1
        term = term * x.numerator // (x.denominator * k)
    return total


@lru_cache(maxsize=8)
def _table(variance: Fraction) -> Words:
    """(2^steps - 1, 3), the thresholds but the last, padded: of 2^191, which no word reaches."""
    values = thresholds(variance)[:-1]
    size = (1 << len(values).bit_length()) - 1
    padded = [*values, *[1 << THRESHOLD_BITS] * (size - len(values))]
    data = b"".join(value.to_bytes(24, "little") for value in padded)
    return np.frombuffer(data, dtype="<u8").reshape(-1, 3)
