"""The numbers behind update privacy (spec 6.2), computed again: cost of attacks, hints, and the noise's distance."""

from __future__ import annotations

import decimal
import math
from fractions import Fraction

import pytest

from protocols.lattice.gaussian import thresholds
from protocols.lattice.parameters import DEGREE, MODULI, SIGMA_TENTHS, TAIL
from protocols.parameters import LARGEST_DIMENSION, SECURITY_BITS, SECURITY_FLOOR

SIGMA = SIGMA_TENTHS / 10
LEFT = SIGMA / 2  # of key and error, once the sums are known
CELLS = 2**20
SPEC = {40: (1331, 388, 352), 50: (997, 291, 264), 62: (749, 218, 198)}  # bits of q: beta, classical, quantum


def log_root_hermite(beta: int) -> float:
    """log2 of delta(beta) (Chen 2013)."""
    return math.log2((math.pi * beta) ** (1 / beta) * beta / (2 * math.pi * math.e)) / (2 * (beta - 1))


def best_dimension(degree: int, bits: int, beta: int) -> int:
    """Of the lattice, where the number of samples is free: sqrt(n log q / log delta)."""
    return max(degree + 2, round(math.sqrt(degree * bits / log_root_hermite(beta))))


def primal_beta(degree: int, bits: int, sigma: float) -> int:
    """The least beta with sigma sqrt(beta) <= delta^(2 beta - d - 1) q^(m / d), d = n + m + 1."""

    def finds(beta: int) -> bool:
        d = best_dimension(degree, bits, beta)
        length = log_root_hermite(beta) * (2 * beta - d - 1) + (d - degree - 1) / d * bits
        return math.log2(sigma * math.sqrt(beta)) <= length

    return next(beta for beta in range(60, 4000) if finds(beta))


def dual_bits(degree: int, bits: int, sigma: float) -> float:
    """log2 of the cost, as in NewHope: a vector of length delta^(d - 1) q^(n / d) tells with advantage
    exp(-2 (pi tau)^2), tau = length sigma / q, and a sieve gives 2^(0.2075 beta) of them."""

    def cost(beta: int) -> float:
        d = best_dimension(degree, bits, beta)
        tau = 2 ** (log_root_hermite(beta) * (d - 1) + (degree / d - 1) * bits) * sigma
        wanted = 4 * (math.pi * tau) ** 2 / math.log(2)  # vectors, log2
        return 0.292 * beta + max(0.0, wanted - 0.2075 * beta)

    return min(cost(beta) for beta in range(60, 2000))


@pytest.mark.parametrize("bits", SPEC)
def test_the_table_of_the_specification(bits: int) -> None:
    beta = primal_beta(DEGREE, bits, LEFT)
    assert (beta, int(0.292 * beta), int(0.265 * beta)) == SPEC[bits]
    assert SECURITY_BITS[bits] == SPEC[bits][1]


@pytest.mark.parametrize("modulus", MODULI)
def test_every_modulus_is_as_hard_as_it_is_taken_for(modulus: int) -> None:
    """`lattice-security` reads the estimate at the next larger size listed; the dual attack is no better, to a bit."""
    bits = modulus.bit_length()
    taken = SECURITY_BITS[min(listed for listed in SECURITY_BITS if listed >= bits)]
    assert SECURITY_FLOOR <= taken <= 0.292 * primal_beta(DEGREE, bits, LEFT)
    assert max(SECURITY_FLOOR, taken - 1) <= dual_bits(DEGREE, bits, LEFT)


def test_half_the_degree_is_not_enough() -> None:
    assert int(0.292 * primal_beta(2048, 50, LEFT)) == 116


def test_what_the_sums_leave() -> None:
    """Hint-RLWE with one hint, the other honest client's key and errors: 1 / s^2 = 2 (1 / sigma^2 + 1 / sigma^2)."""
    assert Fraction(1) / Fraction(33, 10) ** 2 == 2 * (2 / Fraction(SIGMA_TENTHS, 10) ** 2)


def test_what_is_left_is_smooth() -> None:
    """The reduction's condition: s sqrt(2 pi) >= sqrt(2) eta_eps(Z^n), n all coordinates of key and errors, where
    eta_eps(Z^n)^2 <= ln(2 n (1 + 1 / eps)) / pi. It holds with eps = 2^-128 for 2^20 cells."""
    n, smooth = DEGREE + CELLS, (LEFT * math.sqrt(2 * math.pi)) ** 2 / 2
    assert math.log(2 * n * (1 + 2.0**128)) / math.pi <= smooth


def log2(value: decimal.Decimal) -> float:
    return float(value.ln() / decimal.Decimal(2).ln())


@pytest.fixture(scope="module")
def distances() -> tuple[decimal.Decimal, decimal.Decimal]:
    """Statistical distance of one sample, as it is drawn, from the ideal Gaussian on all integers, and the part of it
    that the cut makes. To 100 digits: what lies beyond 600 is below 2^-5000."""
    with decimal.localcontext(decimal.Context(prec=120)):
        exponent = decimal.Decimal(-100) / (2 * SIGMA_TENTHS**2)
        ideal = {x: (exponent * x * x).exp() for x in range(-600, 601)}
        total = sum(ideal.values(), decimal.Decimal())
        cut = sum((weight for x, weight in ideal.items() if abs(x) > TAIL), decimal.Decimal()) / total
        edges = [0, *thresholds(), 2**128]
        drawn = {x: decimal.Decimal(edges[i + 1] - edges[i]) / 2**128 for i, x in enumerate(range(-TAIL, TAIL + 1))}
        return sum((abs(drawn[x] - ideal[x] / total) for x in drawn), cut) / 2, cut


def test_distance_of_one_sample(distances: tuple[decimal.Decimal, decimal.Decimal]) -> None:
    whole, cut = distances
    assert -123.2 < log2(whole) < -123.1
    assert -128.2 < log2(cut) < -128.1
    assert log2(whole) - log2(cut) < 5.1  # all that a finer table could gain


@pytest.mark.parametrize(
    ("cells", "one", "all_of_them"), [(2**20, -103.1, -83.1), (LARGEST_DIMENSION, -95.1, -75.1)], ids=["2^20", "2^28"]
)
def test_distance_of_all_samples(
    distances: tuple[decimal.Decimal, decimal.Decimal], cells: int, one: float, all_of_them: float
) -> None:
    """The union over a client's samples, and over a thousand clients in each of a thousand rounds."""
    whole, _ = distances
    assert one - 0.1 < log2(whole * (DEGREE + cells)) < one
    assert all_of_them - 0.1 < log2(whole * (DEGREE + cells) * 1000 * 1000) < all_of_them


def test_loss_of_the_reduction() -> None:
    """eps = 2^-126 holds for 2^28 cells; over a million sums it is 2^-106, far below the distance of the noise."""
    smooth = (LEFT * math.sqrt(2 * math.pi)) ** 2 / 2
    for cells, bits in ((CELLS, 134), (LARGEST_DIMENSION, 126)):
        assert math.log(2 * (DEGREE + cells) * (1 + 2.0**bits)) / math.pi <= smooth
        assert math.log(2 * (DEGREE + cells) * (1 + 2.0 ** (bits + 1))) / math.pi > smooth
