"""Epsilon from the policy and the log: one function for whoever plans, refuses or audits (spec 10.5).

The claim is of a client as the unit and of zero-out adjacency: two worlds that differ in one client's updates, all of
them zero in one. K cohorts with that client were closed; each costs the same, released or not. What is published about
it is then, up to what is computationally hidden (spec 11), a function of K draws of N(u, (s^2 - 22) I) with |u| <= B,
s^2 = h sigma^2, h the honest adders of noise: mu^2 = K B^2 / (h sigma^2 - 22).

Everything is rounded away from the truth, upward, and is the same digits everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from proofs.errors import Misuse
from protocols.privacy.normal import LARGEST_EPSILON, delta_bound, exponential_bound, logarithm_bounds

LATTICE_VARIANCE = 22  # of the noise that the encryption rests on, and that hides nothing else
LEAST_VARIANCE = 64  # of one adder
MOST_ADDERS, MOST_ROUNDS, MOST_FEDERATIONS = 2**13, 2**16, 2**10
EPSILON_STEP = Fraction(1, 10**6)
SMOOTHING_LOSS = Fraction(1, 2**100)  # of discrete Gaussians, taken for continuous ones and for sums, over a federation


@dataclass
class Known:
    """For which mu^2 an epsilon is known to hold, and for which not. What holds for one holds for less."""

    within: Fraction | None = None
    beyond: Fraction | None = None

    def holds(self, mu_squared: Fraction, evaluate: Callable[[], bool]) -> bool:
        """By what is known, else evaluated and kept."""
        if self.within is not None and mu_squared <= self.within:
            return True
        if self.beyond is not None and mu_squared >= self.beyond:
            return False
        found = evaluate()
        if found:
            self.within = mu_squared
        else:
            self.beyond = mu_squared
        return found


@dataclass(frozen=True)
class NoiseRule:
    """What an epsilon is computed from; raises Misuse for values out of range.

    sensitivity: B >= 1, the proved bound on the L2 norm of what one client adds to a sum, in units: B W where weights
    go up to W. variance: sigma^2 >= 64 of one adder's discrete Gaussian, in units^2. adders: h, 1 to 2^13, of each
    cohort, honest and with a secret noise. delta: in (0, 1). deviation: in [0, 1), bounds the probability that anybody
    honest ever drew a noise that is not the ideal one.
    """

    sensitivity: int
    variance: Fraction
    adders: int
    delta: Fraction
    deviation: Fraction

    def __post_init__(self) -> None:
        if self.sensitivity < 1 or not 1 <= self.adders <= MOST_ADDERS:
            found = f"{self.sensitivity} and {self.adders}"
            raise Misuse(f"expected B >= 1 and h from 1 to {MOST_ADDERS}, found {found}")
        if self.variance < LEAST_VARIANCE:
            raise Misuse(f"variance: expected at least {LEAST_VARIANCE}, found {self.variance}")
        if not (0 < self.delta < 1 and 0 <= self.deviation < 1):
            raise Misuse(f"expected delta in (0, 1) and deviation in [0, 1), found {self.delta} and {self.deviation}")

    def mu_squared(self, rounds: int) -> Fraction:
        """K B^2 / (h sigma^2 - 22) for K = rounds; raises Misuse for more than 2^16, where no loss is bounded."""
        if rounds > MOST_ROUNDS:
            raise Misuse(f"rounds: expected at most {MOST_ROUNDS}, found {rounds}")
        return rounds * self.sensitivity**2 / (self.adders * self.variance - LATTICE_VARIANCE)

    def holds(self, epsilon: Fraction, rounds: int, before: Fraction = Fraction(0)) -> bool:
        """Whether (epsilon, delta) is proved for a client in at most `rounds` closed cohorts; before: the mu^2 that it
        spent by other rules, whose deviations are in this one's.

        Always where nothing was published of it. Raises Misuse for an epsilon not in (0, 1024]."""
        if not 0 < epsilon <= LARGEST_EPSILON:
            raise Misuse(f"epsilon: expected more than 0, at most {LARGEST_EPSILON}, found {epsilon}")
        mu_squared = before + self.mu_squared(rounds)
        if mu_squared == 0:
            return True
        least = min(
            epsilon, self._largest_epsilon
        )  # what holds with less holds with more, where the deviation would weigh too much
        if least <= 0:
            return False
        ideal = (1 + 2 * SMOOTHING_LOSS) * delta_bound(mu_squared, least - 2 * SMOOTHING_LOSS)
        return ideal + exponential_bound(least) * self.deviation <= self.delta * (1 - self.deviation)

    @cached_property
    def _largest_epsilon(self) -> Fraction:
        """Where e^epsilon times the deviation is half of delta, or less."""
        if self.deviation == 0:
            return Fraction(LARGEST_EPSILON)
        return min(Fraction(LARGEST_EPSILON), logarithm_bounds(self.delta / (2 * self.deviation))[0])

    def epsilon(self, rounds: int, before: Fraction = Fraction(0)) -> Fraction | None:
        """A multiple of 10^-6 that `holds`, 0 where nothing was published. The least one, and None where no epsilon up
        to 1024 does, but where the deviation is a large part of delta: there a lesser one may be missed."""
        if rounds == 0 and before == 0:
            return Fraction(0)
        steps = int(LARGEST_EPSILON / EPSILON_STEP)
        found = _first(lambda k: self.holds(k * EPSILON_STEP, rounds, before), steps)
        return None if found is None else found * EPSILON_STEP

    def replaced(self, rounds: int, before: Fraction = Fraction(0)) -> tuple[Fraction, Fraction] | None:
        """An epsilon and its delta for a client whose updates are compared with any others, not with zero: those differ
        by twice the sensitivity. The epsilon is of `delta` but for the deviation, which its delta has on top, e^epsilon
        times. None where epsilon would be beyond 1024, or delta 1 or more."""
        exact = replace(self, sensitivity=2 * self.sensitivity, deviation=Fraction(0))
        epsilon = exact.epsilon(rounds, 4 * before)
        if not epsilon:
            return None if epsilon is None else (epsilon, self.delta)
        delta = (self.delta + exponential_bound(epsilon) * self.deviation) / (1 - self.deviation)
        return (epsilon, delta) if delta < 1 else None

    def rounds_within(
        self, epsilon: Fraction, limit: int, before: Fraction = Fraction(0), known: Known | None = None
    ) -> int:
        """The most rounds, up to `limit`, for which `epsilon` holds: what a budget allows to a client that spent
        `before` by other rules; 0 where one round more is too much. known: of the same rule and epsilon, by which many
        clients who spent differently take few evaluations together."""
        known = Known() if known is None else known

        def is_beyond(rounds: int) -> bool:
            spent = before + self.mu_squared(rounds)
            return not known.holds(spent, lambda: self.holds(epsilon, rounds, before))

        beyond = _first(is_beyond, limit)
        return limit if beyond is None else beyond - 1


def honest_adders(adders: int, colluding: int, corrupt: int = 0) -> int:
    """h: of those who add noise to a cohort, those whose noise counts. Raises Misuse where nobody is left.

    adders: at least so many in every cohort; `min_cohort` where clients add it, the trustees whose noise a round needs
    where trustees do. colluding: clients among them who may tell the server their noise, or choose
    it weak or constant for their own accuracy, which passes (spec 10.4). corrupt: f where trustees, or clients who are
    trustees too, are among them.
    """
    if min(adders, colluding, corrupt) < 0 or adders - colluding - corrupt < 1:
        missing = f"{colluding} who collude and {corrupt} corrupt"
        raise Misuse(f"noise: expected an honest adder in every cohort, found {missing} of {adders}")
    return adders - colluding - corrupt


def _first(holds: Callable[[int], bool], limit: int) -> int | None:
    """The least k in 1 .. limit that `holds`, where all larger ones do, too, and else one that does or None; None where
    none does."""
    low, high = 1, limit + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low if low <= limit else None
