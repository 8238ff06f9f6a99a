"""Conditions on a policy with noise (spec 4.2): that it hides what its budget says, and can be proved and opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from math import gcd

from proofs.errors import Misuse
from protocols.conditions import Inequality
from protocols.noise import (
    DISCRETE_GAUSSIAN,
    clients_with_rounds,
    delta_of,
    deviation_of,
    epsilon_of,
    former_rounds,
    noise_cells,
)
from protocols.noise_trustees import CLIENTS, TRUSTEES, noise_needed, noise_trustees
from protocols.policy import AddedNoise, FormerBudget, NoiseLaw, Policy, PrivacyBudget
from protocols.privacy.accounting import LEAST_VARIANCE, MOST_ROUNDS
from protocols.privacy.energy import LEAST_FLOOR
from protocols.privacy.normal import LARGEST_EPSILON, exponential_bound
from protocols.privacy.sampler import LARGEST_VARIANCE
from protocols.weights import PRIVATE


def noise_conditions(policy: Policy) -> list[Inequality]:
    """None where there is neither noise nor a budget. Total on any decoded policy."""
    noise, budget = policy.noise, policy.privacy_budget
    if noise is None and budget is None:
        return []
    if noise is None or budget is None:
        return [Inequality("noise-budget", 1, "=", 2, "noise and a budget go together")]
    return [
        Inequality("noise-budget", 2, "=", 2, "noise and a budget go together"),
        *_adder_conditions(policy, noise),
        *_variance_conditions(noise),
        *_bound_conditions(policy, noise),
        *_error_conditions(policy, noise),
        *_budget_conditions(policy, budget),
    ]


def _adder_conditions(policy: Policy, noise: AddedNoise) -> list[Inequality]:
    known = int(noise.rule == DISCRETE_GAUSSIAN)
    hidden = "the exact sum of hidden weights would be published without noise"
    return [
        Inequality("noise-rule", known, "=", 1, f"the noise is {DISCRETE_GAUSSIAN}"),
        Inequality("noise-by", int(noise.by in (CLIENTS, TRUSTEES)), "=", 1, f"it is added by {CLIENTS} or {TRUSTEES}"),
        Inequality("noise-honest", noise.honest, ">=", 1, "an adder of every cohort is honest"),
        *(_of_trustees(policy) if noise.by == TRUSTEES else _of_clients(policy, noise)),
        Inequality("noise-weights", int(policy.weights.kind == PRIVATE.name), "=", 0, hidden),
        Inequality("noise-proof", int(policy.lattice.encryption_proof), "=", 1, "the noise of each adder is proved"),
    ]


def _of_clients(policy: Policy, noise: AddedNoise) -> list[Inequality]:
    clients = {member.id for member in policy.roster}
    both = min(policy.corrupt, sum(member.id in clients for member in policy.trustees))
    enough = "the smallest cohort has h honest adders, and the corrupt trustees that are clients"
    alone = "clients have no noise beside what they add"
    return [
        Inequality("noise-adders", noise.honest + both, "<=", policy.min_cohort, enough),
        Inequality("noise-error", int(noise.error is None), "=", 1, alone),
    ]


def _of_trustees(policy: Policy) -> list[Inequality]:
    trustees, noise = len(policy.trustees), policy.noise
    named = len(noise_trustees(policy))
    asked = len(policy.roster) if policy.per_round is None else policy.per_round + trustees
    own = "clients have noise of their own, which is the error of their encryption"
    enough = "h honest trustees, and f others, can add noise"
    return [
        Inequality("noise-adders", noise_needed(policy), "<=", trustees, enough),
        Inequality("noise-error", int(noise is not None and noise.error is not None), "=", 1, own),
        Inequality("noise-trustees", named, "=", trustees, "every trustee is in the roster, to submit its noise"),
        Inequality("noise-room", asked, "<=", policy.max_cohort, "nobody who is asked is kept out by others"),
    ]


def _error_conditions(policy: Policy, noise: AddedNoise) -> list[Inequality]:
    """The same of the noise that is each client's own."""
    if noise.error is None:
        return []
    found = [*_variance_conditions(noise.error), *_bound_conditions(policy, noise.error)]
    return [replace(each, name=each.name.replace("noise-", "error-")) for each in found]


def _variance_conditions(noise: AddedNoise | NoiseLaw) -> list[Inequality]:
    variance, divisor = noise.variance, noise.variance_divisor
    most = int(LARGEST_VARIANCE) * divisor
    return [
        Inequality("noise-fraction", gcd(variance, divisor), "=", 1, "sigma^2 is in lowest terms"),
        Inequality("noise-divisor", divisor, ">=", 1, "sigma^2 is a number"),
        Inequality("noise-variance", variance, ">=", LEAST_VARIANCE * divisor, "sigma^2 >= 64: noise hides a key, too"),
        Inequality("noise-variance-limit", variance, "<=", most, "sigma^2 is at most 2^48"),
    ]


def _bound_conditions(policy: Policy, noise: AddedNoise | NoiseLaw) -> list[Inequality]:
    try:
        cells, group = noise_cells(policy.dimension)
    except Misuse:
        cells, group = 0, 0
    mean = cells * noise.variance
    squares = noise.group_bound**2 * noise.variance_divisor
    floor, ceiling = noise.floor * noise.variance_divisor, noise.ceiling * noise.variance_divisor
    return [
        Inequality("noise-group", squares, ">", group * noise.variance, "E_n^2 is above the mean energy of a group"),
        Inequality("noise-floor", floor, "<", mean, "L is below the mean energy of all cells"),
        Inequality("noise-floor-least", noise.floor, ">=", LEAST_FLOOR * cells, "L is 16 a cell or more"),
        Inequality("noise-ceiling", ceiling, ">", mean, "U is above the mean energy of all cells"),
    ]


def _budget_conditions(policy: Policy, budget: PrivacyBudget) -> list[Inequality]:
    epsilon = epsilon_of(budget)
    within = int(0 < epsilon <= LARGEST_EPSILON)
    rare = "honest noise breaks its bounds so seldom that e^epsilon eta is at most half of delta"
    enough = "a cohort of clients has budget left for a round"
    return [
        Inequality("budget-epsilon", within, "=", 1, f"epsilon is above 0, at most {LARGEST_EPSILON}"),
        Inequality("budget-delta", int(0 < delta_of(budget) < 1), "=", 1, "delta is between 0 and 1"),
        Inequality("noise-deviation", int(_defined(lambda: _seldom(policy, budget))), "=", 1, rare),
        Inequality("budget-former", int(_orderly(policy, budget)), "=", 1, "former budgets are counted in one way"),
        Inequality("budget-rounds", _able(policy), ">=", policy.min_cohort, enough),
    ]


def _orderly(policy: Policy, budget: PrivacyBudget) -> bool:
    """Each former budget has a rule that can be counted by, and each client once, ascending, in a cohort or more."""
    if budget.former and policy.previous is None:
        return False
    for former in budget.former:
        names = [each.client for each in former.charges]
        counted = all(1 <= each.cohorts <= MOST_ROUNDS for each in former.charges)
        lowest = gcd(former.variance, former.variance_divisor) == 1
        if any(later <= earlier for earlier, later in pairwise(names)) or not counted or not lowest:
            return False
        if not _defined(partial(_can_be_counted, former)):
            return False
    return True


def _can_be_counted(former: FormerBudget) -> bool:
    return former_rounds(former, Fraction(1, 2)).rule.deviation > 0 and former.own_variance >= LEAST_VARIANCE


def _seldom(policy: Policy, budget: PrivacyBudget) -> bool:
    epsilon = min(epsilon_of(budget), Fraction(LARGEST_EPSILON))
    former = sum(
        (Fraction(1, 2**each.deviation_bits) for each in budget.former if each.deviation_bits > 0), Fraction(0)
    )
    return 2 * exponential_bound(epsilon) * (deviation_of(policy) + former) <= delta_of(budget)


def _able(policy: Policy) -> int:
    try:
        return clients_with_rounds(policy)
    except Misuse:
        return 0


def _defined(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except Misuse:
        return False
