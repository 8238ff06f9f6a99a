"""Rounds that are opened, aborted and repeated without one client, up to where the repetition's cohort is closed.

In UNJUST the differencing rule protects that client, whatever it did before or does besides; in JUST its fault in the
repetition exempts it. In NEW it was not in the opened cohort, and would be in the repetition.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from protocols.blob_sizes import sized_blobs
from protocols.envelopes import Entry
from protocols.messages import CohortClosed
from protocols.rounds import closing, releasing, rules
from protocols.rounds.client import Client
from protocols.rounds.drafts import draft_cohort
from protocols.rounds.exchange import SubmissionPackage
from protocols.stores import MemoryStore
from tests.adversaries import become, sealing_badly_for, submission_of, with_bad_ciphertext, with_bad_proof
from tests.seeded import seeded
from tests.simulator import Simulation

VICTIM = "client-03"
CORRUPT = ("trustee-0", "trustee-1")


def cohort_of(simulation: Simulation) -> CohortClosed:
    """What the rule of the cohort gives, without regard to the cohort that was opened before."""
    current = simulation.coordinator.ledger.current
    assert current is not None
    return draft_cohort(simulation.pinned, replace(current, earlier=None), simulation.coordinator._faults())


def second_submission(simulation: Simulation) -> SubmissionPackage:
    """What the victim sends after losing its store: another valid submission for the same round."""
    party = simulation._party(VICTIM)
    client = Client(*party, VICTIM, MemoryStore(), simulation.engine, seeded("again"))
    current = simulation.coordinator.ledger.current
    assert current is not None
    opened = client.accept(
        simulation.coordinator.invitation(), simulation.blob(current.message.model, simulation.pinned.model_size)
    )
    return client.submit(opened, simulation.random_update("again"))


def log(simulation: Simulation, package: SubmissionPackage) -> None:
    """Into the log, whether or not the coordinator would admit it."""
    named = {name: package.blobs[name] for name, _ in sized_blobs(simulation.pinned, submission_of(package))}
    simulation.store(simulation.coordinator._log([Entry.open(package.entry)], named))


def others(simulation: Simulation) -> list[str]:
    """Everybody but the victim."""
    return [name for name in simulation.clients if name != VICTIM]


def submit(simulation: Simulation, *packages: Callable[[], SubmissionPackage]) -> None:
    """A round opened; the others' submissions, then the victim's packages; acknowledged."""
    simulation.open_round()
    for name in others(simulation):
        simulation.submit(name)
    for package in packages:
        log(simulation, package())
    simulation.acknowledge()


def withhold(simulation: Simulation) -> None:
    """The cohort closed, then too few releases."""
    assert simulation.close_cohort() is None
    simulation.release([name for name in simulation.asked() if name not in CORRUPT])
    assert simulation.finish().aborted == "missing-releases"


def bad_proof(simulation: Simulation) -> SubmissionPackage:
    return with_bad_proof(simulation, simulation.package(VICTIM))


def bad_ciphertext(simulation: Simulation) -> SubmissionPackage:
    return with_bad_ciphertext(simulation, simulation.package(VICTIM))


def bad_shares(simulation: Simulation) -> SubmissionPackage:
    """More than f trustees will dispute it."""
    honest = simulation.clients[VICTIM]
    become(simulation, VICTIM, sealing_badly_for("trustee-0", "trustee-1", "trustee-2"))
    package = simulation.package(VICTIM)
    simulation.clients[VICTIM] = honest
    return package


Fault = Callable[[Simulation], SubmissionPackage]


def duplicate_before(simulation: Simulation) -> None:
    """The victim lost its store in the opened round and submitted twice."""
    submit(simulation, lambda: simulation.package(VICTIM), lambda: second_submission(simulation))
    withhold(simulation)
    submit(simulation)


def duplicate_within(simulation: Simulation) -> None:
    """A bad submission of the repetition, and a good one after it."""
    simulation.play_round(silent=CORRUPT)
    submit(simulation, lambda: bad_proof(simulation), lambda: simulation.package(VICTIM))


def fault_long_ago(fault: Fault) -> Callable[[Simulation], None]:
    """In a round that was closed; in the opened one the victim was honest."""

    def play(simulation: Simulation) -> None:
        submit(simulation, lambda: fault(simulation))
        assert simulation.close_cohort() is None
        simulation.release()
        assert simulation.finish().aborted is None
        simulation.play_round(silent=CORRUPT)
        submit(simulation)

    return play


def admit_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every party is corrupt: the rules about the cohort that was opened before are not kept."""
    monkeypatch.setattr(rules, "is_in", lambda *_: True)
    monkeypatch.setattr(closing, "clients_of", lambda *_: None)
    monkeypatch.setattr(releasing, "check_cohort_difference", lambda *_: None)


def fault_before(fault: Fault) -> Callable[[Simulation], None]:
    """In the opened round, so that the repetition's cohort would be the larger one."""

    def play(simulation: Simulation) -> None:
        submit(simulation, lambda: fault(simulation))
        withhold(simulation)
        submit(simulation, lambda: simulation.package(VICTIM))

    return play


def fault_between(fault: Fault) -> Callable[[Simulation], None]:
    """In a first repetition that was opened too, and gave it up; the second is without the victim."""

    def play(simulation: Simulation) -> None:
        simulation.play_round(silent=CORRUPT)
        submit(simulation, lambda: fault(simulation))
        withhold(simulation)
        submit(simulation)

    return play


def fault_within(fault: Fault) -> Callable[[Simulation], None]:
    """In the repetition itself."""

    def play(simulation: Simulation) -> None:
        simulation.play_round(silent=CORRUPT)
        submit(simulation, lambda: fault(simulation))

    return play


UNJUST: dict[str, Callable[[Simulation], None]] = {
    "a duplicate in the opened round": duplicate_before,
    "a duplicate in the repetition": duplicate_within,
    "disputed long ago": fault_long_ago(bad_shares),
    "an invalid proof long ago": fault_long_ago(bad_proof),
}

NEW: dict[str, Callable[[Simulation], None]] = {
    "disputed before": fault_before(bad_shares),
    "an invalid proof before": fault_before(bad_proof),
}

JUST: dict[str, Callable[[Simulation], None]] = {
    "an invalid proof": fault_within(bad_proof),
    "malformed": fault_within(bad_ciphertext),
    "disputed": fault_within(bad_shares),
    "an invalid proof in between": fault_between(bad_proof),
}
