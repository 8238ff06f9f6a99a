"""Rounds in which everybody follows the protocol, some are silent, and some crash."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from proofs.errors import Rejected
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import RoundClosed
from protocols.rounds.exchange import NOTHING, Acknowledgement
from protocols.steps import step as server_steps
from protocols.steps.fedopt import fedadam
from tests.simulator import RoundResult, Simulation

Simulate = Callable[..., Simulation]


def check_sum(simulation: Simulation, result: RoundResult) -> None:
    assert result.aborted is None
    assert result.plaintext is not None
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))


def test_the_aggregate_is_the_sum(simulation: Simulation) -> None:
    for _ in range(2):
        result = simulation.play_round()
        assert result.accepted == tuple(simulation.clients)
        check_sum(simulation, result)
    assert simulation.coordinator.ledger.rounds == 2


@pytest.mark.parametrize("dimension", [1, 16, 17, 300])
def test_dimensions_at_the_edges_of_the_table(simulate: Simulate, dimension: int) -> None:
    simulation = simulate(dimension=dimension, clients=2)
    check_sum(simulation, simulation.play_round())


def test_updates_at_the_bound(simulate: Simulate) -> None:
    simulation = simulate(clients=3)
    bound = simulation.pinned.policy.update.norm_bound
    extreme = np.zeros(40, dtype=np.int64)
    extreme[39] = -bound
    result = simulation.play_round(updates=dict.fromkeys(simulation.clients, extreme))
    check_sum(simulation, result)
    assert result.plaintext is not None
    assert result.plaintext[39] == -3 * bound


def test_models_follow_the_server_step(simulate: Simulate) -> None:
    simulation = simulate(step=fedadam())
    state = server_steps.initial_state(simulation.pinned.policy, simulation.model)
    for number in (1, 2):
        result = simulation.play_round()
        assert result.plaintext is not None
        state = server_steps.apply_step(simulation.pinned.policy, state, result.plaintext, len(result.accepted), number)
        simulation.restart_coordinator()
    reached = simulation.coordinator.step_state()
    assert np.array_equal(reached.model, state.model)
    assert np.array_equal(reached.moments, state.moments)


def test_the_published_log_is_what_the_coordinator_holds(simulation: Simulation) -> None:
    simulation.play_round()
    reader = TranscriptReader(simulation.path)
    replayed = [entry for bundle in reader.replay() for entry in bundle]
    assert replayed == simulation.coordinator.entries(0, simulation.coordinator.size)


def test_clients_that_drop_out_are_not_in_the_sum(simulation: Simulation) -> None:
    result = simulation.play_round(clients=["client-01", "client-03"])
    assert result.accepted == ("client-01", "client-03")
    check_sum(simulation, result)


def test_m_minus_t_silent_trustees_do_not_matter(simulation: Simulation) -> None:
    simulation.open_round(trustees=["trustee-0", "trustee-2", "trustee-3", "trustee-4"])
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    check_sum(simulation, simulation.finish())


def test_too_few_clients_abort_before_anything_is_released(simulation: Simulation) -> None:
    first = simulation.play_round(clients=["client-00"])
    assert first.aborted == "too-few-submissions"
    assert simulation.coordinator.ledger.aborts == 0
    check_sum(simulation, simulation.play_round())
    assert simulation.coordinator.ledger.retry_of is None


def test_too_few_acknowledgements_abort(simulation: Simulation) -> None:
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge(["trustee-0", "trustee-1", "trustee-2"])
    assert simulation.close_cohort() == "no-quorum"
    check_sum(simulation, simulation.play_round())


def open_with(simulation: Simulation, trustees: list[str], released: list[str]) -> RoundResult:
    """A round with the keys of `trustees`, of whom `released` release."""
    simulation.open_round(trustees)
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release(released)
    return simulation.finish()


def test_a_retry_runs_on_the_same_model_without_the_silent(simulation: Simulation) -> None:
    model = simulation.coordinator.ledger.model
    names = list(simulation.trustees)
    assert open_with(simulation, names[:4], names[:3]).aborted == "missing-releases"
    ledger = simulation.coordinator.ledger
    assert (ledger.barred, ledger.retry_of, ledger.aborts, ledger.model) == (("trustee-3",), 1, 1, model)
    with pytest.raises(Rejected) as excinfo:
        simulation.coordinator.open_round([simulation.trustees[name].round_key(2) for name in names[:4]])
    assert excinfo.value.check == "round-keys"
    check_sum(simulation, simulation.play_round())
    assert simulation.coordinator.ledger.barred == ()


def test_nobody_is_barred_when_too_few_would_be_left(simulation: Simulation) -> None:
    assert simulation.play_round(silent=["trustee-1", "trustee-4"]).aborted == "missing-releases"
    assert simulation.coordinator.ledger.barred == ()
    check_sum(simulation, simulation.play_round())


def test_newcomers_wait_until_the_retry_is_over(simulation: Simulation) -> None:
    members = list(simulation.clients)[:3]
    assert simulation.play_round(clients=members, silent=["trustee-0", "trustee-1"]).aborted == "missing-releases"
    simulation.open_round()
    with pytest.raises(Rejected) as excinfo:
        simulation.submit("client-03")
    assert excinfo.value.check == "retry-member"


def test_every_party_can_crash_between_any_two_steps(simulation: Simulation) -> None:
    def crash() -> None:
        simulation.restart_coordinator()
        for name in simulation.clients:
            simulation.restart_client(name)
        for name in simulation.trustees:
            simulation.restart_trustee(name)

    for _ in range(2):
        crash()
        simulation.open_round()
        crash()
        for name in simulation.clients:
            simulation.submit(name)
        simulation.checkpoint()
        crash()
        simulation.acknowledge()
        assert simulation.close_cohort() is None
        crash()
        simulation.release()
        simulation.checkpoint()
        crash()
        check_sum(simulation, simulation.finish())


def test_a_crash_before_publication_keeps_what_trustees_have_seen(simulation: Simulation) -> None:
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    note = simulation.coordinator.checkpoint()
    for name in simulation.trustees:
        simulation.observe(name, note)
    simulation.restart_coordinator()  # cosigned by all, published nowhere
    assert len(simulation.coordinator.verdicts()) == 4
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    check_sum(simulation, simulation.finish())


def test_a_crash_between_aggregate_and_close(simulation: Simulation) -> None:
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    simulation.store(simulation.coordinator.aggregate())
    simulation.checkpoint()
    simulation.restart_coordinator()
    closed = simulation.store(simulation.coordinator.close_round())
    simulation.checkpoint()
    assert len(closed.entries) == 1
    assert simulation.coordinator.ledger.current is None


def test_what_is_sent_twice_is_logged_once(simulation: Simulation) -> None:
    number = simulation.open_round()
    package = simulation.package("client-00")
    simulation.store(simulation.coordinator.receive(package))
    assert simulation.coordinator.receive(package) == NOTHING
    for name in list(simulation.clients)[1:]:
        simulation.submit(name)
    simulation.acknowledge()
    again = simulation.trustees["trustee-0"].acknowledge(number, simulation.coordinator.note, simulation.blob)
    assert simulation.coordinator.receive_ack(Acknowledgement(again)) == NOTHING
    simulation.close_cohort()
    simulation.release()
    release = simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob)
    assert simulation.coordinator.receive_release(release) == NOTHING
    check_sum(simulation, simulation.finish())


def test_secrets_of_a_round_are_gone_when_it_is_over(simulation: Simulation) -> None:
    simulation.play_round()
    for name in simulation.trustees:
        kinds = {key.split("/")[0] for key in simulation.stores[name].keys()}  # noqa: SIM118 (a store, not a dict)
        assert kinds == {"log", "erased", "policy"}


def test_fedavg_publishes_no_optimizer_state(simulation: Simulation) -> None:
    simulation.play_round()
    last = open_envelope(simulation.coordinator.entries(0, simulation.coordinator.size)[-1]).message
    assert isinstance(last, RoundClosed)
    assert last.optimizer is None
