"""Tails and curve against mpmath: every bound on its own side of the truth, and close to it."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

import mpmath
import pytest

from proofs.errors import Misuse
from protocols.privacy.normal import delta_bound, exponential_bound, logarithm_bounds, upper_tail


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(120):
        yield


POINTS = ["-9", "-6", "-0.5", "0", "1e-6", "0.5", "1", "2.5", "5.999999", "6", "6.000001", "12", "41.5", "300"]
CURVES = [(mu, epsilon) for mu in ("0.01", "0.3", "1", "2.5", "9") for epsilon in ("0.000001", "0.1", "1", "8", "60")]


def exact(value: Fraction) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator


def true_delta(mu: mpmath.mpf, epsilon: mpmath.mpf) -> mpmath.mpf:
    return mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize("x", POINTS)
def test_tails_are_between_their_bounds(x: str) -> None:
    low, high = (mpmath.mpf(str(bound)) for bound in upper_tail(Decimal(x)))
    truth = mpmath.erfc(mpmath.mpf(x) / mpmath.sqrt(2)) / 2
    assert low <= truth <= high
    assert high - low <= truth * mpmath.mpf(10) ** -60


@pytest.mark.parametrize(("mu", "epsilon"), CURVES)
def test_delta_is_above_the_truth_and_next_to_it(mu: str, epsilon: str) -> None:
    found = exact(delta_bound(Fraction(mu) ** 2, Fraction(epsilon)))
    truth = true_delta(mpmath.mpf(mu), mpmath.mpf(epsilon))
    assert truth < found < truth + mpmath.mpf(10) ** -58


def test_a_tiny_delta_is_no_long_fraction() -> None:
    assert 0 < delta_bound(Fraction(1, 2**60), Fraction(1000)) < Fraction(1, 10**998)


@pytest.mark.parametrize(("mu_squared", "epsilon"), [(0, 1), (-1, 1), (1, 1025), (1, -1025)])
def test_what_has_no_meaning_is_refused(mu_squared: int, epsilon: int) -> None:
    with pytest.raises(Misuse, match="expected mu squared"):
        delta_bound(Fraction(mu_squared), Fraction(epsilon))


@pytest.mark.parametrize("x", ["-2000", "-1.5", "0.000001", "3.7", "1024"])
def test_exponentials(x: str) -> None:
    truth = mpmath.exp(mpmath.mpf(x))
    assert truth < exact(exponential_bound(Fraction(x))) < truth * (1 + mpmath.mpf(10) ** -60)


@pytest.mark.parametrize("x", ["0.000001", "0.25", "0.999999999", "1", "1.5", "123456789"])
def test_logarithms(x: str) -> None:
    low, high = (exact(bound) for bound in logarithm_bounds(Fraction(x)))
    assert low < mpmath.log(mpmath.mpf(x)) < high < low + mpmath.mpf(10) ** -60
