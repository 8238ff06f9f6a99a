"""What noise hides: its bounds and the account of a budget (spec 4.10, 10.4, 10.5), to a hundred digits."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath

from tests.independent.encoding import Body

DIGITS = 100
LARGEST_EPSILON = 1024
EPSILON_UNIT, DELTA_UNIT = 10**6, 10**12
LOSS = Fraction(1, 2**100)
LATTICE_VARIANCE, LEAST_VARIANCE, LEAST_FLOOR = 22, 64, 16

Number = mpmath.mpf


def exact(value: Fraction) -> Number:
    return mpmath.mpf(value.numerator) / value.denominator


def cells_of(d: int) -> tuple[int, int]:
    """Cells of the data rows, and of a group (5.1)."""
    bits = 4
    while 4**bits < d:
        bits += 1
    return -(-d // 2**bits) * 2**bits, min(64, 2**bits)


def tail(cells: int, energy: Fraction) -> Number:
    """The bound of Lemma 7 for `energy` times the mean; 1 at the mean."""
    a = exact(energy)
    return mpmath.exp(-mpmath.mpf(cells) / 2 * (a - 1 - mpmath.log(a)))


def deviation(policy: Body) -> Number:
    """`deviation` of 10.4."""
    noise = policy["noise"]
    cells, group = cells_of(policy["dimension"])
    variance = Fraction(noise["variance"], noise["variance_divisor"])
    found = (cells // group) * tail(group, max(Fraction(1), noise["group_bound"] ** 2 / (group * variance)))
    found += tail(cells, min(Fraction(1), noise["floor"] / (cells * variance)))
    found += tail(cells, max(Fraction(1), noise["ceiling"] / (cells * variance)))
    return found + mpmath.mpf(2) ** -110 + mpmath.mpf(2**24 + 9 * cells**2) / 2**128


def eta(policy: Body) -> Number:
    """Over all submissions that there can be (4.10)."""
    return 2 * policy["max_rounds"] * len(policy["roster"]) * deviation(policy)


def curve(mu: Number, epsilon: Number) -> Number:
    """delta_G of 10.5."""
    first = mpmath.ncdf(mu / 2 - epsilon / mu)
    return first - mpmath.exp(epsilon) * mpmath.ncdf(-mu / 2 - epsilon / mu)


def mu_squared(policy: Body, rounds: int) -> Number:
    noise = policy["noise"]
    sensitivity = policy["weights"]["largest"] * policy["update"]["norm_bound"]
    variance = noise["honest"] * Fraction(noise["variance"], noise["variance_divisor"]) - LATTICE_VARIANCE
    return exact(Fraction(rounds * sensitivity**2) / variance)


def budget(policy: Body) -> tuple[Fraction, Fraction]:
    """epsilon and delta."""
    said = policy["privacy_budget"]
    return Fraction(said["epsilon_millionths"], EPSILON_UNIT), Fraction(said["delta_trillionths"], DELTA_UNIT)


def holds(policy: Body, epsilon: Fraction, rounds: int) -> bool:
    """Whether this epsilon is proved, with the budget's delta, for a client in so many closed cohorts (10.5)."""
    with mpmath.workdps(DIGITS):
        delta, rare = exact(budget(policy)[1]), eta(policy)
        e = min(exact(epsilon), mpmath.log(delta / (2 * rare)))
        if e <= 0:
            return False
        ideal = (1 + 2 * exact(LOSS)) * curve(mpmath.sqrt(mu_squared(policy, rounds)), e - 2 * exact(LOSS))
        return bool(ideal + mpmath.exp(e) * rare <= delta * (1 - rare))


def rare_enough(policy: Body) -> bool:
    """2 e^epsilon eta <= delta."""
    with mpmath.workdps(DIGITS):
        epsilon, delta = budget(policy)
        return bool(2 * mpmath.exp(exact(epsilon)) * eta(policy) <= exact(delta))


def rounds_each(policy: Body) -> int:
    """K: the most rounds, up to max_rounds, that the budget has room for (4.10)."""
    low, high = 0, min(policy["max_rounds"], 2**16)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(policy, budget(policy)[0], middle) else (low, middle - 1)
    return low


def conditions(policy: Body) -> list[tuple[str, bool]]:
    """Those of 4.2 on noise and budget."""
    noise, said = policy["noise"], policy["privacy_budget"]
    if noise is None and said is None:
        return []
    if noise is None or said is None:
        return [("noise-budget", False)]
    variance, divisor = noise["variance"], noise["variance_divisor"]
    clients = {member["id"] for member in policy["roster"]}
    both = sum(member["id"] in clients for member in policy["trustees"])
    cells, group = cells_of(policy["dimension"])
    epsilon, delta = budget(policy)
    found = [
        ("noise-rule", noise["rule"] == "discrete-gaussian"),
        ("noise-by", noise["by"] == "clients"),
        ("noise-honest", noise["honest"] >= 1),
        ("noise-adders", noise["honest"] + min(both, policy["corrupt"]) <= policy["min_cohort"]),
        ("noise-weights", policy["weights"]["kind"] != "private"),
        ("noise-proof", policy["lattice"]["encryption_proof"]),
        ("noise-fraction", math.gcd(variance, divisor) == 1),
        ("noise-divisor", divisor >= 1),
        ("noise-variance", variance >= LEAST_VARIANCE * divisor),
        ("noise-variance-limit", variance <= divisor << 48),
        ("noise-group", noise["group_bound"] ** 2 * divisor > group * variance),
        ("noise-floor", noise["floor"] * divisor < cells * variance),
        ("noise-floor-least", noise["floor"] >= LEAST_FLOOR * cells),
        ("noise-ceiling", noise["ceiling"] * divisor > cells * variance),
        ("noise-scale", policy["lattice"]["plaintext_scale"] == 1),
        ("budget-epsilon", 0 < epsilon <= LARGEST_EPSILON),
        ("budget-delta", 0 < delta < 1),
    ]
    if all(each for _, each in found):
        found += [("noise-deviation", rare_enough(policy)), ("budget-rounds", rounds_each(policy) >= 1)]
    return found
