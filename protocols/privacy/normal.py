"""What Gaussian noise hides, from above: tails of the normal distribution between proved bounds (spec 10.5).

Every value is computed to 90 digits. No sum or fraction here has more than some thousand operations on positive
numbers, and each of them is off by half a unit in the last place at most, so that a relative 10^-70 covers the rounding
of all of them. Nothing is in floating point, so whoever computes an epsilon gets the same digits.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from fractions import Fraction
from itertools import count

from proofs.errors import Misuse

_DIGITS = 90
_CONTEXT = decimal.Context(prec=_DIGITS, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX)
_SLACK = Decimal("1e-70")
_LEAST_BOUND = Decimal("1e-1000")  # so that no fraction is longer than it is of use
_PI = Decimal("3.1415926535897932384626433832795028841971693993751058209749445923078164062862089986280348253421")
_SERIES_BELOW = 6  # from here on the continued fraction converges in some two hundred steps
_LEAST_MU_SQUARED = Fraction(1, 2**40)
LARGEST_EPSILON = (
    1024  # with the least mu: the argument of a tail is below 2^31, and its square is rounded by 10^-70 at most
)

Bounds = tuple[Decimal, Decimal]  # at most, at least: the number is between them


def delta_bound(mu_squared: Fraction, epsilon: Fraction) -> Fraction:
    """At least Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu): the least delta for which N(0, 1)
    and N(mu, 1) are (epsilon, delta)-close (Balle, Wang 2018). Above it by a relative 10^-60 of the first term, or
    10^-999, at most, for mu_squared from 2^-40 on; for less, what holds at 2^-40. Raises Misuse for mu_squared <= 0 or
    epsilon beyond 1024 in magnitude."""
    if mu_squared <= 0 or abs(epsilon) > LARGEST_EPSILON:
        raise Misuse(f"expected mu squared > 0 and |epsilon| <= {LARGEST_EPSILON}, found {mu_squared} and {epsilon}")
    with decimal.localcontext(_CONTEXT):
        mu = _decimal(max(mu_squared, _LEAST_MU_SQUARED))[1].sqrt().next_plus()  # the curve rises with mu
        ratio = tuple(each / mu for each in _decimal(epsilon))
        least, most = _lowered(ratio[0] - mu / 2), _raised(ratio[1] + mu / 2)
        exponential = _decimal(epsilon)[0].exp() * (1 - _SLACK)
        difference = upper_tail(least)[1] - exponential * upper_tail(most)[0]
        return Fraction(max(difference, _LEAST_BOUND) * (1 + _SLACK))


def upper_tail(x: Decimal) -> Bounds:
    """Bounds on the probability that a standard normal variable exceeds x, a relative 10^-60 or less apart for x >
    0."""
    with decimal.localcontext(_CONTEXT):
        if x < 0:
            low, high = upper_tail(-x)
            return (1 - high) * (1 - _SLACK), (1 - low) * (1 + _SLACK)
        return _by_series(x) if x < _SERIES_BELOW else _by_fraction(x)


def exponential_bound(exponent: Fraction) -> Fraction:
    """At least e^exponent, above by a relative 10^-60 or less where the exponent is at least -2048."""
    with decimal.localcontext(_CONTEXT):
        return Fraction(max(_decimal(exponent)[1].exp(), _LEAST_BOUND) * (1 + _SLACK))


def logarithm_bounds(x: Fraction) -> tuple[Fraction, Fraction]:
    """Bounds on ln x for x > 0, 10^-60 or less apart where x is between 10^-9 and 10^9."""
    with decimal.localcontext(_CONTEXT):
        low, high = (each.ln() for each in _decimal(x))
        slack = _SLACK * (1 + abs(high))
        return Fraction(low - slack), Fraction(high + slack)


def _by_series(x: Decimal) -> Bounds:
    """1/2 - density(x) sum of x^(2k+1) / (1 3 5 .. (2k+1)); what is left out is at most the last term."""
    term = total = x
    for odd in count(3, 2):
        term = term * x * x / odd
        total += term
        if 2 * x * x < odd and term <= total * _SLACK:
            break
    middle = _density(x) * total
    return Decimal("0.5") - middle * (1 + 2 * _SLACK), Decimal("0.5") - middle * (1 - _SLACK)


def _by_fraction(x: Decimal) -> Bounds:
    """density(x) / (x + 1 / (x + 2 / (x + 3 / ...))) (Laplace): what stands below step n is between x and x + n / x,
    and all of it is monotonous in that."""
    steps = 30 + int(6000 / (x * x))
    ends = []
    for tail in (x, x + steps / x):
        value = tail
        for k in range(steps - 1, 0, -1):
            value = x + k / value
        ends.append(_density(x) / value)
    return min(ends) * (1 - _SLACK), max(ends) * (1 + _SLACK)


def _density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / (2 * _PI).sqrt()


def _decimal(value: Fraction) -> Bounds:
    quotient = Decimal(value.numerator) / Decimal(value.denominator)
    return _lowered(quotient), _raised(quotient)


def _raised(value: Decimal) -> Decimal:
    return value + abs(value) * _SLACK


def _lowered(value: Decimal) -> Decimal:
    return value - abs(value) * _SLACK
