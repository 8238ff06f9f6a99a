"""Epsilon: never below the truth or below other accountants, and next to it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import mpmath
import pytest

from proofs.errors import Misuse
from protocols.privacy.accounting import (
    EPSILON_STEP,
    NoiseRule,
    honest_adders,
)

GRID = [
    (NoiseRule(sensitivity, Fraction(sigma) ** 2, adders, Fraction(1, 10**digits), Fraction(0)), rounds)
    for sensitivity, sigma, adders in (
        (256, "1744", 3),
        (256, "281", 3),
        (4000, "2384.5", 60),
        (1, "8", 2),
        (40, "8", 1),
    )
    for digits in (3, 9)
    for rounds in (1, 1000)
]
RULE = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(1, 2**60))


@pytest.fixture(autouse=True)
def digits() -> Iterator[None]:
    with mpmath.workdps(60):
        yield


def delta_of_discrete_noise(rule: NoiseRule, epsilon: mpmath.mpf) -> mpmath.mpf:
    """Of one round and one coordinate, summed over all integers that matter: sum of max(0, p(x - B) - e^epsilon p(x))
    with p the law of h discrete Gaussians added up. No theorem is used."""
    sigma = mpmath.sqrt(mpmath.mpf(rule.variance.numerator) / rule.variance.denominator)
    reach = int(14 * sigma * math.sqrt(rule.adders)) + rule.sensitivity
    one = {x: mpmath.exp(-(mpmath.mpf(x) ** 2) / (2 * sigma**2)) for x in range(-reach, reach + 1)}
    law = one
    for _ in range(rule.adders - 1):
        law = {x: sum(law[y] * one.get(x - y, 0) for y in law if abs(x - y) < 14 * sigma) for x in one}
    total = sum(law.values())
    weight = mpmath.exp(epsilon)
    gaps = (law.get(x - rule.sensitivity, 0) - weight * mass for x, mass in law.items())
    return sum(gap for gap in gaps if gap > 0) / total


def true_epsilon(rule: NoiseRule, rounds: int) -> mpmath.mpf:
    """The root of the curve of continuous noise of variance h sigma^2, which no proof gets for discrete noise: less
    than what is claimed."""
    variance = rule.adders * mpmath.mpf(rule.variance.numerator) / rule.variance.denominator
    mu = mpmath.sqrt(rounds * rule.sensitivity**2 / variance)
    wanted = mpmath.mpf(rule.delta.numerator) / rule.delta.denominator
    low, high = mpmath.mpf(0), mpmath.mpf(4096)
    for _ in range(60):
        middle = (low + high) / 2
        value = mpmath.ncdf(mu / 2 - middle / mu) - mpmath.exp(middle) * mpmath.ncdf(-mu / 2 - middle / mu)
        low, high = (middle, high) if value > wanted else (low, middle)
    return low


def rdp_epsilon(rule: NoiseRule, rounds: int) -> float:
    """Another accountant: zCDP, converted as by Canonne, Kamath, Steinke (2020, proposition 12) at many orders."""
    rho = rounds * rule.sensitivity**2 / float(2 * rule.adders * rule.variance)
    orders = [1 + 2 ** (k / 4) for k in range(-24, 45)]
    delta = float(rule.delta)
    return min(rho * a + math.log1p(-1 / a) - math.log(delta * a) / (a - 1) for a in orders)


@pytest.mark.parametrize(("rule", "rounds"), GRID)
def test_epsilon_over_a_grid(rule: NoiseRule, rounds: int) -> None:
    """At least what continuous noise of the same variance gives; more by the 22 that the lattice keeps, and a step."""
    found, truth = rule.epsilon(rounds), true_epsilon(rule, rounds)
    if truth > 1024:
        assert found is None
        return
    assert found is not None
    excess = mpmath.mpf(22 / float(rule.adders * rule.variance - 22)) * 1.01
    assert truth <= mpmath.mpf(found.numerator) / found.denominator <= truth * (1 + excess) + 2 * float(EPSILON_STEP)


@pytest.mark.parametrize(("rule", "rounds"), [each for each in GRID if each[0].variance > 64])
def test_epsilon_is_less_than_by_renyi_divergences(rule: NoiseRule, rounds: int) -> None:
    found = rule.epsilon(rounds)
    assert found is None or float(found) <= rdp_epsilon(rule, rounds)


def test_more_rounds_than_are_bounded_are_refused() -> None:
    assert not RULE.holds(Fraction(1), 2**16)
    with pytest.raises(Misuse, match="rounds: expected at most 65536"):
        RULE.holds(Fraction(1024), 2**16 + 1)


@pytest.mark.parametrize(("sensitivity", "adders", "digits"), [(3, 1, 3), (8, 1, 6), (20, 1, 9), (8, 2, 4)])
def test_what_holds_for_discrete_noise_itself(sensitivity: int, adders: int, digits: int) -> None:
    rule = NoiseRule(sensitivity, Fraction(64), adders, Fraction(1, 10**digits), Fraction(0))
    found = rule.epsilon(1)
    assert found is not None
    delta = delta_of_discrete_noise(rule, mpmath.mpf(found.numerator) / found.denominator)
    assert delta <= mpmath.mpf(10) ** -digits


def test_budget_and_epsilon_agree() -> None:
    for rounds in (1, 2, 9, 50):
        epsilon = RULE.epsilon(rounds)
        assert epsilon is not None
        assert RULE.rounds_within(epsilon, 2**16) == rounds
        assert RULE.rounds_within(epsilon - EPSILON_STEP, 2**16) == rounds - 1
    assert RULE.rounds_within(Fraction(1024), 7) == 7
    assert RULE.epsilon(0) == 0


def test_a_deviation_counts() -> None:
    """e^epsilon times it comes off delta; where nothing is left of that, nothing is claimed."""
    ideal = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(0))
    worse = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(1, 10**7))
    first, second = ideal.epsilon(10), worse.epsilon(10)
    assert first is not None
    assert second is not None
    assert 0.01 < second - first < 0.5
    lost = NoiseRule(256, Fraction(650**2), 3, Fraction(1, 10**5), Fraction(1, 10**5))
    assert lost.epsilon(10) is None
    assert not lost.holds(Fraction(1024), 1)
    assert worse.holds(Fraction(1024), 10)


def test_honest_adders() -> None:
    assert honest_adders(8, 5) == 3
    assert honest_adders(5, 0, 2) == 3
    assert honest_adders(8, 4, 2) == 2
    for missing in ((3, 3, 0), (3, 1, 2), (3, -1, 0)):
        with pytest.raises(Misuse, match="expected an honest adder in every cohort"):
            honest_adders(*missing)


@pytest.mark.parametrize(
    "change",
    [
        {"sensitivity": 0},
        {"adders": 0},
        {"adders": 2**13 + 1},
        {"variance": Fraction(63)},
        {"delta": Fraction(1)},
        {"deviation": Fraction(1)},
    ],
)
def test_rules_out_of_range_are_refused(change: dict[str, Fraction | int]) -> None:
    values = {
        "sensitivity": 1,
        "variance": Fraction(64),
        "adders": 1,
        "delta": Fraction(1, 2),
        "deviation": Fraction(0),
    }
    with pytest.raises(Misuse):
        NoiseRule(**{**values, **change})  # type: ignore[arg-type]  # by name
