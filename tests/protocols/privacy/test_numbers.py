"""Every number of the chapters on differential privacy (spec 10 to 12), computed again; the texts must say just
these."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import mpmath
import pytest

from protocols.privacy.accounting import LATTICE_VARIANCE, LEAST_VARIANCE, SMOOTHING_LOSS, NoiseRule
from protocols.privacy.energy import SAMPLING_DISTANCE, energy_tail, keystream_distance, tightest_bounds
from tests.soundness.test_hardness import dual_bits, primal_beta

SPEC = Path(__file__).parents[3] / "docs/spec"
SIGMA = Fraction(33, 10)
MODULI = {
    24: 0xFFC001,
    26: 0x3FFA001,
    28: 0xFFF0001,
    30: 0x3FFF4001,
    32: 0xFFFDE001,
    34: 0x3FFFE4001,
    36: 0xFFFFEE001,
    38: 0x3FFFFEA001,
}
TASKS = [  # d, n, h, K, digits of delta, B, sigma by epsilon
    (1554, 8, 3, 10, 5, 256, {1: 1744, 3: 650, 8: 281}),
    (10**6, 100, 60, 50, 6, 4000, {1: 15427, 3: 5638, 8: 2385}),
]
POISON = [(1554, 281, 8, 256), (1554, 1744, 8, 256), (10**6, 2385, 100, 4000)]
COHORTS = [(8, 3, 24), (100, 60, 26), (1000, 920, 28), (1000, 500, 28)]


def text(chapter: str) -> str:
    return (SPEC / chapter).read_text(encoding="utf-8")


def row(chapter: str, *cells: object) -> bool:
    return "| " + " | ".join(str(cell) for cell in cells) + " |" in text(chapter)


def smooth(variance: Fraction) -> mpmath.mpf:
    factor = -2 * mpmath.pi**2 * variance.numerator / variance.denominator
    return 2 * mpmath.fsum(mpmath.exp(factor * j * j) for j in range(1, 20))


def log2_loss(variance: Fraction, cells: int) -> float:
    """log2 of cells ln r(sigma); smooth is below 2^-60, so ln r is 2 smooth but for as little."""
    return float(mpmath.log(2 * smooth(variance) * cells, 2)) + 2**-50


def both(first: Fraction, second: Fraction) -> Fraction:
    return 1 / (1 / first + 1 / second)


KEY = both(SIGMA**2, SIGMA**2)
LEFT = Fraction(LEAST_VARIANCE, 2)  # of a cell of noise when a sum of two is known
NOISE = both(SIGMA**2, LEFT - SIGMA**2)
KEPT = both(SIGMA**2, LATTICE_VARIANCE - SIGMA**2)
WHOLE_KEY = both(SIGMA**2, (2 * SIGMA) ** 2 - SIGMA**2)
WHOLE_NOISE = both(SIGMA**2, LEAST_VARIANCE - SIGMA**2)


def table_cells(dimension: int) -> int:
    columns = 16
    while columns**2 < dimension:
        columns *= 2
    return -(-dimension // columns) * columns


@pytest.mark.parametrize("bits", MODULI)
def test_hardness(bits: int) -> None:
    """The table of 11.1; the dual attack is no better, to two bits, where the search for it reaches."""
    cells: list[int] = []
    for degree in (4096, 2048):
        beta = primal_beta(degree, bits, float(SIGMA))
        cells += [beta, int(0.292 * beta), int(0.265 * beta)]
        if beta < 1900:
            assert dual_bits(degree, bits, float(SIGMA)) > 0.292 * beta - 2
    assert row("11-noise-as-error.md", bits, *cells)


@pytest.mark.parametrize(("bits", "modulus"), MODULI.items())
def test_moduli(bits: int, modulus: int) -> None:
    """The largest primes = 1 modulo 8192 below 2^bits."""

    def prime(n: int) -> bool:
        return all(n % k for k in range(3, math.isqrt(n) + 1, 2))

    assert modulus % 8192 == 1
    assert prime(modulus)
    assert not any(prime(n) for n in range(modulus + 8192, 2**bits, 8192))
    assert f"{modulus:#x}" in text("11-noise-as-error.md")


def test_combinations() -> None:
    assert [-(-149 // (bits - 2)) for bits in (24, 38)] == [7, 5]


def test_what_two_clients_leave() -> None:
    """The table of 11.2, rounded towards less security."""
    assert SIGMA**2 * 4 == (2 * SIGMA) ** 2
    assert 3 * mpmath.mpf("0.67") > 2
    for variance, smoothness, losses in (
        (KEY, -154.0, {4096: -141.0, 2048: -142.0}),
        (NOISE, -203.5, {2**20: -182.5, 2**28: -174.5}),
        (KEPT, -155.6, {2**20: -134.6, 2**28: -126.6}),
    ):
        assert smoothness - 0.1 < float(mpmath.log(smooth(variance), 2)) < smoothness
        for cells, loss in losses.items():
            assert loss - 0.1 < log2_loss(variance, cells) < loss
            counted = cells if cells < 2**20 else f"2^{cells.bit_length() - 1}"
            assert f"{counted}: 2^{loss}" in text("11-noise-as-error.md")
    assert (round(float(NOISE), 2), round(float(KEPT), 2), round(float(WHOLE_KEY), 2)) == (7.18, 5.5, 8.17)
    assert -62.1 < log2_loss(both(Fraction(9, 2), Fraction(9, 2)), 1) < -62


def test_named_widths_are_no_wider() -> None:
    """r(2.34), r(2.85) and r(3) of 11.3 stand for at least these."""
    assert Fraction("2.34") ** 2 <= KEPT
    assert Fraction("2.85") ** 2 <= WHOLE_KEY
    assert WHOLE_NOISE >= 9


def test_the_loss_of_a_federation() -> None:
    """11.4: c = 2^28, n = h = 2^13, 2^16 rounds."""
    cells, degree, parties, rounds = 2**28, 4096, 2**13, 2**16
    pair = log_sum((KEY, degree), (NOISE, cells))
    whole = parties * pair + log_sum(
        (LEFT, cells * parties),
        (Fraction(LATTICE_VARIANCE), cells),
        (KEPT, cells),
        (WHOLE_KEY, 2 * degree * parties),
        (WHOLE_NOISE, 2 * cells * parties),
    )
    assert float(mpmath.log(rounds * whole, 2)) < -110
    assert Fraction(1, 2**100) == SMOOTHING_LOSS


def log_sum(*parts: tuple[Fraction, int]) -> mpmath.mpf:
    return mpmath.fsum(mpmath.mpf("2.01") * smooth(variance) * count for variance, count in parts)


@pytest.mark.parametrize(("parties", "adders", "bits"), COHORTS)
def test_cohorts_chosen_last(parties: int, adders: int, bits: int) -> None:
    ways = math.comb(parties - 1, adders - 1)
    factor = math.ceil(math.log2(2 * (1 + math.exp(8))) + math.log2(2 * (ways + 1) * (2 * parties + adders) * 50))
    estimate = int(0.292 * primal_beta(4096, bits, float(SIGMA)))
    left = estimate - factor
    shown = (f"{math.log2(ways):.1f}", factor, f"{estimate}, {bits} bits", left if left > 0 else "none")
    assert row("11-noise-as-error.md", f"{parties}, {adders}", *shown)


@pytest.mark.parametrize("exponent", [(1600, 1), (4096, 1), (1, 2**20), (1, 2**28)])
def test_bounds_on_honest_noise(exponent: tuple[int, int]) -> None:
    cells = exponent[0] * exponent[1]
    variance = Fraction(1744**2)
    found = tightest_bounds(cells, 64, variance, 66)
    shown = f"2^{cells.bit_length() - 1}" if exponent[0] == 1 else cells
    energies = [f"{float(bound / (cells * variance)):.4f}" for bound in (found.floor, found.ceiling)]
    group = f"{math.ceil(100 * found.group_bound / 1744) / 100:.2f}"
    assert row("10-privacy.md", shown, group, energies[0][1:], energies[1])


def test_a_fixed_group_bound() -> None:
    tails = {ratio: energy_tail(64, Fraction(ratio) ** 2 / 64) for ratio in ("16.6", "16.5")}
    assert math.log2(tails["16.6"]) < -85.2
    assert math.log2(tails["16.5"]) < -83.3
    assert math.log2(tails["16.6"] * 2**14) < -71
    assert -63.3 < math.log2(tails["16.6"] * 2**22) < -63


def test_the_lower_tail_costs_nothing() -> None:
    assert 2**28 * smooth(Fraction(LEAST_VARIANCE, 4)) < mpmath.mpf(2) ** -190


def test_the_sampler() -> None:
    """10.6: beyond 16 standard deviations, two units for each x, and the sum of two."""
    beyond = 2 * mpmath.exp(-128)
    assert beyond < mpmath.mpf(2) ** -183
    assert smooth(Fraction(9)) < mpmath.mpf(2) ** -255
    for largest, distance in ((40, -173), (48, -171)):
        entries = 16 * (math.isqrt(10 * 2 ** (largest // 2 - 1)) + 2)
        assert 2 * beyond + mpmath.mpf(4 * entries) / 2**191 + 2 * smooth(Fraction(9)) < mpmath.mpf(2) ** distance
    key = 4096 * mpmath.mpf(2) ** mpmath.mpf("-123.1")  # as tests/soundness/test_hardness.py has it of one coefficient
    assert 2 * (key + mpmath.mpf(2) ** (28 - 171)) < mpmath.mpf(2) ** -110
    assert Fraction(1, 2**110) == SAMPLING_DISTANCE
    for cells, distance in ((0, -104), (2**20, -84.8), (2**28, -68.8)):
        assert distance - 0.1 < math.log2(keystream_distance(cells)) < distance + 0.1


@pytest.mark.parametrize("task", TASKS, ids=["small", "large"])
def test_parameters(task: tuple[int, int, int, int, int, int, dict[int, int]]) -> None:
    """The table of 10.7: sigma is the least whole number."""
    dimension, parties, adders, rounds, digits, bound, sigmas = task
    deviation = Fraction(parties * rounds, 2**64)

    def holds(sigma: int, epsilon: int) -> bool:
        rule = NoiseRule(bound, Fraction(sigma**2), adders, Fraction(1, 10**digits), deviation)
        return rule.holds(Fraction(epsilon), rounds)

    assert bound >= 4 * math.sqrt(dimension)
    for epsilon, sigma in sigmas.items():
        assert holds(sigma, epsilon)
        assert not holds(sigma - 1, epsilon)
        group_bound = -(-166 * sigma // 10)
        bits = next(bits for bits, modulus in MODULI.items() if modulus > 2 * parties * (bound + group_bound))
        snr = f"{math.sqrt(parties) * bound / (sigma * math.sqrt(dimension)):.3f}"[1:]
        assert row("10-privacy.md", epsilon, sigma, group_bound, bits, -(-bits // 8), snr)


def test_discrete_noise_hides_less_than_continuous_noise_of_its_variance() -> None:
    for epsilon, least in ((0.5, 1.011), (2, 1.118)):
        weight, mu = mpmath.exp(epsilon), mpmath.mpf(1) / 8
        mass = {x: mpmath.exp(-mpmath.mpf(x * x) / 128) for x in range(-300, 301)}
        gaps = (mass.get(x - 1, 0) - weight * mass[x] for x in mass)
        discrete = sum(gap for gap in gaps if gap > 0) / sum(mass.values())
        curve = mpmath.ncdf(mu / 2 - epsilon / mu) - weight * mpmath.ncdf(-mu / 2 - epsilon / mu)
        assert least < discrete / curve < least + 0.001
        if epsilon < 1:
            assert (round(float(curve) * 1e6, 3), round(float(discrete) * 1e6, 3)) == (1.145, 1.158)


def test_the_loss_of_kairouz_liu_and_steinke() -> None:
    for sigma, bits in ((8, 900), (4, 224)):
        exponents = (-2 * mpmath.pi**2 * sigma**2 * mpmath.mpf(j) / (j + 1) for j in range(1, 2**13))
        assert 10 * mpmath.fsum(map(mpmath.exp, exponents)) < mpmath.mpf(2) ** -bits


@pytest.mark.parametrize(("dimension", "sigma", "parties", "bound"), POISON)
def test_what_poison_gets(dimension: int, sigma: int, parties: int, bound: int) -> None:
    """The table of 12.3, with Q = 2^60 and p = 2^-40."""
    cells = table_cells(dimension)
    ceiling = tightest_bounds(cells, 64, Fraction(sigma**2), 66).ceiling
    group_bound = -(-166 * sigma // 10)
    spread = min(group_bound**2 * (cells // 64), ceiling) / cells
    flat = math.sqrt(2 * spread * 100 * math.log(2))
    numbers = (group_bound, round(flat), round(math.sqrt(ceiling)), round(sigma * math.sqrt(parties)))
    assert row("12-poison.md", f"{dimension if dimension < 10**6 else '10^6'}, {sigma}, {parties}, {bound}", *numbers)
    assert 1 < flat / numbers[3] < group_bound / numbers[3] < 6
    assert bound / numbers[3] < 1 / 3
    assert int(math.sqrt(ceiling) / flat) in (3, 84)


def test_the_term_of_discrete_logarithms() -> None:
    """12.3: the largest whole power of two for Q with 2 Q^1.5 R / 2^128 <= 2^-40; and beyond p at Q = 2^60."""
    for runs, power, largest in ((0, 0, 58), (13, 0, 49), (13, 1, 29)):
        terms = [1 + 1.5 * log + runs + power * log - 128 for log in (largest, largest + 1)]
        assert terms[0] <= -40 < terms[1]
    assert 1 + 1.5 * 60 - 128 == -37
    assert 1.024 < math.sqrt(105 / 100) < 1.025
