"""Rounds in which trustees add the noise: who has to come, and what is no noise alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from protocols.cohorts import choose_cohort
from protocols.envelopes import open_envelope
from protocols.messages import ShareAck, Submission
from protocols.noise import variance_of
from protocols.noise_trustees import TRUSTEES, makes_cohort
from protocols.parameters import sum_bound
from protocols.policy import PrivacyBudget
from protocols.reasons import INVALID_PROOF, TOO_FEW_CLIENTS, TOO_FEW_SUBMISSIONS
from protocols.rounds.ledger import cohorts_with
from protocols.rounds.submitting import ClientRound, make
from protocols.submissions import judge
from protocols.weights import WeightRule
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of

BUDGET = PrivacyBudget(8_000_000, 10_000_000)
# h = 1, f = 1: noise of two of three
SMALL = Setting(
    clients=3, trustees=3, threshold=3, corrupt=1, honest=1, budget=BUDGET, by=TRUSTEES, encryption_proof=True
)
CLIENTS = [f"client-{i:02}" for i in range(3)]
NOISE = [f"trustee-{i}" for i in range(3)]


def started(path: Path, setting: Setting = SMALL) -> Simulation:
    simulation = Simulation(path, setting)
    simulation.start()
    return simulation


def charges(simulation: Simulation) -> list[int]:
    ledger = simulation.coordinator.ledger
    return [cohorts_with(simulation.pinned, ledger, name) for name in (*CLIENTS, *NOISE)]


def test_a_round_with_too_little_noise_is_aborted_and_spends_nothing(tmp_path: Path) -> None:
    simulation = started(tmp_path)
    assert simulation.play_round(clients=[*CLIENTS[:2], *NOISE[:1]]).aborted == TOO_FEW_SUBMISSIONS
    assert charges(simulation) == [0] * 6
    assert simulation.play_round(clients=[*CLIENTS[:1], *NOISE]).aborted == TOO_FEW_SUBMISSIONS  # a single update
    assert charges(simulation) == [0] * 6


def test_nobody_is_blamed_for_noise_that_did_not_come(tmp_path: Path) -> None:
    """Not for want of acknowledgements, for which nobody waits: of updates or noise there is too little anyway."""
    simulation = started(tmp_path)
    simulation.open_round()
    for name in (*CLIENTS[:2], *NOISE[:1]):
        simulation.submit(name)
    assert not simulation.conductor.enough
    simulation.acknowledge(NOISE[:2])
    assert simulation.coordinator.quorum_wait() == 0
    assert simulation.close_cohort() == TOO_FEW_SUBMISSIONS


def test_a_repetition_is_open_to_every_trustee(tmp_path: Path) -> None:
    """And to no client that was not in the cohort before; whether a trustee was does not matter."""
    simulation = started(tmp_path)
    assert simulation.play_round(clients=[*CLIENTS[1:], *NOISE[1:]], silent=NOISE[:1]).aborted == "missing-releases"
    simulation.open_round()
    assert set(simulation.conductor.due.parties) == {*CLIENTS[1:], *NOISE}
    with pytest.raises(Rejected, match="retry-member"):
        simulation.submit(CLIENTS[0])
    for name in (*NOISE[:2], *CLIENTS[1:]):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == (*NOISE[:2], *CLIENTS[1:])


def test_where_too_few_trustees_are_left_for_the_noise_the_federation_may_end(tmp_path: Path) -> None:
    simulation = started(tmp_path, replace(SMALL, honest=3, threshold=2, corrupt=0))
    assert TOO_FEW_CLIENTS not in simulation.coordinator.endings()
    simulation.change(simulation.revocation(NOISE[2]))
    assert TOO_FEW_CLIENTS in simulation.coordinator.endings()


def test_the_sum_has_the_noise_of_trustees_and_the_mean_is_over_clients(tmp_path: Path) -> None:
    weights = WeightRule("declared", 5, "3ff0000000000000")
    simulation = started(tmp_path, replace(SMALL, dimension=250, weights=weights, coordinate_clip=0.5))
    result = simulation.play_round()
    policy, cells = simulation.pinned.policy, simulation.pinned.cells
    assert policy.noise is not None
    assert policy.noise.error is not None
    assert result.plaintext is not None
    exact = np.concatenate([simulation.expected_sum(result), np.zeros(cells - 250, dtype=np.int64)])
    noise = result.plaintext - exact
    deviation = float(noise @ noise) / cells / float(3 * variance_of(policy.noise))
    assert 0.5 < deviation < 2  # of 256 cells: beyond with probability 2^-30 or less
    assert 3 * variance_of(policy.noise.error) < variance_of(policy.noise) / 100
    step, weight = simulation.coordinator.ledger.step, sum(simulation.weights[name] for name in CLIENTS)
    assert step is not None
    assert (step.summands.count, step.summands.weight) == (6, weight)
    assert int(np.abs(result.plaintext).max()) <= sum_bound(policy, 6, weight)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = started(tmp_path_factory.mktemp("opened"))
    simulation.open_round()
    return simulation


@pytest.mark.parametrize(("name", "weight"), [(NOISE[0], None), (NOISE[0], 1), (CLIENTS[0], 0)])
def test_a_weight_of_the_other_kind(opened: Simulation, name: str, weight: int | None) -> None:
    nothing, seen = np.zeros(SMALL.dimension, dtype=np.int64), opened.accept(name)
    with pytest.raises(Misuse, match="weight"):
        opened.clients[name].submit(seen, nothing, weight)
    at = ClientRound.of(opened.pinned, seen.verified, name, weight)
    package = make(get_engine(), at, nothing, identity_of(name), seeded(f"{name} {weight}"))
    with pytest.raises(Rejected) as caught:
        opened.coordinator.receive(package)
    assert caught.value.check == "weight"


def test_an_update_in_the_place_of_noise_alone(opened: Simulation) -> None:
    """A proof that an update is within B is none that there is no update; nor is one of a client's noise one of a
    trustee's."""
    update, seen = np.zeros(SMALL.dimension, dtype=np.int64), opened.accept(NOISE[0])
    update[3] = 1
    with pytest.raises(Misuse, match="B = 0"):
        opened.clients[NOISE[0]].submit(seen, update, 0)
    for value in (update, np.zeros_like(update)):
        at = ClientRound.of(opened.pinned, seen.verified, NOISE[0], 1)
        package = make(get_engine(), at, value, identity_of(NOISE[0]), seeded("an update"))
        message = open_envelope(package.entry).message
        assert isinstance(message, Submission)
        false = replace(message, weight=0)
        faults = judge(get_engine(), opened.pinned, [false], at.seed, lambda blob, _, kept=package.blobs: kept[blob])
        assert [each.reason for each in faults if each is not None] == [INVALID_PROOF]


def test_noise_comes_before_clients_in_the_choice_of_the_cohort(opened: Simulation) -> None:
    """With t = 2. With the first trustee, whose answer leaves out a submission of noise, there were as many."""
    policy, noise = replace(opened.pinned.policy, threshold=2), frozenset({8, 9})
    held = dict(zip(NOISE, ("hhhhhhhh", "--hhhhhhh", "hhhhhhhhh"), strict=True))  # of entries 1 to 9
    acks = {name: ShareAck("f", 1, bytes(32), name, 1, answers, bytes(32)) for name, answers in held.items()}
    choice = choose_cohort(policy, range(1, 10), acks, noise)
    assert (choice.accepted, choice.trustees) == (tuple(range(3, 10)), tuple(NOISE[1:]))
    assert choose_cohort(policy, range(1, 10), acks).accepted == tuple(range(1, 9))


def test_what_makes_a_cohort(opened: Simulation) -> None:
    policy = opened.pinned.policy
    assert makes_cohort(policy, [*CLIENTS[:2], *NOISE[1:]])
    assert not makes_cohort(policy, [*CLIENTS[:1], *NOISE])
    assert not makes_cohort(policy, [*CLIENTS, *NOISE[2:]])
