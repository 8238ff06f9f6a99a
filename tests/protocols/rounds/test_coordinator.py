"""The coordinator's steps, their order, and what it refuses to log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import open_envelope, seal
from protocols.log.checkpoint import cosign, parse_note
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import Acknowledgement, SubmissionPackage
from protocols.rounds.record import Published, pending_entries
from protocols.stores import MemoryStore
from protocols.summation import add_residues
from tests.adversaries import false_release, resigned, submission_of
from tests.simulator import Simulation, identity_of

NAMES = [f"trustee-{i}" for i in range(5)]


def refused(check: str) -> pytest.RaisesExc[Rejected]:
    return pytest.RaisesExc(Rejected, check=lambda error: error.check == check)


def fresh(simulation: Simulation, **changes: object) -> Coordinator:
    identity = changes.get("identity", identity_of("coordinator"))
    store = changes.get("store", MemoryStore())
    return Coordinator(
        simulation.pinned,
        identity,
        store,
        simulation.engine,
        add_residues,
        simulation.blob,
        simulation.waits,
        changes.get("published"),
    )


def test_steps_out_of_order_are_misuse(simulation: Simulation) -> None:
    coordinator = simulation.coordinator
    for step in (coordinator.close_cohort, coordinator.aggregate, coordinator.close_round, coordinator.abort):
        with pytest.raises(Misuse):
            step()
    simulation.open_round()
    for step in (coordinator.aggregate, coordinator.close_round):
        with pytest.raises(Misuse):
            step()
    with pytest.raises(Misuse):
        coordinator.open_round([])
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    for step in (coordinator.close_cohort, coordinator.close_round):
        with pytest.raises(Misuse):
            step()


def test_nothing_before_genesis(simulation: Simulation) -> None:
    coordinator = fresh(simulation)
    for step in (coordinator.checkpoint, coordinator.step_state, lambda: coordinator.open_round([])):
        with pytest.raises(Misuse):
            step()
    with refused("model"):
        coordinator.genesis(np.zeros(40))
    coordinator.genesis(simulation.model)
    with refused("order"):
        coordinator.genesis(simulation.model)


def test_a_round_opens_only_on_a_published_checkpoint(simulation: Simulation) -> None:
    coordinator = fresh(simulation)
    coordinator.genesis(simulation.model)
    with pytest.raises(Misuse, match="checkpoint"):
        coordinator.open_round([])


def test_an_invitation_needs_the_published_round_open(simulation: Simulation) -> None:
    keys = [simulation.trustees[name].round_key(1) for name in NAMES]
    simulation.store(simulation.coordinator.open_round(keys))
    with pytest.raises(Misuse, match="checkpoint"):
        simulation.coordinator.invitation()
    simulation.checkpoint()
    with refused("since"):
        simulation.coordinator.invitation(99)
    assert simulation.coordinator.invitation(3).since == 3


def test_round_keys_that_are_not_admitted_are_left_out(simulation: Simulation) -> None:
    keys = [simulation.trustees[name].round_key(1) for name in NAMES[:4]]
    message = open_envelope(simulation.trustees["trustee-4"].round_key(1)).message
    other = seal(replace(message, round=2), "trustee-4", identity_of("trustee-4"))
    opened = simulation.store(simulation.coordinator.open_round([other, keys[0], *keys, b"\xa0"]))
    assert len(opened.entries) == 5
    assert [type(refusal.error) for refusal in opened.refused] == [Rejected, Rejected, Malformed]
    with pytest.raises(Misuse):
        simulation.coordinator.open_round(keys)


def test_too_few_round_keys(simulation: Simulation) -> None:
    with refused("round-keys"):
        simulation.coordinator.open_round([simulation.trustees[name].round_key(1) for name in NAMES[:3]])
    assert simulation.coordinator.size == 1


def test_cosignatures_that_are_not_valid_are_left_out(simulation: Simulation) -> None:
    simulation.store(simulation.coordinator.open_round([simulation.trustees[name].round_key(1) for name in NAMES]))
    note = simulation.coordinator.checkpoint()
    head = parse_note(note).checkpoint
    good = [simulation.observe(name, note) for name in NAMES[:4]]
    bad = [
        b"",
        b"\xe2\x80\x94 trustee-4 AAAA\n",
        cosign(head, "trustee-4", identity_of("client-00"), 1),
        cosign(replace(head, size=1), "trustee-4", identity_of("trustee-4"), 1),
        good[0],
    ]
    with refused("checkpoint-quorum"):
        simulation.coordinator.cosigned(note, [*good[:3], *bad])
    assert simulation.coordinator.published == 1
    complete = simulation.coordinator.cosigned(note, [*bad, *good])
    assert [signature.name for signature in parse_note(complete).signatures[1:]] == NAMES[:4]
    simulation.writer.publish(complete)


def test_what_cannot_be_attributed_is_not_logged(simulation: Simulation) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    size = simulation.coordinator.size
    strange = replace(package, entry=package.entry[:-1] + bytes([package.entry[-1] ^ 1]))
    with pytest.raises((Malformed, Rejected)):
        simulation.coordinator.receive(strange)
    for fields, check in (
        ({"round": 2}, "round"),
        ({"round_open": bytes(32)}, "round-open"),
        ({"federation": "another"}, "federation"),
        ({"shares": submission_of(package).shares[:4]}, "shares"),
    ):
        with refused(check):
            simulation.coordinator.receive(resigned(simulation, package, {}, **fields))
    with pytest.raises(Malformed):
        simulation.coordinator.receive(SubmissionPackage(simulation.coordinator.entries(0, 1)[0], {}))
    with refused("blob-missing"):
        simulation.coordinator.receive(SubmissionPackage(package.entry, {}))
    with refused("blob-hash"):
        simulation.coordinator.receive(
            SubmissionPackage(package.entry, {name: bytes(len(blob)) for name, blob in package.blobs.items()})
        )
    assert simulation.coordinator.size == size


def test_blobs_that_nobody_named_are_not_published(simulation: Simulation) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    carried = replace(package, blobs={**package.blobs, bytes(32): b"smuggled"})
    assert set(simulation.coordinator.receive(carried).blobs) == set(package.blobs)


def test_entries_of_another_type_are_refused(simulation: Simulation) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    with pytest.raises(Malformed):
        simulation.coordinator.receive_ack(Acknowledgement(package.entry))
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    release = false_release(simulation, "trustee-0")
    with pytest.raises(Malformed):
        simulation.coordinator.receive_release(replace(release, entry=package.entry))
    with refused("blob-size"):
        simulation.coordinator.receive_release(false_release(simulation, "trustee-0", b"short"))
    with refused("blob-hash"):
        simulation.coordinator.receive_release(replace(release, blob=bytes(len(release.blob) - 1) + b"\x01"))


def test_a_round_can_be_given_up(simulation: Simulation) -> None:
    simulation.open_round()
    assert simulation.store(simulation.coordinator.abort()).aborted == "too-few-submissions"
    simulation.checkpoint()
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge(NAMES[:3])
    simulation.clock += simulation.waits.quorum
    assert simulation.store(simulation.coordinator.abort()).aborted == "no-quorum"
    simulation.checkpoint()
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    with pytest.raises(Misuse, match="can be closed"):
        simulation.coordinator.abort()
    simulation.close_cohort()
    assert simulation.store(simulation.coordinator.abort()).aborted == "missing-releases"


def test_nobody_answers_what_is_not_published(simulation: Simulation) -> None:
    keys = [simulation.trustees[name].round_key(1) for name in NAMES]
    simulation.store(simulation.coordinator.open_round(keys))
    entry = simulation.coordinator.entries(0, 1)[0]
    for step in (
        lambda: simulation.coordinator.receive(SubmissionPackage(entry, {})),
        lambda: simulation.coordinator.receive_ack(Acknowledgement(entry)),
    ):
        with pytest.raises(Misuse, match="publish"):
            step()
    simulation.checkpoint()
    simulation.updates[1] = {}
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.store(simulation.coordinator.close_cohort())
    with pytest.raises(Misuse, match="publish"):
        simulation.coordinator.receive_release(false_release(simulation, "trustee-0"))


def test_max_cohort_is_kept(simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(clients=4, max_cohort=3)
    result = simulation.play_round()
    assert result.accepted == ("client-00", "client-01", "client-02")
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))


def test_rounds_end_with_the_policy(simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(max_rounds=1)
    simulation.play_round()
    with refused("round"):
        simulation.trustees["trustee-0"].round_key(2)
    with refused("round"):
        simulation.coordinator.open_round([])


def test_a_store_of_another_transcript_is_noticed(simulate: Callable[..., Simulation]) -> None:
    first, second = simulate(), simulate(seed=2)
    first.open_round()
    assert len(pending_entries(first.stores["coordinator"])) == 6
    with pytest.raises((Misuse, Rejected)):
        fresh(second, store=first.stores["coordinator"], identity=identity_of("coordinator", 2))
    with pytest.raises(Misuse):
        fresh(first, published=Published(first.coordinator.checkpoint(), first.coordinator.entries(0, 1)))


def test_the_log_key_is_the_policys(simulation: Simulation) -> None:
    with pytest.raises(Misuse):
        fresh(simulation, identity=identity_of("issuer"))


def test_two_runs_of_one_setting_make_the_same_log(simulate: Callable[..., Simulation]) -> None:
    """But for the encapsulations, whose randomness the library draws itself."""
    first, second = simulate(clients=2), simulate(clients=2)
    first.play_round()
    second.play_round()
    assert first.coordinator.ledger.model == second.coordinator.ledger.model
