"""Who adds which noise to a sum, and what of the budget it leaves (spec 4.10): what a policy says of it, as numbers.

The account itself is `protocols.privacy.accounting`; here is the one place that says what of a policy goes into it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb

from proofs.encryption import GROUP_SIZE
from proofs.errors import Misuse
from proofs.shape import TableShape
from protocols.noise_trustees import noise_trustees, training_clients
from protocols.policy import AddedNoise, FormerBudget, FormerCharge, NoiseLaw, Policy, PrivacyBudget
from protocols.privacy.accounting import MOST_ADDERS, MOST_ROUNDS, NoiseRule
from protocols.privacy.budgets import Budget, FormerRounds
from protocols.privacy.energy import EnergyBounds
from protocols.privacy.normal import LARGEST_EPSILON, exponential_bound

DISCRETE_GAUSSIAN = "discrete-gaussian"
EPSILON_UNIT, DELTA_UNIT = Fraction(1, 10**6), Fraction(1, 10**12)
MOST_DEVIATION_BITS = 1024
MARGIN_BITS = 128  # of the estimate, that are left when all guesses are taken off (spec 11.4)
SUBMISSIONS = 2  # of a client in a round, at most: another where its store was lost


def law_of(noise: AddedNoise, weight: int) -> AddedNoise | NoiseLaw:
    """By what law a message of this weight has its noise: of clients, where trustees add what counts, another."""
    return noise if weight == 0 or noise.error is None else noise.error


def variance_of(noise: AddedNoise | NoiseLaw) -> Fraction:
    """sigma^2, in units^2; raises Misuse for 0, or a divisor of 0."""
    if noise.variance == 0 or noise.variance_divisor == 0:
        found = f"{noise.variance} / {noise.variance_divisor}"
        raise Misuse(f"variance of noise: expected above 0, found {found}")
    return Fraction(noise.variance, noise.variance_divisor)


def bounds_of(noise: AddedNoise | NoiseLaw) -> EnergyBounds:
    """What everybody's noise by this law is proved to be within."""
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
    own, of_trustees = law_of(noise, 1), len(noise_trustees(policy))
    once = (len(policy.roster) - of_trustees) * _deviation(policy, own)
    if of_trustees:
        once += of_trustees * _deviation(policy, noise)
    return SUBMISSIONS * policy.max_rounds * once


def _deviation(policy: Policy, noise: AddedNoise | NoiseLaw) -> Fraction:
    """Of one submission."""
    return bounds_of(noise).deviation(*noise_cells(policy.dimension), variance_of(noise))


def guesses_of(policy: Policy) -> int:
    """The bits that the proof takes off the estimate of RLWE, for a server that chooses the cohort last (spec 11.4):
    log2, rounded up, of 2 (1 + e^epsilon) 2 (ways + 1) (h + 2 n) rounds. Raises Misuse without noise, and for more
    than 2^13 clients or an epsilon out of range."""
    noise, budget = _both(policy)
    roster, honest, epsilon = len(policy.roster), noise.honest, epsilon_of(budget)
    if roster > MOST_ADDERS or not 0 < epsilon <= LARGEST_EPSILON:
        found = f"{roster} and {float(epsilon):g}"
        raise Misuse(f"expected up to {MOST_ADDERS} clients and epsilon up to {LARGEST_EPSILON}, found {found}")
    asked = roster if policy.per_round is None else min(policy.per_round, roster)
    ways = comb(asked - 1, honest - 1) if min(asked, honest) >= 1 else 0
    if adding := len(noise_trustees(policy)):
        ways = comb(adding, honest)
    factor = 4 * (1 + exponential_bound(epsilon)) * (ways + 1) * (honest + 2 * roster) * policy.max_rounds
    return (ceil(factor) - 1).bit_length() if factor > 1 else 0


def colluding_clients(policy: Policy, honest: int) -> int | None:
    """For how many clients that collude the noise is enough, with h honest ones in a smallest cohort, beside corrupt
    trustees that are clients: of the whole roster, as the server chooses whom it hears.
    None where trustees add the noise: for any."""
    if noise_trustees(policy):
        return None
    clients = {member.id for member in policy.roster}
    both = min(policy.corrupt, sum(member.id in clients for member in policy.trustees))
    return max(policy.min_cohort - honest - both, 0)


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
    former = [former_rounds(each, delta_of(policy.privacy_budget)) for each in policy.privacy_budget.former]
    most = min(policy.max_rounds, MOST_ROUNDS)
    return Budget(account_of(policy), epsilon_of(policy.privacy_budget), most, former, own_variance(policy))


def own_variance(policy: Policy) -> Fraction:
    """sigma^2 of the noise that is a client's own: what is left to it of all noise if everybody else's is known."""
    return variance_of(law_of(_both(policy)[0], 1))


def former_rounds(former: FormerBudget, delta: Fraction) -> FormerRounds:
    """What was charged by a former federation's rule; raises Misuse for numbers out of range. delta: of this one."""
    if former.variance_divisor < 1 or not 0 < former.deviation_bits <= MOST_DEVIATION_BITS:
        found = f"{former.variance_divisor} and {former.deviation_bits}"
        raise Misuse(f"former budget: expected a divisor and bits of a deviation, found {found}")
    variance, deviation = Fraction(former.variance, former.variance_divisor), Fraction(1, 2**former.deviation_bits)
    rule = NoiseRule(former.sensitivity, variance, former.honest, delta, deviation)
    return FormerRounds(rule, {each.client: each.cohorts for each in former.charges}, Fraction(former.own_variance))


def carried_budgets(policy: Policy, charges: Mapping[str, int]) -> tuple[FormerBudget, ...]:
    """PrivacyBudget.former of a policy that goes on from a federation with this one (spec 4.8): of all clients, as one
    that is in no roster now may be in a later one.

    charges: in how many closed cohorts of that federation each client is; trustees who add noise are not charged. None
    where it has no budget. Raises Misuse as `account_of` does.
    """
    noise, budget = policy.noise, policy.privacy_budget
    if noise is None or budget is None:
        return ()
    rule, fraction = account_of(policy), variance_of(noise)
    numbers = (rule.sensitivity, fraction.numerator, fraction.denominator, rule.adders, _bits_of(rule.deviation))
    own_noise = math.floor(own_variance(policy))
    spent = {client: charges[client] for client in charges.keys() - noise_trustees(policy) if charges[client]}
    own = tuple(FormerCharge(client, cohorts) for client, cohorts in sorted(spent.items()))
    return (*budget.former, FormerBudget(policy.federation, *numbers, own_noise, own))


def _bits_of(deviation: Fraction) -> int:
    """The largest k for which 2^-k is at least this, which is above 0 and below 1."""
    return (deviation.denominator // deviation.numerator).bit_length() - 1


def rounds_each(policy: Policy) -> int:
    """K: in how many closed cohorts each client may be that spent nothing before, max_rounds at most. Raises Misuse as
    `account_of` does, and for an epsilon out of range."""
    return _allowances(policy).rounds("")


@lru_cache(maxsize=64)
def _allowances(policy: Policy) -> Budget:
    _both(policy)
    budget = budget_of(policy)
    if budget is None:
        raise Misuse("expected a policy with a privacy budget, found one without")
    return budget


def clients_with_rounds(policy: Policy) -> int:
    """How many clients of the roster may be in a cohort, with what they spent before; raises as `rounds_each`."""
    budget = _allowances(policy)
    return sum(budget.rounds(member.id) >= 1 for member in training_clients(policy))


def _both(policy: Policy) -> tuple[AddedNoise, PrivacyBudget]:
    if policy.noise is None or policy.privacy_budget is None:
        raise Misuse("expected a policy with noise and a privacy budget, found one without")
    return policy.noise, policy.privacy_budget
