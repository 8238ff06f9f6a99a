"""How much of a canary can be seen: an empirical lower bound on epsilon, beside what the policy claims (spec 10.8).

`python -m tests.privacy.canaries --results canaries.jsonl --svg canaries.svg`, from the repository's root. A canary is
a client in one of two worlds: its update is zero, or as long as the clip lets it be, along a fixed direction. All else
is known to the adversary, also the noise of those who are not honest; it sees the sums of K rounds, adds up their
components along the canary, and says "there" above a threshold. For normal noise that is the likelihood-ratio test. The
threshold is chosen on half of the runs. On the other half false alarms and misses are counted, and bounded from above
(Clopper, Pearson 1934). From these two rates,

- *any mechanism*: epsilon >= ln((1 - delta - misses) / false alarms), or with both exchanged (Jagielski, Ullman, Oprea
  2020);
- *Gaussian*: if the mechanism is as hard to tell as N(0, 1) from N(mu, 1), then mu >= Phi^-1(1 - false alarms) -
  Phi^-1(misses), and epsilon is that of mu and delta (Nasr et al. 2023).

Updates, policy, noise, sums and the claim are the project's own. Nothing is encrypted or proved, and noise is not drawn
again where it breaks a bound, as happens once in 2^66 draws.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from examples.accuracy.panels import Curve, Panel, drawing
from proofs.randomness import Randomness
from protocols.fixed_point import quantize
from protocols.noise import account_of, variance_of
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy, PrivacyBudget
from protocols.privacy.normal import LARGEST_EPSILON, delta_bound
from protocols.privacy.sampler import sample
from tests.seeded import seeded
from tests.simulator import Setting, make_policy

DELTA_TRILLIONTHS = 10**7  # 10^-5
DIMENSION = 16
EPSILONS, ROUNDS, DEVIATIONS = (1, 3, 8), (1, 10), (1, Fraction(1, 2), Fraction(1, 4), 0)
CONFIDENCE = 0.95
COLOURS = {"1": ("#0072b2", ""), "1/2": ("#cc79a7", "5 3"), "1/4": ("#d55e00", "7 4"), "0": ("#009e73", "2 3")}
NAMES = {"1": "noise of the policy", "1/2": "sigma / 2", "1/4": "sigma / 4", "0": "no noise"}
_CHUNK = 2**20  # of cells of noise at once
_THRESHOLDS = 400
_NORMAL = NormalDist()

Integers = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Rates:
    """Upper bounds on the probability of a false alarm and of a miss, each in (0, 1]."""

    alarms: float
    misses: float

    def epsilon(self, delta: float) -> float:
        """At least so much, whatever the mechanism; 0 where nothing follows."""
        ways = ((self.alarms, self.misses), (self.misses, self.alarms))
        return max(0.0, *(math.log((1 - delta - b) / a) for a, b in ways if 1 - delta > b))

    def mu(self) -> float:
        """At least so much, of a Gaussian mechanism."""
        if max(self.alarms, self.misses) >= 1:
            return 0.0
        return max(0.0, _NORMAL.inv_cdf(1 - self.alarms) - _NORMAL.inv_cdf(self.misses))


@dataclass(frozen=True)
class Finding:
    """Lower bounds on epsilon, each with the confidence asked for, beside what is claimed. deviation: the noise's, in
    shares of the policy's. runs: in each world."""

    clients: int
    honest: int
    rounds: int
    runs: int
    deviation: str
    claim: float
    any_mechanism: float
    gaussian: float


def setting_of(epsilon: int, rounds: int, clients: int = 3, honest: int = 2) -> Setting:
    """With noise derived for just so many rounds."""
    return Setting(
        clients=clients, min_cohort=clients, max_cohort=max(clients, 16), max_rounds=rounds, dimension=DIMENSION,
        encryption_proof=True, budget=PrivacyBudget(epsilon * 10**6, DELTA_TRILLIONTHS), honest=honest,
        private_rounds=rounds,
    )  # fmt: skip


def policy_of(setting: Setting) -> Policy:
    """Its policy, from the file."""
    return PinnedPolicy.open(make_policy(setting)[0]).policy


def clipped(policy: Policy, update: Reals) -> Integers:
    """As a client does, int64 (d,), in units."""
    rule = policy.update
    clip = math.ldexp(rule.norm_bound, -rule.fraction_bits)
    return quantize(update, clip, rule.fraction_bits, rule.norm_bound)


def canary_of(policy: Policy) -> Integers:
    """The update of a client that pushes one way with all its coordinates, far beyond the clip."""
    return clipped(policy, np.full(policy.dimension, float(policy.update.norm_bound)))


def opened_sums(updates: Integers, noise: Integers) -> Integers:
    """What rounds open: of updates (n, d), the same in all, and noise (runs, adders, d), int64 (runs, d)."""
    return updates.sum(axis=0) + noise.sum(axis=1)


def statistics_of(policy: Policy, rounds: int, runs: int, deviation: Fraction | int, rand: Randomness) -> list[Reals]:
    """Of `runs` in the world without and of as many with the canary, each of `rounds` sums: the component along it of
    what is not known, added up."""
    canary = canary_of(policy)
    others = [clipped(policy, np.cos(np.arange(policy.dimension) + i)) for i in range(len(policy.roster) - 1)]
    found = []
    for factor in (0, 1):
        updates = np.array([factor * canary, *others])
        parts = []
        for count in _chunks(runs, rounds * policy.noise.honest * policy.dimension):
            noise = _noise(policy, count * rounds, deviation, rand)
            unknown = opened_sums(updates, noise) - np.sum(others, axis=0)
            parts.append((unknown @ canary).reshape(count, rounds).sum(axis=1) / np.linalg.norm(canary))
        found.append(np.concatenate(parts))
    return found


def _noise(policy: Policy, sums: int, deviation: Fraction | int, rand: Randomness) -> Integers:
    """Of the adders that count, int64 (sums, h, d)."""
    shape = sums, policy.noise.honest, policy.dimension
    if deviation == 0:
        return np.zeros((sums, 1, policy.dimension), dtype=np.int64)
    return sample(variance_of(policy.noise) * deviation**2, math.prod(shape), rand).reshape(shape)


def _chunks(runs: int, cells: int) -> Iterator[int]:
    size = max(1, _CHUNK // cells)
    for start in range(0, runs, size):
        yield min(size, runs - start)


def bounds(worlds: Sequence[Reals], delta: Fraction, failure: float) -> tuple[float, float]:
    """(any mechanism, Gaussian): each is more than the true epsilon with probability `failure`, at most."""
    halves = [(each[: len(each) // 2], each[len(each) // 2 :]) for each in worlds]
    chosen_on, counted_on = zip(*halves, strict=True)
    general = _rates(chosen_on, counted_on, failure, lambda rates: rates.epsilon(float(delta)))
    gaussian = _rates(chosen_on, counted_on, failure, Rates.mu)
    return general.epsilon(float(delta)), epsilon_of_mu(gaussian.mu(), delta)


def _rates(
    chosen_on: Sequence[Reals], counted_on: Sequence[Reals], failure: float, worth: Callable[[Rates], float]
) -> Rates:
    """By the threshold that seems worth most, on runs that had no part in its choice; both hold, but for `failure`."""
    low, high = min(map(np.min, chosen_on)), max(map(np.max, chosen_on))
    thresholds = np.linspace(low, high, _THRESHOLDS, endpoint=False)

    def rates(worlds: Sequence[Reals], threshold: float, bound: Callable[[int, int, float], float]) -> Rates:
        absent, present = worlds
        alarms, misses = np.count_nonzero(absent > threshold), np.count_nonzero(present <= threshold)
        return Rates(bound(int(alarms), len(absent), failure / 2), bound(int(misses), len(present), failure / 2))

    best = max(thresholds, key=lambda threshold: worth(rates(chosen_on, threshold, _about)))
    return rates(counted_on, best, clopper_pearson)


def _about(count: int, runs: int, failure: float) -> float:
    """About `clopper_pearson`, quickly."""
    z = -_NORMAL.inv_cdf(failure)
    return min(1.0, (count + z * z / 2 + z * math.sqrt(count + z * z / 4)) / runs)


def clopper_pearson(count: int, runs: int, failure: float) -> float:
    """The p for which `count` or fewer of `runs` have the probability `failure`, within 10^-12: the true one is larger
    with that probability, at most (Clopper, Pearson 1934)."""
    if count >= runs:
        return 1.0
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, runs + 1)))])
    k = np.arange(count + 1)
    ways = factorials[runs] - factorials[k] - factorials[runs - k]

    def tail(p: float) -> float:
        return float(np.exp(ways + k * math.log(p) + (runs - k) * math.log1p(-p)).sum())

    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > failure else (low, middle)
    return high


def epsilon_of_mu(mu: float, delta: Fraction) -> float:
    """The least epsilon of N(0, 1) and N(mu, 1) at delta, rounded down; 0 for mu = 0."""
    low, high = 0.0, float(LARGEST_EPSILON)
    if mu == 0:
        return low
    for _ in range(40):
        middle = (low + high) / 2
        beyond = delta_bound(Fraction(mu) ** 2, Fraction(middle)) > delta
        low, high = (middle, high) if beyond else (low, middle)
    return low


def measure(
    policy: Policy, rounds: int, runs: int, deviation: Fraction | int, failure: float, rand: Randomness
) -> Finding:
    """The claim is the account's, of so many rounds."""
    rule = account_of(policy)
    claim = rule.epsilon(rounds)
    if claim is None:
        raise ValueError("the policy claims no epsilon for so many rounds")
    found = bounds(statistics_of(policy, rounds, runs, deviation, rand), rule.delta, failure)
    return Finding(len(policy.roster), rule.adders, rounds, runs, str(deviation), float(claim), *found)


def measured(rounds: Sequence[int], runs: int) -> Iterator[Finding]:
    """All epsilons, rounds and deviations."""
    for count in rounds:
        for epsilon in EPSILONS:
            policy = policy_of(setting_of(epsilon, count))
            for deviation in DEVIATIONS:
                rand = seeded(f"canaries {count} {epsilon} {deviation}")
                yield measure(policy, count, runs, deviation, 1 - CONFIDENCE, rand)


def table(findings: Sequence[Finding]) -> list[str]:
    """In Markdown: any mechanism, and Gaussian."""
    made = [f"| K | claim | {' | '.join(NAMES.values())} |", "|---|---|" + "---|" * len(NAMES)]
    for rounds, claim in dict.fromkeys((each.rounds, each.claim) for each in findings):
        cells = [
            f"{each.any_mechanism:.2f}, {each.gaussian:.2f}"
            for name in NAMES
            for each in findings
            if (each.rounds, each.claim, each.deviation) == (rounds, claim, name)
        ]
        made.append(f"| {rounds} | {claim:.2f} | {' | '.join(cells)} |")
    return made


def panels(findings: Sequence[Finding]) -> list[Panel]:
    """One for each number of rounds: what holds for any mechanism."""
    return [_panel([each for each in findings if each.rounds == rounds]) for rounds in _rounds(findings)]


def _rounds(findings: Sequence[Finding]) -> list[int]:
    return list(dict.fromkeys(each.rounds for each in findings))


def _panel(findings: Sequence[Finding]) -> Panel:
    claims = tuple(dict.fromkeys(each.claim for each in findings))
    curves = [Curve("claim", "#000000", "", claims)]
    for name, title in NAMES.items():
        curves.append(Curve(title, *COLOURS[name], tuple(e.any_mechanism for e in findings if e.deviation == name)))
    rounds = findings[0].rounds
    title = f"{rounds} round{'s' if rounds > 1 else ''}"
    return Panel(title, "epsilon, at least", tuple(curves), "claim", tuple(f"{claim:.3g}" for claim in claims))


def main(given: Sequence[str] | None = None) -> None:
    """Measure, unless the results are there; print the table, and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=2**17)
    parser.add_argument("--rounds", type=int, nargs="*", default=ROUNDS)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args(given)
    if not arguments.results.exists():
        made = [json.dumps(asdict(each)) for each in measured(arguments.rounds, arguments.runs)]
        arguments.results.write_text("\n".join([*made, ""]))
    findings = [Finding(**json.loads(line)) for line in arguments.results.read_text().splitlines()]
    print("\n".join(table(findings)))
    if arguments.svg is not None:
        arguments.svg.write_text(drawing(panels(findings)))


if __name__ == "__main__":
    main()
