"""What the rules of rounds do not stop, exactly as far as the specification says so (1.3, 8.8).

In each test somebody isolates a client: the difference of two opened sums is its update. Clients train the same way
twice on one model, as they do with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from protocols import sharing
from protocols.lattice.encryption import unpack
from protocols.opening import open_sum
from protocols.rounds.ledger import CurrentRound
from protocols.weights import Summands
from tests.simulator import Simulation, Update

VICTIM = "client-05"


def current_of(simulation: Simulation) -> CurrentRound:
    current = simulation.coordinator.ledger.current
    assert current is not None
    return current


def updates(simulation: Simulation) -> dict[str, Update]:
    return {name: simulation.random_update(name) for name in simulation.clients}


def closed(simulation: Simulation, clients: Sequence[str]) -> str | None:
    """A round over these clients up to its cohort; why it was aborted instead."""
    simulation.open_round()
    for name in clients:
        simulation.submit(name, updates(simulation)[name])
    simulation.acknowledge()
    return simulation.close_cohort()


def summed(simulation: Simulation) -> Update:
    """The closed cohort's sum, published."""
    simulation.release()
    plaintext = simulation.finish().plaintext
    assert plaintext is not None
    return plaintext


def open_and_withhold(simulation: Simulation) -> Update:
    """The server asks for all releases, opens the sum for itself, and logs one release too few."""
    current, pinned = current_of(simulation), simulation.pinned
    shares, threshold = {}, pinned.policy.threshold
    for count, name in enumerate(simulation.asked()):
        release = simulation.trustees[name].release(current.number, simulation.coordinator.note, simulation.blob)
        if count < threshold:
            shares[name] = sharing.Share.decode(release.blob, pinned.secret_length)
        if count < threshold - 1:
            simulation.store(simulation.coordinator.receive_release(release))
    names = [each.message.ciphertext for each in current.accepted_submissions()]
    blobs = [unpack(pinned.lattice, simulation.blob(each, pinned.ciphertext_size), pinned.cells) for each in names]
    total = np.sum(blobs, axis=0) % pinned.lattice.modulus
    opened = open_sum(pinned, current.message.seed, shares, total, Summands(len(names), len(names)))
    assert simulation.finish().aborted == "missing-releases"
    return opened.plaintext


@pytest.mark.parametrize(("colluders", "isolated"), [(1, False), (2, True)])
def test_the_differencing_rule_holds_against_two_clients_fewer_than_a_cohort(
    simulate: Callable[..., Simulation], colluders: int, isolated: bool
) -> None:
    """min_cohort = 3: a difference of three is allowed, and hides nothing if two of them are the server's. With one the
    rule takes a third client, of nobody's choice, out of the repetition."""
    simulation = simulate(clients=6, min_cohort=3)
    everybody, own = list(simulation.clients), list(simulation.clients)[:colluders]
    assert closed(simulation, everybody) is None
    first = open_and_withhold(simulation)
    rest = [name for name in everybody if name != VICTIM and name not in own]
    assert closed(simulation, rest) is None
    second = summed(simulation)
    known = np.sum([updates(simulation)[name] for name in own], axis=0)
    assert np.array_equal(first - second - known, updates(simulation)[VICTIM]) is isolated
