"""The sampler: tables, look-up at every edge, distance, and the distribution against two oracles."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

import mpmath
import numpy as np
import pytest

from proofs.errors import Misuse
from proofs.machine.workers import set_workers
from protocols.lattice.gaussian import keystream
from protocols.privacy import sampler
from protocols.privacy.sampler import SplitVariance, look_up, sample, thresholds

TOP = 1 << 191
VARIANCES = [Fraction(64), Fraction(4095), Fraction(4096), Fraction(281**2), Fraction(10**9, 7), Fraction(2**48)]


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(100):
        yield


def masses(variance: Fraction, reach: int) -> list[mpmath.mpf]:
    """P(|X| = x) for x = 0 .. reach, and the rest after them."""
    exponent = -mpmath.mpf(variance.denominator) / (2 * variance.numerator)
    weights = [mpmath.exp(exponent * x * x) * (2 if x else 1) for x in range(2 * reach)]
    total = mpmath.fsum(weights)
    return [*(weight / total for weight in weights[: reach + 1]), mpmath.fsum(weights[reach + 1 :]) / total]


def words(*values: int) -> np.ndarray:
    """The same word of 192 bits in both places."""
    data = b"".join(2 * value.to_bytes(24, "little") for value in values)
    return np.frombuffer(data, dtype="<u8").reshape(-1, 2, 3)


def looked_up(variance: Fraction, *values: int) -> list[int]:
    out = np.zeros(len(values), dtype=np.int64)
    look_up(SplitVariance.of(variance), words(*values), out)
    return out.tolist()


@pytest.mark.parametrize("variance", [Fraction(64), Fraction(1001, 7), Fraction(4095)])
def test_thresholds_are_the_exact_ones_but_for_a_unit(variance: Fraction) -> None:
    found = thresholds(variance)
    assert found[-1] == TOP
    assert all(a <= b for a, b in pairwise(found))
    exact, reach = mpmath.mpf(0), masses(variance, len(found) - 1)
    for threshold, mass in zip(found, reach[:-1], strict=True):
        exact += mass / (1 - reach[-1])
        assert abs(threshold - exact * TOP) <= 1


@pytest.mark.parametrize("variance", VARIANCES)
def test_one_sample_is_within_2_to_the_minus_171(variance: Fraction) -> None:
    """Two tables: what is beyond 16 standard deviations, and two units a threshold; then the sum of the two."""
    split = SplitVariance.of(variance)
    distance = mpmath.mpf(0)
    for part in (split.inner, split.outer) if split.factor else (split.inner,):
        tail = sampler.TAIL * (math.isqrt(int(part)) + 1)
        beyond = 2 * mpmath.exp(-(mpmath.mpf(tail) ** 2) / (2 * mpmath.mpf(part.numerator) / part.denominator))
        distance += beyond + mpmath.mpf(2 * (tail + 1)) / TOP
    if split.factor:
        left = 1 / (split.factor**2 / split.inner + 1 / split.outer)
        assert left >= 9
        assert split.inner + split.factor**2 * split.outer == variance
        distance += mpmath.mpf(4) * mpmath.exp(-2 * mpmath.pi**2 * left.numerator / left.denominator)
    assert distance < mpmath.mpf(2) ** -(171 if variance > 2**40 else 173)


def test_look_up_at_every_threshold() -> None:
    table = thresholds(Fraction(64))
    inner = [(x, each) for x, each in enumerate(table[:-1]) if 0 < each < TOP]
    below = looked_up(Fraction(64), *(each - 1 for _, each in inner))
    at = looked_up(Fraction(64), *(each for _, each in inner))
    first = {each: min(x for x, other in inner if other == each) for _, each in inner}
    last = {each: max(x for x, other in inner if other == each) for _, each in inner}
    assert below == [first[each] for _, each in inner]
    assert at == [last[each] + 1 for _, each in inner]


def test_the_top_bit_is_the_sign() -> None:
    values = [random.Random(i).randrange(TOP) for i in range(200)]
    for variance in (Fraction(64), Fraction(10**6)):
        plain = looked_up(variance, *values)
        assert looked_up(variance, *(value + TOP for value in values)) == [-x for x in plain]
    assert looked_up(Fraction(64), 0, TOP) == [0, 0]


def test_samples_do_not_depend_on_the_workers() -> None:
    try:
        runs = []
        for workers in (1, 3):
            set_workers(workers)
            runs.append(sample(Fraction(10**6), 50_001, lambda size: bytes([7]) * size).tolist())
    finally:
        set_workers(None)
    assert runs[0] == runs[1]
    assert runs[0][:9] == by_bisection(Fraction(10**6), bytes([7]) * 32, 9)


def by_bisection(variance: Fraction, seed: bytes, count: int) -> list[int]:
    """What the sampler makes of a seed, in plain integers."""
    stream = b"".join(word.tobytes() for word in keystream(seed, 0, 3 * count))
    split = SplitVariance.of(variance)

    def one(start: int, part: Fraction) -> int:
        word = int.from_bytes(stream[start : start + 24], "little")
        return bisect_right(thresholds(part), word % TOP) * (-1 if word >= TOP else 1)

    return [one(i, split.inner) + split.factor * one(i + 24, split.outer) for i in range(0, 48 * count, 48)]


def by_rejection(variance: Fraction, rand: random.Random) -> int:
    """Canonne, Kamath, Steinke (2020), algorithms 1 to 3: exact, by integers and coins alone."""

    def bernoulli_exp(gamma: Fraction) -> bool:
        while gamma > 1:
            if not bernoulli_exp(Fraction(1)):
                return False
            gamma -= 1
        k = 1
        while rand.randrange(gamma.denominator * k) < gamma.numerator:
            k += 1
        return k % 2 == 1

    scale = math.isqrt(int(variance)) + 1
    while True:
        low = rand.randrange(scale)
        if not bernoulli_exp(Fraction(low, scale)):
            continue
        high = 0
        while bernoulli_exp(Fraction(1)):
            high += 1
        magnitude, negative = low + scale * high, rand.randrange(2)
        if negative and magnitude == 0:
            continue
        if bernoulli_exp((magnitude - variance / scale) ** 2 / (2 * variance)):
            return -magnitude if negative else magnitude


def chi_squared(observed: Counter[int], expected: dict[int, float]) -> tuple[float, int]:
    cells = [(observed[x], mean) for x, mean in expected.items() if mean > 20]
    return sum((count - mean) ** 2 / mean for count, mean in cells), len(cells)


@pytest.mark.parametrize("variance", [Fraction(64), Fraction(1001, 7), Fraction(4096), Fraction(281**2)])
def test_samples_have_the_exact_distribution(variance: Fraction) -> None:
    count = 2**18
    samples = sample(variance, count, random.Random(1).randbytes)
    observed = Counter(samples.tolist())
    reach = 6 * (math.isqrt(int(variance)) + 1)
    exact = masses(variance, reach)
    expected = {x: float(exact[abs(x)]) / (2 if x else 1) * count for x in range(-reach, reach + 1)}
    value, cells = chi_squared(observed, expected)
    assert value < cells + 6 * math.sqrt(2 * cells)
    assert abs(samples.mean()) < 5 * math.sqrt(variance / count)
    assert abs((samples.astype(np.float64) ** 2).mean() / float(variance) - 1) < 5 * math.sqrt(2 / count)


def test_a_sum_of_two_has_no_seam() -> None:
    """Where a sample is y + k z: all residues modulo k are equally likely."""
    variance = Fraction(281**2)
    factor = SplitVariance.of(variance).factor
    assert factor > 1
    samples = sample(variance, 2**18, random.Random(2).randbytes)
    observed = Counter((samples % factor).tolist())
    value, cells = chi_squared(observed, dict.fromkeys(range(factor), 2**18 / factor))
    assert cells == factor
    assert value < cells + 6 * math.sqrt(2 * cells)


@pytest.mark.parametrize("variance", [Fraction(64), Fraction(10**5, 3)])
def test_samples_agree_with_another_sampler(variance: Fraction) -> None:
    """Two samples of one law: chi squared over sixty cells of about equal mass."""
    rand, count = random.Random(3), 6000
    theirs = sorted(by_rejection(variance, rand) for _ in range(count))
    ours = sample(variance, count, random.Random(4).randbytes)
    edges = sorted(set(theirs[:: count // 60]))[1:]
    pair = [
        np.bincount(np.searchsorted(edges, each, side="right"), minlength=len(edges) + 1) for each in (theirs, ours)
    ]
    value = sum((a - b) ** 2 / (a + b) for a, b in zip(*pair, strict=True))
    assert value < len(edges) + 6 * math.sqrt(2 * len(edges))


def test_coordinates_are_independent_of_their_neighbours() -> None:
    samples = sample(Fraction(281**2), 2**18, random.Random(5).randbytes).astype(np.float64) / 281
    assert abs((samples[1:] * samples[:-1]).mean()) < 5 / 512


@pytest.mark.parametrize("variance", [Fraction(1, 2), Fraction(2**48 + 1)])
def test_variances_out_of_range_are_refused(variance: Fraction) -> None:
    with pytest.raises(Misuse, match="variance: expected from 1 to"):
        sample(variance, 4, random.Random(1).randbytes)


def test_weak_randomness_is_refused() -> None:
    with pytest.raises(Misuse, match="32 bytes"):
        sample(Fraction(64), 4, lambda size: bytes(4))
