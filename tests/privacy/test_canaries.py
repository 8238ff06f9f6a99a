"""What a canary shows of epsilon: never more than is claimed, but more where noise is left out, or a part of it.

Every bound here fails by chance with probability 5e-8 at most. The default run compares eight of them with a claim from
below (four policies, two bounds each), so where the claims hold it fails with less than 1e-6; the draws are seeded.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from xml.parsers.expat import ParserCreate

import numpy as np
import pytest

from protocols.noise import rounds_each, variance_of
from protocols.rounds import submitting
from tests.privacy.canaries import (
    DIMENSION,
    EPSILONS,
    Finding,
    Rates,
    bounds,
    canary_of,
    clopper_pearson,
    epsilon_of_mu,
    main,
    measure,
    opened_sums,
    policy_of,
    setting_of,
    table,
)
from tests.seeded import seeded
from tests.simulator import Simulation

FAILURE = 5e-8
DELTA = Fraction(1, 10**5)
CASES = [(1, 1, 2**15), (3, 1, 2**15), (8, 1, 2**17), (3, 10, 2**13)]  # epsilon, rounds, runs in each world
GRID = [(epsilon, rounds, 2**17) for rounds in (1, 10) for epsilon in EPSILONS]
RESULTS = Path(__file__).with_name("canaries.jsonl")
DOCS = Path(__file__).parent.parent.parent / "docs"


def found(epsilon: int, rounds: int, runs: int, deviation: Fraction | int, **cohort: int) -> Finding:
    policy = policy_of(setting_of(epsilon, rounds, **cohort))
    assert rounds_each(policy) == rounds
    return measure(policy, rounds, runs, deviation, FAILURE, seeded(f"{epsilon} {rounds} {deviation}"))


def check(epsilon: int, rounds: int, runs: int, **cohort: int) -> None:
    full, half, quarter, bare = (
        found(epsilon, rounds, runs, deviation, **cohort) for deviation in (1, Fraction(1, 2), Fraction(1, 4), 0)
    )
    assert epsilon - 0.01 < full.claim <= epsilon
    assert 0 < full.any_mechanism < full.gaussian <= full.claim
    assert half.any_mechanism > full.any_mechanism
    assert half.gaussian > half.claim  # noise of a quarter of the variance is found by its mu
    for each in (quarter, bare):
        assert each.any_mechanism > each.claim
        assert each.gaussian > each.claim


@pytest.mark.parametrize(("epsilon", "rounds", "runs"), CASES)
def test_a_canary_shows_no_more_than_is_claimed_and_more_without_noise(epsilon: int, rounds: int, runs: int) -> None:
    check(epsilon, rounds, runs)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("epsilon", "rounds", "runs"), GRID)
def test_the_same_of_many_runs(epsilon: int, rounds: int, runs: int) -> None:
    check(epsilon, rounds, runs)


@pytest.mark.exhaustive
def test_the_same_among_256_clients_of_whom_56_collude() -> None:
    check(3, 1, 2**12, clients=256, honest=200)


def test_what_a_real_round_opens_is_the_sum_that_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of real parties, with proofs, encryption and releases; the noise is what the sampler gave, with public signs."""
    simulation = Simulation(tmp_path, setting_of(8, 1))
    policy = simulation.pinned.policy
    drawn: list[np.ndarray] = []
    messages: list[np.ndarray] = []
    asked: list[tuple[Fraction, int]] = []
    sample, commit_to = submitting.sample, submitting.commit_to

    def sampled(variance: Fraction, count: int, rand: object) -> np.ndarray:
        made = sample(variance, count, rand)
        asked.append((variance, count))
        drawn.append(made.copy())
        return made

    def committed(*given: object) -> submitting.Secrets:
        made = commit_to(*given)
        messages.append(made.committed.message.copy())
        return made

    monkeypatch.setattr(submitting, "sample", sampled)
    monkeypatch.setattr(submitting, "commit_to", committed)
    simulation.start()
    updates = {name: simulation.random_update(name) for name in simulation.clients}
    updates["client-00"] = canary_of(policy)
    result = simulation.play_round(updates)
    assert result.accepted == tuple(updates)
    assert result.plaintext is not None
    assert asked == [(variance_of(policy.noise), simulation.pinned.cells)] * 3
    padded = np.zeros((3, simulation.pinned.cells), dtype=np.int64)
    padded[:, :DIMENSION] = list(updates.values())
    noise = np.array(messages) - padded
    assert np.array_equal(np.abs(noise), np.abs(drawn))
    assert np.array_equal(opened_sums(padded, noise[None])[0], result.plaintext)


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_the_canary_is_as_long_as_the_bound(epsilon: int) -> None:
    policy = policy_of(setting_of(epsilon, 1))
    canary, bound = canary_of(policy), policy.update.norm_bound
    assert bound - 1 < np.linalg.norm(canary) <= bound


def test_bounds_on_rates_are_clopper_and_pearson_s() -> None:
    """At the bound so few have just the probability of a failure; none is the rule of three."""

    def tail(count: int, runs: int, p: float) -> float:
        return sum(math.comb(runs, k) * p**k * (1 - p) ** (runs - k) for k in range(count + 1))

    for count, runs, failure in ((0, 20, 0.05), (7, 20, 0.025), (19, 20, 0.05), (3, 400, 5e-8)):
        assert tail(count, runs, clopper_pearson(count, runs, failure)) == pytest.approx(failure, rel=1e-6)
    assert clopper_pearson(0, 10_000, 0.05) == pytest.approx(3 / 10_000, rel=2e-3)
    assert clopper_pearson(20, 20, 0.05) == 1


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_rates_give_the_epsilon_of_randomized_response(epsilon: float) -> None:
    """Whose rates are known, and nothing can be said of it beyond."""
    wrong = 1 / (1 + math.exp(epsilon))
    assert Rates(wrong, wrong).epsilon(0) == pytest.approx(epsilon)
    assert Rates(wrong, wrong).epsilon(0.01) < epsilon
    assert Rates(0.5, 0.5).epsilon(0) == Rates(0.5, 0.5).mu() == Rates(1, 0.1).mu() == 0
    assert Rates(1, 0.1).epsilon(0) == 0
    assert Rates(0.2, 0.001).epsilon(0) == pytest.approx(math.log(0.8 / 0.001))


def test_normal_worlds_give_what_their_distance_allows() -> None:
    generator = np.random.default_rng(1)
    for mu in (0.0, 0.5, 2.0):
        worlds = [generator.normal(mean, 1, 2**15) for mean in (0, mu)]
        general, gaussian = bounds(worlds, DELTA, 1e-6)
        assert general <= gaussian <= epsilon_of_mu(mu, DELTA)
        if mu:
            assert gaussian > epsilon_of_mu(0.7 * mu, DELTA)


def test_the_specification_has_the_table_and_the_figure_of_the_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "canaries.svg"
    assert RESULTS.exists()
    main(["--results", str(RESULTS), "--svg", str(drawn)])
    assert capsys.readouterr().out in (DOCS / "spec" / "10-privacy.md").read_text()
    assert drawn.read_text() == (DOCS / "figures" / "canaries.svg").read_text()
    ParserCreate().Parse(drawn.read_text(), True)
    findings = [Finding(**json.loads(line)) for line in RESULTS.read_text().splitlines()]
    assert len(table(findings)) == 2 + len(GRID)
    for each in findings:
        assert each.runs == 2**17
        assert each.gaussian <= each.claim or each.deviation != "1"
        assert each.any_mechanism > each.claim or each.deviation != "0"
