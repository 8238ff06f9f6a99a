"""How a submission is made: functions whose composition is what a client sends, and secrets that are wiped."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from proofs.errors import Misuse
from protocols import hpke
from protocols.blobs import blob_hash
from protocols.contexts import NO_PROOF
from protocols.rounds import submitting
from protocols.rounds.client import Client
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.submitting import HONEST, ClientRound, Parts, Secrets
from protocols.stores import MemoryStore
from tests.adversaries import submission_of
from tests.seeded import seeded
from tests.simulator import Simulation, identity_of

Simulate = Callable[..., Simulation]
NAME = "client-01"
SETTINGS = {
    "norm": {},
    "range": {"coordinate_clip": 0.25},
    "encryption": {"encryption_proof": True},
    "both": {"coordinate_clip": 0.25, "encryption_proof": True},
}


@pytest.fixture
def sealed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library draws the encapsulation's randomness from the system: here it is a function of what is sealed."""

    def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
        stream = hashlib.shake_256(b"".join(hashlib.sha256(part).digest() for part in (public, info, plaintext)))
        return stream.digest(len(plaintext) + hpke.OVERHEAD)

    monkeypatch.setattr(hpke, "seal", seal)


def client_of(simulation: Simulation) -> Client:
    identity, engine = identity_of(NAME, simulation.setting.seed), simulation.engine
    return Client(simulation.pinned, identity, NAME, MemoryStore(), engine, seeded("the same"))


def composed(simulation: Simulation, at: ClientRound, update: submitting.Update) -> SubmissionPackage:
    """Function by function, as whoever measures or changes one of them does."""
    engine, rand = simulation.engine, seeded("the same")
    noise = submitting.draw_noise(engine, at, rand)
    tables = submitting.encode(at, update, noise, rand)
    secrets = submitting.commit_to(engine, at, noise, tables, rand)
    ciphertext = submitting.encrypt(at, secrets)
    shared = submitting.share(engine, at, secrets, rand)
    parts = Parts(ciphertext, shared.commitments, submitting.seal_shares(at, shared.shares))
    message = submitting.describe(at, secrets.committed, parts)
    assert message.proof == NO_PROOF
    proof = submitting.prove(engine, at, secrets, parts, message, rand)
    blobs = submitting.sent_blobs(secrets.committed, parts, proof)
    return submitting.sign(replace(message, proof=blob_hash(proof)), blobs, identity_of(NAME, simulation.setting.seed))


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_functions_compose_to_what_a_client_sends(simulate: Simulate, sealed_alike: None, setting: str) -> None:
    simulation = simulate(**SETTINGS[setting])
    simulation.open_round()
    opened, update = simulation.accept(NAME), simulation.random_update(NAME)
    at = ClientRound.of(simulation.pinned, opened.verified, NAME)
    sent = client_of(simulation).submit(opened, update)
    assert composed(simulation, at, update) == sent
    identity = identity_of(NAME, simulation.setting.seed)
    assert submitting.make(simulation.engine, at, update, identity, seeded("the same")) == sent
    other = submitting.make(simulation.engine, at, update, identity, seeded("another"))
    ours, theirs = submission_of(sent), submission_of(other)
    fields = ["commitments", "ciphertext", "share_commitments", "shares", "proof"]
    assert not [name for name in fields if getattr(ours, name) == getattr(theirs, name)]


def test_an_exchanged_function_changes_what_comes_after_it_alone(simulate: Simulate, sealed_alike: None) -> None:
    simulation = simulate()
    simulation.open_round()
    at = ClientRound.of(simulation.pinned, simulation.accept(NAME).verified, NAME)
    update, identity = simulation.random_update(NAME), identity_of(NAME, simulation.setting.seed)

    def nothing(place: ClientRound, secrets: Secrets) -> submitting.Ciphertext:
        return submitting.pack(place, np.zeros(place.pinned.cells, dtype=np.int64))

    made = [
        submission_of(submitting.make(simulation.engine, at, update, identity, seeded("the same"), using))
        for using in (HONEST, replace(HONEST, encrypt=nothing))
    ]
    differing = {name for name in vars(made[0]) if getattr(made[0], name) != getattr(made[1], name)}
    assert differing == {"ciphertext", "proof"}


@pytest.mark.parametrize("fails", [False, True])
def test_what_can_be_wiped_is_wiped_once_the_submission_is_made(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Key, errors and tables, and where nothing comes of them, too; the update is the caller's."""
    simulation.open_round()
    drawn: list[Secrets] = []
    real = submitting.commit_to
    monkeypatch.setattr(submitting, "commit_to", lambda *given: drawn.append(real(*given)) or drawn[-1])
    opened, update = simulation.accept(NAME), simulation.random_update(NAME)
    kept, client = update.copy(), client_of(simulation)
    if fails:
        monkeypatch.setattr(submitting, "sent_blobs", lambda *_: refuse())
        with pytest.raises(Misuse):
            client.submit(opened, update)
    else:
        client.submit(opened, update)
    (secrets,) = drawn
    arrays = [secrets.noise.key, secrets.noise.errors, *secrets.committed.tables]
    assert not any(array.any() for array in arrays)
    assert kept.any()
    assert (update == kept).all()


def refuse() -> None:
    raise Misuse("no")


def test_secrets_stay_out_of_messages(simulation: Simulation) -> None:
    simulation.open_round()
    at = ClientRound.of(simulation.pinned, simulation.accept(NAME).verified, NAME)
    rand, update = seeded(1), simulation.random_update(NAME)
    secrets = submitting.commit(simulation.engine, at, update, rand)
    shared = submitting.share(simulation.engine, at, secrets, rand)
    for secret in (secrets, shared):
        assert repr(secret).startswith(f"<protocols.rounds.submitting.{type(secret).__name__} object at ")
