"""A policy with noise, and policies of which one number of the noise is at an edge, or beyond it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from protocols.lattice.parameters import MODULI
from protocols.noise_derivation import with_noise
from protocols.noise_trustees import TRUSTEES
from protocols.policy import (
    FormerBudget,
    FormerCharge,
    FormerFederation,
    Member,
    Policy,
    PrivacyBudget,
    WeightRule,
)
from tests.protocols.test_parameters import sound

BUDGET = PrivacyBudget(8_000_000, 10_000_000)  # epsilon 8, delta 10^-5
ROUNDS, HONEST = 5, 3
_EXACT = sound(dimension=650, clip=1.0)
UNITS = replace(_EXACT, min_cohort=4, update=replace(_EXACT.update, norm_bound=2**8, fraction_bits=8))
NOISY = with_noise(UNITS, BUDGET, HONEST, ROUNDS)
CELLS = 672  # in groups of 32


def noise(**changes: Any) -> Policy:
    assert NOISY.noise is not None
    return replace(NOISY, noise=replace(NOISY.noise, **changes))


TRUSTED = with_noise(  # f = 2 of 5: h is 3 at most
    replace(UNITS, roster=(*UNITS.roster, *UNITS.trustees), max_cohort=len(UNITS.roster) + 5),
    BUDGET,
    2,
    ROUNDS,
    TRUSTEES,
)
assert TRUSTED.noise is not None
TRUSTED_NOISE = TRUSTED.noise


def trusted(**changes: Any) -> Policy:
    """With noise of trustees."""
    return replace(TRUSTED, noise=replace(TRUSTED_NOISE, **changes))


def error(**changes: Any) -> Policy:
    """The same with other noise of clients."""
    assert TRUSTED_NOISE.error is not None
    return trusted(error=replace(TRUSTED_NOISE.error, **changes))


def budget(**changes: int) -> Policy:
    return replace(NOISY, privacy_budget=replace(BUDGET, **changes))


def lattice(**changes: Any) -> Policy:
    return replace(NOISY, lattice=replace(NOISY.lattice, **changes))


def _number(name: str) -> int:
    value = getattr(NOISY.noise, name)
    assert isinstance(value, int)
    return value


V, E, L, U = (_number(name) for name in ("variance", "group_bound", "floor", "ceiling"))
MEAN = CELLS * V
TWO_ROLES = (Member("client0", NOISY.roster[0].public_key), *NOISY.trustees[1:])
FULL = 2 * NOISY.max_cohort * (NOISY.update.norm_bound + E)
LINK = FormerFederation("before", bytes(32), 9, bytes(32))
CHARGES = (FormerCharge("client0", 2), FormerCharge("client3", 1), FormerCharge("gone", 2**16))
SPENT = tuple(FormerCharge(f"client{i}", 5) for i in range(len(NOISY.roster) - NOISY.min_cohort + 1))
FORMER = FormerBudget("before", 2**8, V, 1, HONEST, 90, V, CHARGES)


def former(**changes: Any) -> Policy:
    """The policy that goes on from another one with a budget, which says what was spent there."""
    said = replace(BUDGET, former=(replace(FORMER, **changes),))
    return replace(NOISY, previous=LINK, privacy_budget=said)


def crowd(clients: int, asked: int | None = None, epsilon: int = 8_000_000) -> Policy:
    """30 honest ones of a smallest cohort, and the largest modulus, whose estimate is 218 bits."""
    roster = tuple(Member(f"client{i:02}", bytes([100 + i]) * 32) for i in range(clients))
    sizes = replace(noise(honest=30), roster=roster, min_cohort=31, max_cohort=clients, per_round=asked)
    said = replace(BUDGET, epsilon_millionths=epsilon)
    return replace(sizes, lattice=replace(NOISY.lattice, modulus=MODULI[-1]), privacy_budget=said)


EDGES: list[tuple[str, Policy, Policy | None]] = [
    # the condition, a policy that fails it, and the one next to it that does not
    ("norm-bound-positive", replace(NOISY, update=replace(NOISY.update, norm_bound=0)), NOISY),
    ("weights-least", replace(NOISY, weights=replace(NOISY.weights, largest=0)), NOISY),
    ("noise-budget", replace(NOISY, privacy_budget=None), None),
    ("noise-budget", replace(NOISY, noise=None), None),
    ("noise-rule", noise(rule="gaussian"), NOISY),
    ("noise-by", noise(by="everybody"), NOISY),
    ("noise-by", trusted(by="everybody"), TRUSTED),
    ("noise-error", noise(error=TRUSTED_NOISE.error), NOISY),
    ("noise-error", trusted(error=None), TRUSTED),
    ("noise-adders", trusted(honest=4), trusted(honest=3)),
    ("noise-trustees", replace(TRUSTED, roster=NOISY.roster), TRUSTED),
    ("noise-trustees", replace(TRUSTED, roster=TRUSTED.roster[:-1]), TRUSTED),
    ("noise-room", replace(TRUSTED, max_cohort=len(TRUSTED.roster) - 1), TRUSTED),
    ("noise-room", replace(TRUSTED, per_round=5, max_cohort=9), replace(TRUSTED, per_round=5, max_cohort=10)),
    ("roster-size", replace(TRUSTED, min_cohort=len(NOISY.roster) + 1), replace(TRUSTED, min_cohort=len(NOISY.roster))),
    ("error-fraction", error(variance=128, variance_divisor=2), error(variance=129, variance_divisor=2)),
    ("error-divisor", error(variance=1, variance_divisor=0), TRUSTED),
    ("error-variance", error(variance=127, variance_divisor=2), error(variance=64)),
    ("error-variance-limit", error(variance=2**48 + 1), error(variance=2**48)),
    ("error-group", error(variance=6400, group_bound=452), error(variance=6400, group_bound=453)),
    ("error-floor", error(floor=CELLS * 64), error(floor=CELLS * 64 - 1)),
    ("error-floor-least", error(floor=16 * CELLS - 1), error(floor=16 * CELLS)),
    ("error-ceiling", error(ceiling=CELLS * 64), error(ceiling=CELLS * 64 + 1)),
    ("noise-deviation", error(ceiling=CELLS * 72), TRUSTED),
    ("budget-former", former(own_variance=63), former(own_variance=64)),
    ("noise-honest", noise(honest=0), noise(honest=1)),
    ("noise-adders", noise(honest=5), noise(honest=4)),
    ("noise-adders", replace(noise(honest=4), trustees=TWO_ROLES), replace(NOISY, trustees=TWO_ROLES)),
    ("noise-weights", replace(NOISY, weights=WeightRule("private", 1, "3ff0000000000000")), NOISY),
    ("noise-proof", lattice(encryption_proof=False), NOISY),
    ("noise-fraction", noise(variance=2 * V, variance_divisor=2), noise(variance=2 * V + 1, variance_divisor=2)),
    ("noise-divisor", noise(variance=1, variance_divisor=0), NOISY),
    ("noise-variance", noise(variance=127, variance_divisor=2), noise(variance=64)),
    ("noise-variance-limit", noise(variance=2**48 + 1), noise(variance=2**48)),
    ("noise-group", noise(variance=6400, group_bound=452), noise(variance=6400, group_bound=453)),
    ("noise-floor", noise(floor=MEAN), noise(floor=MEAN - 1)),
    ("noise-floor-least", noise(floor=16 * CELLS - 1), noise(floor=16 * CELLS)),
    ("noise-ceiling", noise(ceiling=MEAN), noise(ceiling=MEAN + 1)),
    ("noise-scale", lattice(plaintext_scale=2), NOISY),
    ("decryption", lattice(modulus=FULL), lattice(modulus=FULL + 1)),
    ("modulus", replace(UNITS, lattice=NOISY.lattice), NOISY),
    ("modulus", lattice(modulus=0xFFC001 - 8192), NOISY),
    ("noise-deviation", noise(ceiling=MEAN + MEAN // 8), NOISY),
    ("noise-deviation", noise(floor=MEAN - MEAN // 8), NOISY),
    ("noise-deviation", noise(group_bound=E // 2), NOISY),
    ("noise-hiding", crowd(72), crowd(71)),  # 2^91 and 2^90 guesses
    ("noise-hiding", crowd(90, asked=72), crowd(90, asked=71)),
    ("noise-hiding", crowd(71, epsilon=8_398_855), crowd(71, epsilon=8_398_854)),
    ("noise-hiding", replace(crowd(71), max_rounds=20), crowd(60)),
    ("budget-epsilon", budget(epsilon_millionths=0), budget(epsilon_millionths=1)),
    ("budget-epsilon", budget(epsilon_millionths=1024 * 10**6 + 1), budget(epsilon_millionths=1024 * 10**6)),
    ("budget-delta", budget(delta_trillionths=0), budget(delta_trillionths=1)),
    ("budget-delta", budget(delta_trillionths=10**12), budget(delta_trillionths=10**12 - 1)),
    ("budget-former", replace(former(), previous=None), former()),
    ("budget-former", former(variance=63), former(variance=64)),
    ("budget-former", former(variance=2 * V, variance_divisor=2), former(variance=2 * V + 1, variance_divisor=2)),
    ("budget-former", former(variance_divisor=0), former()),
    ("budget-former", former(sensitivity=0), former(sensitivity=1)),
    ("budget-former", former(honest=0), former(honest=1)),
    ("budget-former", former(honest=2**13 + 1), former(honest=2**13)),
    ("budget-former", former(deviation_bits=0), former()),
    ("budget-former", former(deviation_bits=1025), former(deviation_bits=1024)),
    ("budget-former", former(charges=CHARGES[::-1]), former(charges=CHARGES[:2])),
    ("budget-former", former(charges=(CHARGES[0], CHARGES[0])), former(charges=())),
    ("budget-former", former(charges=(FormerCharge("client0", 0),)), former(charges=(FormerCharge("client0", 1),))),
    ("budget-former", former(charges=(FormerCharge("gone", 2**16 + 1),)), former()),
    ("noise-deviation", former(deviation_bits=8), former(deviation_bits=40)),
    ("budget-rounds", former(charges=SPENT), former(charges=SPENT[:-1])),
    ("budget-rounds", budget(epsilon_millionths=2_000_000), budget(epsilon_millionths=5_000_000)),
    ("budget-rounds", noise(variance=V // 8), noise(variance=V)),
]
