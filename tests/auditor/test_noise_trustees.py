"""Noise of trustees, judged by both auditors: honest histories, and servers, trustees and clients who do otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Status, audit
from protocols.messages import CohortClosed, Exclusion, Revocation, Submission
from protocols.noise_trustees import TRUSTEES
from protocols.policy import PrivacyBudget
from protocols.reasons import TOO_FEW_CLIENTS, TOO_FEW_SUBMISSIONS
from protocols.rounds.ledger import cohorts_with
from tests.auditor.forge import Forge
from tests.independent.test_second_auditor import agreed, failing
from tests.simulator import Setting, Simulation, identity_of

BUDGET = PrivacyBudget(8_000_000, 10_000_000)
# h = 1, f = 1: noise of two of three
SMALL = Setting(
    clients=4, trustees=3, threshold=3, corrupt=1, honest=1, budget=BUDGET, by=TRUSTEES, encryption_proof=True
)
CLIENTS = [f"client-{i:02}" for i in range(4)]
NOISE = [f"trustee-{i}" for i in range(3)]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A trustee's noise is missing; then that of two; then releases; in the repetition a client and another trustee."""
    simulation = Simulation(tmp_path_factory.mktemp("trustees"), SMALL)
    simulation.start()
    assert simulation.play_round(clients=[*CLIENTS[:2], *NOISE[:2]]).aborted is None
    assert simulation.play_round(clients=[*CLIENTS[:2], *NOISE[:1]]).aborted == TOO_FEW_SUBMISSIONS
    assert simulation.play_round(silent=NOISE[:1]).aborted == "missing-releases"
    for name in simulation.clients:
        simulation.restart_client(name)
    simulation.restart_coordinator()
    again = simulation.play_round(clients=[*NOISE[1:], *CLIENTS[1:]])
    assert again.aborted is None
    assert [name for name in again.accepted if name in NOISE] == NOISE[1:]
    assert len(again.accepted) == 4  # one of the clients leaves with the one that is missing
    return simulation


def policy_of(simulation: Simulation) -> Path:
    policy = simulation.path.parent / "policy.cbor"
    policy.write_bytes(simulation.policy_data)
    return policy


def test_a_history_is_accepted(played: Simulation) -> None:
    assert audit(played.path, policy_of(played)).accepted


@pytest.mark.exhaustive
def test_a_history_is_judged_alike(played: Simulation) -> None:
    assert agreed(played.path, policy_of(played)).accepted


def test_clients_alone_are_charged(played: Simulation) -> None:
    ledger = played.coordinator.ledger
    found = {name: cohorts_with(played.pinned, ledger, name) for name in (*CLIENTS, *NOISE)}
    assert sorted(found[name] for name in CLIENTS) == [2, 2, 2, 2]
    assert {found[name] for name in NOISE} == {0}
    account = audit(played.path, policy_of(played)).account
    assert account is not None
    assert {each.client: each.cohorts for each in account.clients} == {name: found[name] for name in CLIENTS}
    assert account.adders == 1
    assert any("2 trustees" in said for said in account.assumptions)


def forged(simulation: Simulation, change: Callable[[Forge], None], path: Path) -> Path:
    forge = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    change(forge)
    return forge.write(path / "forged")


def leave_noise_out(forge: Forge) -> None:
    """The server closes a cohort with the noise of one trustee, where h + f is two."""
    position = forge.find(CohortClosed)
    message = forge.message(position)
    index = next(index for index in message.accepted if forge.message(index).client in NOISE)
    left = tuple(each for each in message.accepted if each != index)
    forge.edit(position, accepted=left, excluded=(Exclusion(index, "unacknowledged", ""),))


def state_a_weight(forge: Forge) -> None:
    forge.edit(forge.find(Submission, nth=3), weight=None)


def state_none(forge: Forge) -> None:
    forge.edit(forge.find(Submission), weight=0)


FORGERIES: list[tuple[Callable[[Forge], None], set[str]]] = [
    (leave_noise_out, {"I7", "I8", "P1"}),
    (state_a_weight, {"I5", "I6"}),
    (state_none, {"I5", "I6"}),
]


@pytest.mark.parametrize(("change", "expected"), FORGERIES)
def test_what_no_honest_log_has(
    played: Simulation, change: Callable[[Forge], None], expected: set[str], tmp_path: Path
) -> None:
    report = audit(forged(played, change, tmp_path), policy_of(played))
    found = {result.id for result in report.checks if result.status is Status.FAIL}
    assert expected <= found


@pytest.mark.exhaustive
@pytest.mark.parametrize(("change", "expected"), FORGERIES)
def test_it_is_judged_alike(
    played: Simulation, change: Callable[[Forge], None], expected: set[str], tmp_path: Path
) -> None:
    assert expected <= failing(agreed(forged(played, change, tmp_path), policy_of(played)))


def test_the_end_for_want_of_trustees_with_noise(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, replace(SMALL, honest=3, threshold=2, corrupt=0))
    simulation.start()
    simulation.change(simulation.revocation(NOISE[2]))
    simulation.store(simulation.coordinator.close_federation(TOO_FEW_CLIENTS))
    simulation.checkpoint()
    simulation.writer.close()
    assert agreed(simulation.path, policy_of(simulation)).accepted
    other = forged(simulation, lambda forge: forge.remove(forge.find(Revocation)), tmp_path)
    assert "I4" in failing(agreed(other, policy_of(simulation)))
