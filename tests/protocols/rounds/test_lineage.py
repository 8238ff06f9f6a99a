"""A server that closes a round with a model of its own, nearly that of the round: the differencing rule does not see
the cohort before in the next round. Trustees replay the step to the model before they release a share of the next sum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from proofs.curve import POINT_SIZE
from proofs.errors import Rejected
from proofs.reference import points as curve
from protocols.blobs import blob_hash
from protocols.messages import Aggregate, RoundClosed
from protocols.opening import encode_blindings, encode_plaintext
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.ledger import CurrentRound
from protocols.steps.doubles import Doubles
from protocols.steps.fedopt import fedadam
from protocols.steps.step import apply_step, encode_model, initial_state
from tests.adversaries import resigned, submission_of
from tests.simulator import Simulation, Update


def current_of(simulation: Simulation) -> CurrentRound:
    current = simulation.coordinator.ledger.current
    assert current is not None
    return current


def released(simulation: Simulation, packages: Sequence[SubmissionPackage] | None = None) -> None:
    """Round 1 up to its releases."""
    if packages is None:
        simulation.open_round()
        packages = [simulation.package(name) for name in simulation.clients]
    for package in packages:
        simulation.store(simulation.coordinator.receive(package))
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    assert len(current_of(simulation).accepted_submissions()) == len(simulation.clients)
    simulation.release()


def sum_at_will(simulation: Simulation, plaintext: Update, blindings: Sequence[int]) -> None:
    """An Aggregate of whatever the server likes."""
    current, coordinator = current_of(simulation), simulation.coordinator
    assert current.cohort is not None
    blobs = (b"a sum of ciphertexts", b"a key", encode_plaintext(plaintext), encode_blindings(blindings))
    names = [blob_hash(blob) for blob in blobs]
    releases = tuple(release.index for release in current.releases[: simulation.setting.threshold])
    cohort = current.cohort.entry
    total = Aggregate("simulated", 1, cohort, releases, names[0], names[1], names[2], names[3], None, None)
    simulation.store(coordinator._log([coordinator._seal(total)], dict(zip(names, blobs, strict=True))))


def close_at_will(simulation: Simulation, model: Doubles) -> None:
    """Round 1 closed with this model, round 2 opened without the last client and taken to its cohort."""
    coordinator, blob, aggregate = simulation.coordinator, encode_model(model), current_of(simulation).aggregate
    assert aggregate is not None
    closed = RoundClosed("simulated", 1, aggregate, blob_hash(blob), None)
    simulation.store(coordinator._log([coordinator._seal(closed)], {blob_hash(blob): blob}))
    simulation.checkpoint()
    simulation.open_round()
    for name in list(simulation.clients)[:-1]:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None


def one_unit(simulation: Simulation) -> tuple[Update, Doubles]:
    """The smallest sum that changes the model, and the model that follows from it."""
    plaintext = np.zeros(simulation.setting.dimension, dtype=np.int64)
    plaintext[0] = 1
    policy = simulation.pinned.policy
    return plaintext, apply_step(policy, initial_state(policy, simulation.model), plaintext, 4, 1).model


def check_refused(simulation: Simulation, reason: str) -> None:
    assert len(simulation.asked()) >= simulation.setting.threshold
    for name in simulation.asked():
        with pytest.raises(Rejected) as excinfo:
            simulation.trustees[name].release(2, simulation.coordinator.note, simulation.blob)
        assert excinfo.value.check == "lineage"
        assert excinfo.value.expected.startswith(reason)


def test_a_false_server_step(simulation: Simulation) -> None:
    released(simulation)
    simulation.store(simulation.coordinator.aggregate())
    model = simulation.model.copy()
    model[0] = np.nextafter(model[0], np.inf)
    close_at_will(simulation, model)
    check_refused(simulation, "the model")


def test_a_false_sum(simulation: Simulation) -> None:
    released(simulation)
    plaintext, model = one_unit(simulation)
    sum_at_will(simulation, plaintext, [1] * simulation.pinned.argument.shape.data_rows)
    close_at_will(simulation, model)
    check_refused(simulation, "opening")


def test_a_commitment_that_cancels_all_others(simulation: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client of the server's commits to one unit less what the others commit to, without knowing what that is; so
    the cohort's sum opens to one unit. Only its proof shows that, and the server calls it valid."""
    simulation.open_round()
    packages = [simulation.package(name) for name in simulation.clients]
    plaintext, model = one_unit(simulation)
    shape = simulation.pinned.argument.shape
    table, blindings = np.zeros((shape.data_rows, shape.columns), dtype=np.int64), [1] * shape.data_rows
    table[0, 0] = 1
    wanted = curve.decode_all(simulation.engine.commit_rows(table, blindings))
    *honest, own = [each.blobs[submission_of(each).commitments] for each in packages]
    rows = [curve.decode_all(each)[: shape.data_rows] for each in honest]
    cancelling = [
        curve.encode(curve.combine([point, *others], [1, *[-1] * len(others)]))
        for point, *others in zip(wanted, *rows, strict=True)
    ]
    forged = b"".join(cancelling) + own[-POINT_SIZE:]
    packages[-1] = resigned(simulation, packages[-1], {"commitments": forged})
    monkeypatch.setattr(simulation.coordinator, "_faults", dict)
    released(simulation, packages)
    sum_at_will(simulation, plaintext, blindings)
    close_at_will(simulation, model)
    check_refused(simulation, "linear-relation")


def test_steps_with_memory_are_replayed(simulate: Callable[..., Simulation]) -> None:
    simulation = simulate(step=fedadam(), clients=3)
    for number in (1, 2, 3):
        assert simulation.play_round().number == number
