"""Trustees and clients that lie: what they can do to a round, and what becomes of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from proofs.errors import Rejected
from protocols.messages import CohortClosed, RoundAborted
from protocols.rounds.exchange import Acknowledgement
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.offences import disputed_clients
from protocols.rounds.submitting import Composition
from tests.adversaries import (
    WRONG_CIPHERTEXT,
    WRONG_KEY,
    become,
    false_ack,
    false_release,
    resigned,
    sealing_badly_for,
    submission_of,
    with_bad_ciphertext,
    with_bad_proof,
)
from tests.simulator import Simulation

NAMES = [f"trustee-{i}" for i in range(5)]
CORRUPT, HONEST = NAMES[:2], NAMES[2:]


def refused(check: str) -> pytest.RaisesExc[Rejected]:
    return pytest.RaisesExc(Rejected, check=lambda error: error.check == check)


def current_of(simulation: Simulation) -> CurrentRound:
    current = simulation.coordinator.ledger.current
    assert current is not None
    return current


def submit_all(simulation: Simulation) -> int:
    number = simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    return number


def check_sum(simulation: Simulation, result: object) -> None:
    assert result.aborted is None
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))


# ---- lying trustees ----


def test_a_false_complaint_excludes_the_complainer(simulation: Simulation) -> None:
    submit_all(simulation)
    simulation.acknowledge(NAMES[1:])
    simulation.store(
        simulation.coordinator.receive_ack(Acknowledgement(false_ack(simulation, NAMES[0], ["client-01"])))
    )
    assert simulation.close_cohort() is None
    assert simulation.asked() == tuple(NAMES[1:])
    simulation.release()
    check_sum(simulation, simulation.finish())


def test_false_complaints_by_f_trustees_convict_nobody(simulation: Simulation) -> None:
    """With m - f < t they can keep a client out of a cohort; they cannot make an offender of it."""
    submit_all(simulation)
    simulation.acknowledge(HONEST)
    for name in CORRUPT:
        simulation.store(
            simulation.coordinator.receive_ack(Acknowledgement(false_ack(simulation, name, ["client-01"])))
        )
    closed = simulation.store(simulation.coordinator.close_cohort())
    message = closed.entries[0].message
    assert isinstance(message, CohortClosed)
    assert [exclusion.reason for exclusion in message.excluded] == ["unacknowledged"]
    assert disputed_clients(current_of(simulation)) == set()


def test_complaints_by_more_than_f_trustees_convict(simulation: Simulation) -> None:
    become(simulation, "client-01", sealing_badly_for(*NAMES[:3]))
    submit_all(simulation)
    simulation.acknowledge()
    closed = simulation.store(simulation.coordinator.close_cohort())
    message = closed.entries[0].message
    assert isinstance(message, CohortClosed)
    assert [(each.reason, each.detail) for each in message.excluded] == [
        ("disputed", "by trustee-0, trustee-1, trustee-2")
    ]
    assert disputed_clients(current_of(simulation)) == {"client-01"}


def test_a_wrong_release_is_logged_named_and_not_used(simulation: Simulation) -> None:
    submit_all(simulation)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.store(simulation.coordinator.receive_release(false_release(simulation, "trustee-0")))
    simulation.release(NAMES[1:])
    assert simulation.coordinator.valid_releases() == NAMES[1:]
    check_sum(simulation, simulation.finish())


def test_too_many_wrong_releases_abort_with_their_names(simulation: Simulation) -> None:
    submit_all(simulation)
    simulation.acknowledge()
    simulation.close_cohort()
    share = simulation.trustees["trustee-2"].release(1, simulation.coordinator.note, simulation.blob).blob
    for name, blob in (("trustee-0", share), ("trustee-1", b"\xff" * len(share))):
        simulation.store(simulation.coordinator.receive_release(false_release(simulation, name, blob)))
    simulation.release(["trustee-2", "trustee-3"])
    aborted = simulation.store(simulation.coordinator.aggregate())
    message = aborted.entries[0].message
    assert isinstance(message, RoundAborted)
    assert [(each.party, each.reason) for each in message.missing] == [
        ("trustee-0", "wrong-release"),
        ("trustee-1", "wrong-release"),
        ("trustee-4", "no-release"),
    ]


# ---- lying clients ----


@pytest.mark.parametrize("liar", [WRONG_CIPHERTEXT, WRONG_KEY], ids=["ciphertext", "key"])
def test_a_ciphertext_that_is_not_of_the_commitments_stops_the_round(simulation: Simulation, liar: Composition) -> None:
    """Nothing wrong is published, the log stays consistent, and the same clients can repeat the round."""
    honest = simulation.clients["client-02"]
    become(simulation, "client-02", liar)
    result = simulation.play_round()
    assert result.aborted == "opening-failed"
    assert simulation.coordinator.ledger.model == simulation.pinned.policy.initial_model
    simulation.clients["client-02"] = honest
    result = simulation.play_round()
    assert result.accepted == tuple(simulation.clients)
    check_sum(simulation, result)


def test_bad_proofs_bad_ciphertexts_and_duplicates_are_logged_and_left_out(simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(clients=5)
    simulation.open_round()
    for name, spoil in (("client-01", with_bad_proof), ("client-03", with_bad_ciphertext)):
        simulation.store(simulation.coordinator.receive(spoil(simulation, simulation.package(name))))
    for name in ("client-00", "client-02", "client-04"):
        simulation.submit(name)
    twice = with_bad_proof(simulation, simulation.package("client-04"))
    simulation.store(simulation.coordinator.receive(twice))
    faults = {verdict.client: verdict.fault.reason for verdict in simulation.coordinator.verdicts() if verdict.fault}
    assert faults == {"client-01": "invalid-proof", "client-03": "malformed", "client-04": "duplicate"}
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    result = simulation.finish()
    assert result.accepted == ("client-00", "client-02", "client-04")
    check_sum(simulation, result)


def test_a_third_submission_is_not_logged(simulation: Simulation) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    simulation.store(simulation.coordinator.receive(package))
    simulation.store(simulation.coordinator.receive(with_bad_proof(simulation, package)))
    with refused("duplicate"):
        simulation.coordinator.receive(with_bad_ciphertext(simulation, package))


def test_a_copy_of_another_clients_submission_is_a_replay(simulation: Simulation) -> None:
    simulation.open_round()
    victim = simulation.package("client-00")
    simulation.store(simulation.coordinator.receive(victim))
    thief = resigned(simulation, victim, {}, client="client-01")
    simulation.store(simulation.coordinator.receive(thief))
    verdicts = [verdict.fault.reason if verdict.fault else None for verdict in simulation.coordinator.verdicts()]
    assert verdicts == [None, "replayed"]


def test_one_blob_in_two_roles_has_the_wrong_size_for_one(simulation: Simulation) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    message = submission_of(package)
    for role, other in (("ciphertext", message.proof), ("commitments", message.shares[0].blob)):
        with refused("blob-size"):
            simulation.coordinator.receive(resigned(simulation, package, {}, **{role: other}))


@pytest.mark.parametrize("name", ["commitments", "ciphertext", "share_commitments", "proof"])
@pytest.mark.parametrize("change", [1, -1])
def test_blobs_of_another_size_are_not_stored(simulation: Simulation, name: str, change: int) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    blob = package.blobs[getattr(submission_of(package), name)]
    other = blob + b"\x00" if change == 1 else blob[:-1]
    with refused("blob-size"):
        simulation.coordinator.receive(resigned(simulation, package, {name: other}))
    assert current_of(simulation).submissions == ()
