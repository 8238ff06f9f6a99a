"""How much noise a budget asks for, and the smallest modulus that carries it (spec 4.3, not normative)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, isqrt, log2

from proofs.encryption import NOISE_BOUND
from proofs.errors import Misuse
from protocols.encoding import INTEGER_LIMIT
from protocols.lattice.parameters import DEGREE, MODULI, SIGMA_TENTHS, SMALL_MODULI, TAIL
from protocols.noise import DISCRETE_GAUSSIAN, SUBMISSIONS, delta_of, epsilon_of, noise_cells
from protocols.noise_trustees import CLIENTS, TRUSTEES
from protocols.parameters import KEY_DIGIT_LIMIT, message_bound, widest_noise
from protocols.policy import AddedNoise, LatticeRule, NoiseLaw, Policy, PrivacyBudget
from protocols.privacy.accounting import LEAST_VARIANCE, NoiseRule
from protocols.privacy.energy import tightest_bounds
from protocols.privacy.normal import exponential_bound
from protocols.privacy.sampler import LARGEST_VARIANCE

LEAST_NORM_BOUND = 2**8
ROUNDING = 4  # B >= 4 sqrt(d): rounding to whole units adds a quarter percent to the norm
_SHARE = 2**10  # of delta, that all deviations of honest noise may take


def least_norm_bound(dimension: int) -> int:
    """The least B that noise is derived for, in units: sigma is a multiple of it, and the modulus grows with both."""
    return max(LEAST_NORM_BOUND, ROUNDING * (isqrt(dimension - 1) + 1))


def with_noise(policy: Policy, budget: PrivacyBudget, honest: int, rounds: int, by: str = CLIENTS) -> Policy:
    """The policy with the least noise that lets each client be in `rounds` closed cohorts, `honest` adders in each, and
    the smallest modulus that carries it.

    policy: of a sound policy all but noise, budget and lattice, which are replaced. by: clients, or trustees, who are
    all in the roster then. Raises Misuse where no noise, no
    bounds on it, or no modulus fits.
    """
    noise = derive_noise(policy, budget, honest, rounds, by)
    return replace(policy, noise=noise, privacy_budget=budget, lattice=_lattice(policy, noise))


def derive_noise(policy: Policy, budget: PrivacyBudget, honest: int, rounds: int, by: str = CLIENTS) -> AddedNoise:
    """The noise alone; see `with_noise`."""
    rare = delta_of(budget) / (_SHARE * exponential_bound(epsilon_of(budget)))
    submissions = SUBMISSIONS * policy.max_rounds * len(policy.roster)
    variance = _least_variance(policy, budget, honest, rounds, rare)
    bits = ceil(log2(submissions * 4 / rare))  # groups, floor and ceiling, and less than one of them for the rest
    numbers = _law(policy, variance, bits)
    return AddedNoise(DISCRETE_GAUSSIAN, by, *numbers, honest, _own(policy, bits) if by == TRUSTEES else None)


def _own(policy: Policy, bits: int) -> NoiseLaw:
    """The least noise for a client's own, of which bounds can tell; of few cells they tell only what is larger."""
    for doublings in range(LARGEST_VARIANCE.numerator.bit_length()):
        try:
            return NoiseLaw(*_law(policy, LEAST_VARIANCE << doublings, bits))
        except Misuse as error:
            refused = error
    raise refused


def _law(policy: Policy, variance: int, bits: int) -> tuple[int, int, int, int, int]:
    """The numbers of a law: bounds that hold but with 2^-bits each."""
    found = tightest_bounds(*noise_cells(policy.dimension), Fraction(variance), bits)
    if found.ceiling >= INTEGER_LIMIT:
        raise Misuse(f"noise: the energy of all cells, {found.ceiling}, must be below 2^63: use fewer fraction_bits")
    return variance, 1, found.group_bound, found.floor, found.ceiling


def _least_variance(policy: Policy, budget: PrivacyBudget, honest: int, rounds: int, rare: Fraction) -> int:
    sensitivity = policy.weights.largest * policy.update.norm_bound
    epsilon, delta = epsilon_of(budget), delta_of(budget)

    def enough(variance: int) -> bool:
        return NoiseRule(sensitivity, Fraction(variance), honest, delta, rare).holds(epsilon, rounds)

    low, high = LEAST_VARIANCE, int(LARGEST_VARIANCE)
    if not enough(high):
        raise Misuse(
            f"noise: no sigma up to 2^24 units hides {sensitivity} of them in {rounds} rounds with epsilon "
            f"{float(epsilon):g}: use fewer rounds, a larger epsilon, or fewer fraction_bits"
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low


def _lattice(policy: Policy, noise: AddedNoise) -> LatticeRule:
    most = (KEY_DIGIT_LIMIT - 1) // NOISE_BOUND
    if policy.max_cohort > most:
        raise Misuse(f"max_cohort must be between 2 and {most}, not {policy.max_cohort}")
    bound = policy.weights.largest * message_bound(policy.update) + widest_noise(noise)
    needed = 2 * policy.max_cohort * bound
    for modulus in (*SMALL_MODULI, *MODULI):
        if needed < modulus:
            return LatticeRule(DEGREE, modulus, 1, SIGMA_TENTHS, TAIL, encryption_proof=True)
    raise Misuse(
        f"no modulus is large enough: 2 n (W max|m| + E_n) = {needed} must be below {MODULI[-1]}; use fewer "
        "fraction_bits, or a smaller max_cohort"
    )
