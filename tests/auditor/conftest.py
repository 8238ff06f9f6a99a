"""Transcripts to audit, each made once a session by the real parties, and the adversary who takes them apart."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from auditor import Report, Status, audit
from auditor.blobs import Blobs
from auditor.case import Case
from auditor.memory import Memory
from auditor.outcomes import Hands
from auditor.reports.page.compose import page_of
from auditor.reports.page.render import to_html
from protocols import hpke
from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope, seal
from protocols.messages import Submission
from protocols.policy import PrivacyBudget, WeightRule
from protocols.reasons import LEFT, NO_COHORT
from protocols.rounds.client import Client
from protocols.rounds.exchange import SubmissionPackage
from protocols.steps.doubles import format_double
from protocols.steps.fedopt import fedadam
from protocols.stores import MemoryStore
from tests.auditor.forge import Forge
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of

Forged = Callable[[str], Forge]


def resigned(simulation: Simulation, package: SubmissionPackage, blobs: dict[str, bytes]) -> SubmissionPackage:
    """A client's own package with some of its blobs replaced, by field; signed again with the client's key."""
    message = open_envelope(package.entry).message
    assert isinstance(message, Submission)
    changed = replace(message, **{name: blob_hash(data) for name, data in blobs.items()})
    entry = seal(changed, message.client, identity_of(message.client, simulation.setting.seed))
    return SubmissionPackage(entry, {**package.blobs, **{blob_hash(data): data for data in blobs.values()}})


def last_bundle(transcript: Path) -> Path:
    """The partial bundle that the latest checkpoint needs; earlier ones have their own."""
    return max((transcript / "tile" / "entries").rglob("*.p/*"), key=lambda path: (path.parent, int(path.name)))


def unreadable_shares(simulation: Simulation, name: str, trustees: int) -> SubmissionPackage:
    """A valid submission whose shares for the first `trustees` trustees are encrypted to somebody else."""
    opened = simulation.accept(name)
    keys = list(opened.verified.round_keys)
    for position in range(trustees):
        _, other = hpke.generate_round_key(seeded(f"somebody else {position}"))
        keys[position] = replace(keys[position], public_key=other)
    verified = replace(opened.verified, round_keys=tuple(keys))
    return simulation.clients[name].submit(replace(opened, verified=verified), simulation.random_update(name))


def second_submission(simulation: Simulation, name: str) -> SubmissionPackage:
    """What a client sends that has lost its store: another valid submission for the same round."""
    client = Client(simulation.pinned, identity_of(name), name, MemoryStore(), simulation.engine, seeded("again"))
    current = simulation.coordinator.ledger.current
    assert current is not None
    model = simulation.blob(current.message.model, simulation.pinned.model_size)
    opened = client.accept(simulation.coordinator.invitation(0), model)
    return client.submit(opened, simulation.random_update("again"))


def quiet_round(directory: Path) -> Simulation:
    """One honest round of four clients, FedAvg."""
    simulation = Simulation(directory)
    simulation.start()
    simulation.play_round()
    return simulation


def abort(simulation: Simulation) -> None:
    """A round that four trustees acknowledge and three release."""
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge(["trustee-0", "trustee-1", "trustee-2", "trustee-3"])
    simulation.close_cohort()
    simulation.release(["trustee-1", "trustee-2", "trustee-3"])
    simulation.finish()


def aborted_round(directory: Path) -> Simulation:
    """An honest round, and one that ends without an aggregate."""
    simulation = quiet_round(directory)
    abort(simulation)
    return simulation


def eventful(directory: Path) -> Simulation:
    """FedAdam with six clients. Round 1: one invalid proof, one disputed, one duplicate. Round 2 is aborted after its
    cohort was closed, round 3 repeats it."""
    simulation = Simulation(directory, Setting(clients=6, step=fedadam()))
    simulation.start()
    simulation.open_round()
    for name in ("client-00", "client-01", "client-02", "client-03"):
        simulation.submit(name)
    package = simulation.package("client-04")
    message = open_envelope(package.entry).message
    assert isinstance(message, Submission)
    proof = bytearray(package.blobs[message.proof])
    proof[-1] ^= 1
    simulation.store(simulation.coordinator.receive(resigned(simulation, package, {"proof": bytes(proof)})))
    disputed = unreadable_shares(simulation, "client-05", simulation.setting.corrupt + 1)
    simulation.store(simulation.coordinator.receive(disputed))
    simulation.store(simulation.coordinator.receive(second_submission(simulation, "client-00")))
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    simulation.finish()
    abort(simulation)
    simulation.play_round()
    return simulation


def outage(directory: Path) -> Simulation:
    """Two of five trustees do not release, so that too few would be left without them; they are back for the retry."""
    simulation = Simulation(directory)
    simulation.start()
    simulation.play_round(silent=["trustee-0", "trustee-1"])
    simulation.play_round()
    return simulation


def changed(directory: Path) -> Simulation:
    """A round; a client and a trustee rotate their keys, another of each is revoked; a round without these two."""
    simulation = Simulation(directory)
    simulation.start()
    simulation.play_round()
    simulation.change(simulation.rotation("client-00"))
    simulation.change(simulation.rotation("trustee-0"))
    simulation.change(simulation.revocation("client-03", LEFT))
    simulation.change(simulation.revocation("trustee-4"))
    simulation.play_round()
    return simulation


def over(directory: Path) -> Simulation:
    """An honest round, one that nobody answers, and the end of the federation."""
    simulation = quiet_round(directory)
    simulation.open_round()
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.store(simulation.coordinator.close_federation(NO_COHORT))
    simulation.checkpoint()
    return simulation


def proved_round(directory: Path) -> Simulation:
    """Everybody honest, under a policy that asks for a coordinate bound and for the proof of encryption."""
    simulation = Simulation(directory, Setting(coordinate_clip=0.25, encryption_proof=True))
    simulation.start()
    simulation.play_round()
    return simulation


def private_round(directory: Path) -> Simulation:
    """Everybody honest, under a policy with private weights."""
    simulation = Simulation(directory, Setting(weights=WeightRule("private", 9, format_double(1.0))))
    simulation.start()
    simulation.play_round()
    return simulation


def noisy_round(directory: Path) -> Simulation:
    """Everybody honest, under a policy with noise."""
    budget = PrivacyBudget(8_000_000, 10_000_000)
    simulation = Simulation(directory, Setting(clients=3, budget=budget, encryption_proof=True, max_rounds=4))
    simulation.start()
    simulation.play_round()
    return simulation


MAKERS: dict[str, Callable[[Path], Simulation]] = {
    "quiet": quiet_round,
    "aborted": aborted_round,
    "eventful": eventful,
    "outage": outage,
    "changed": changed,
    "proved": proved_round,
    "private": private_round,
    "noisy": noisy_round,
    "over": over,
}


@pytest.fixture(scope="session")
def simulations(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Simulation]:
    """The session's transcripts by name, made when first asked for."""
    made: dict[str, Simulation] = {}

    def get(name: str) -> Simulation:
        if name not in made:
            made[name] = MAKERS[name](tmp_path_factory.mktemp(name))
        return made[name]

    return get


@pytest.fixture
def forge(simulations: Callable[[str], Simulation]) -> Forged:
    """A fresh adversary over one of the session's transcripts."""

    def load(name: str) -> Forge:
        simulation = simulations(name)
        return Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)

    return load


@pytest.fixture
def copied(simulations: Callable[[str], Simulation], tmp_path: Path) -> Callable[[str], Path]:
    """A private copy of one of the session's transcripts."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(simulations(name).path, tmp_path / name))

    return copy


def failed(report: Report) -> set[str]:
    """Numbers of the checks that failed."""
    return {result.id for result in report.checks if result.status is Status.FAIL}


def judged(forge: Forge, path: Path) -> set[str]:
    """The failing checks of what a forge writes; a transcript with a failing check is not accepted."""
    report = audit(forge.write(path), forge.policy_data)
    assert report.accepted == all(result.acceptable for result in report.checks)
    return failed(report)


def paged(path: Path, policy: bytes | None) -> Report:
    """An audit of which a page is made, too: nothing in a transcript or a policy may fail that."""
    report = audit(path, policy, course=())
    assert to_html(page_of(report, ["verifl-audit"], datetime(2026, 1, 1, tzinfo=UTC)))
    return report


def case_of(path: Path, policy: bytes) -> Case:
    """An audit that has not begun."""
    return Case.open(path, policy, "native", lambda done, total: None)


def hands_of(case: Case) -> Hands:
    """What the checks of an audit are handed of it, beside what other checks leave."""
    return {Case: case, Blobs: Blobs(case), Memory: Memory()}


def flipped(data: bytes, position: int = 0) -> bytes:
    """`data` with one bit changed."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def integers(data: bytes, dtype: str) -> np.ndarray:
    """A blob of integers, to be changed."""
    return np.frombuffer(data, dtype=dtype).copy()
