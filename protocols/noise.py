"""Who adds which noise to a sum, and what of the budget it leaves (spec 4.10): what a policy says of it, as numbers.

The account itself is `protocols.privacy.accounting`; here is the one place that says what of a policy goes into it.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

from proofs.encryption import GROUP_SIZE
from proofs.errors import Misuse
from proofs.shape import TableShape
from protocols.policy import AddedNoise, Policy, PrivacyBudget
from protocols.privacy.accounting import MOST_ROUNDS, NoiseRule
from protocols.privacy.budgets import Budget
from protocols.privacy.energy import EnergyBounds

DISCRETE_GAUSSIAN = "discrete-gaussian"
CLIENTS = "clients"
TRUSTEES = "trustees"  # reserved: refused by this version
EPSILON_UNIT, DELTA_UNIT = Fraction(1, 10**6), Fraction(1, 10**12)
SUBMISSIONS = 2  # of a client in a round, at most: another where its store was lost


def variance_of(noise: AddedNoise) -> Fraction:
    """sigma^2, in units^2; raises Misuse for 0, or a divisor of 0."""
    if noise.variance == 0 or noise.variance_divisor == 0:
        found = f"{noise.variance} / {noise.variance_divisor}"
        raise Misuse(f"variance of noise: expected above 0, found {found}")
    return Fraction(noise.variance, noise.variance_divisor)


def bounds_of(noise: AddedNoise) -> EnergyBounds:
    """What every adder's noise is proved to be within."""
    return EnergyBounds(noise.group_bound, noise.floor, noise.ceiling)


def epsilon_of(budget: PrivacyBudget) -> Fraction:
    """The budget's epsilon."""
    return budget.epsilon_millionths * EPSILON_UNIT


def delta_of(budget: PrivacyBudget) -> Fraction:
    """The budget's delta."""
    return budget.delta_trillionths * DELTA_UNIT


def noise_cells(dimension: int) -> tuple[int, int]:
    """Cells that carry noise, padding included, and how many of them are a group; raises Misuse for d < 1."""
    shape = TableShape(dimension)
    return shape.data_cells, min(GROUP_SIZE, shape.columns)


def deviation_of(policy: Policy) -> Fraction:
    """eta: bounds the probability that anybody in the federation draws a noise that is not the ideal one, over all
    submissions that there can be (spec 10.5). Raises Misuse where it is not defined, or there is no noise."""
    noise, _ = _both(policy)
    each = bounds_of(noise).deviation(*noise_cells(policy.dimension), variance_of(noise))
    return SUBMISSIONS * policy.max_rounds * len(policy.roster) * each


def account_of(policy: Policy) -> NoiseRule:
    """What an epsilon is computed from, under this policy; raises Misuse without noise, or where a number of it is out
    of range."""
    noise, budget = _both(policy)
    sensitivity = policy.weights.largest * policy.update.norm_bound
    return NoiseRule(sensitivity, variance_of(noise), noise.honest, delta_of(budget), deviation_of(policy))


def budget_of(policy: Policy) -> Budget | None:
    """What each client may spend; None where the policy has no budget. Raises Misuse as `account_of` does."""
    if policy.privacy_budget is None:
        return None
    return Budget(account_of(policy), epsilon_of(policy.privacy_budget), min(policy.max_rounds, MOST_ROUNDS))


def rounds_each(policy: Policy) -> int:
    """K: in how many closed cohorts each client may be, max_rounds at most. Raises Misuse as `account_of` does, and for
    an epsilon out of range."""
    _, budget = _both(policy)
    return _rounds_within(account_of(policy), epsilon_of(budget), min(policy.max_rounds, MOST_ROUNDS))


@lru_cache(maxsize=64)
def _rounds_within(rule: NoiseRule, epsilon: Fraction, limit: int) -> int:
    return rule.rounds_within(epsilon, limit)


def _both(policy: Policy) -> tuple[AddedNoise, PrivacyBudget]:
    if policy.noise is None or policy.privacy_budget is None:
        raise Misuse("expected a policy with noise and a privacy budget, found one without")
    return policy.noise, policy.privacy_budget
