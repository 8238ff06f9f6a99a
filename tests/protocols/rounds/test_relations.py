"""Rounds whose policy asks for a coordinate bound and for the proof of encryption: no client can hurt or stop one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor import audit
from proofs.engine import Engine
from proofs.errors import Malformed, Misuse, Rejected
from proofs.randomness import Randomness
from protocols.messages import Submission
from protocols.rounds.submitting import HONEST, Ciphertext, ClientRound, Parts, Secrets, Shared, encrypt, share
from tests.adversaries import WRONG_CIPHERTEXT, become, encrypt_one_more, share_another_key
from tests.simulator import RoundResult, Setting, Simulation
from verifl.adversaries.provers import proving

PROVED = Setting(encryption_proof=True)
BOUNDED = Setting(encryption_proof=True, coordinate_clip=0.25)
BOUNDED_ONLY = Setting(coordinate_clip=0.25)


def share_another_blinding(engine: Engine, at: ClientRound, secrets: Secrets, rand: Randomness) -> Shared:
    """Of a row: the aggregate would not open."""
    made = secrets.committed
    other = replace(made, row_blindings=(made.row_blindings[0] ^ 1, *made.row_blindings[1:]))
    return share(engine, at, replace(secrets, committed=other), rand)


def encrypt_an_oversized_error(at: ClientRound, secrets: Secrets) -> Ciphertext:
    """One error of T / 2: coarsely short, and it shifts the plaintext of the whole cohort."""
    made = secrets.committed
    message = made.tables[0].copy()
    message[0, 0] += at.pinned.lattice.plaintext_scale // 4
    return encrypt(at, replace(secrets, committed=replace(made, tables=(message, *made.tables[1:]))))


def prove_another_blinding(
    engine: Engine, at: ClientRound, secrets: Secrets, parts: Parts, message: Submission, rand: Randomness
) -> bytes:
    """Of E_0, than was shared with."""
    other = replace(secrets, share_blinding=secrets.share_blinding ^ 1)
    return proving()(engine, at, other, parts, message, rand)


ANYWAY = replace(HONEST, prove=proving())  # the honest prover's steps without its refusals
LIARS = {
    "ciphertext": replace(ANYWAY, encrypt=encrypt_one_more),
    "key": replace(ANYWAY, share=share_another_key),
    "row blinding": replace(ANYWAY, share=share_another_blinding),
    "error": replace(ANYWAY, encrypt=encrypt_an_oversized_error),
    "share blinding": replace(HONEST, prove=prove_another_blinding),
}


def run_round(simulation: Simulation) -> RoundResult:
    """Everybody submits, and as many trustees as are asked release."""
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    return simulation.finish()


def started(directory: Path, setting: Setting) -> Simulation:
    simulation = Simulation(directory, setting)
    simulation.start()
    return simulation


@pytest.mark.parametrize("setting", [PROVED, BOUNDED, BOUNDED_ONLY], ids=["encryption", "both", "range"])
def test_an_honest_round_closes_and_its_audit_accepts(tmp_path: Path, setting: Setting) -> None:
    simulation = started(tmp_path, setting)
    result = run_round(simulation)
    assert result.aborted is None
    assert len(result.accepted) == 4
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))
    assert audit(simulation.path, simulation.policy_data).accepted


@pytest.mark.parametrize("liar", LIARS)
def test_who_encrypts_or_shares_something_else_is_named_and_the_round_closes(tmp_path: Path, liar: str) -> None:
    simulation = started(tmp_path, PROVED)
    become(simulation, "client-01", LIARS[liar])
    result = run_round(simulation)
    assert result.aborted is None
    assert "client-01" not in result.accepted
    assert len(result.accepted) == 3
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted
    assert any("client-01" in note and "invalid-proof" in note for check in report.checks for note in check.notes)


def test_the_honest_client_refuses_to_prove_what_is_not_so(tmp_path: Path) -> None:
    simulation = started(tmp_path, PROVED)
    become(simulation, "client-01", WRONG_CIPHERTEXT)
    simulation.open_round()
    with pytest.raises(Misuse, match="ciphertext"):
        simulation.submit("client-01")


def test_a_coordinate_one_unit_beyond_its_bound_is_refused_by_the_client(tmp_path: Path) -> None:
    simulation = started(tmp_path, BOUNDED)
    bound = simulation.pinned.policy.update.coordinate_bound
    assert bound is not None
    simulation.open_round()
    update = np.zeros(simulation.setting.dimension, dtype=np.int64)
    update[3] = bound + 1
    client = simulation.clients["client-00"]
    with pytest.raises(Misuse, match="coordinate"):
        client.submit(simulation.accept("client-00"), update)


def test_a_submission_without_the_commitments_asked_for_is_not_admitted(tmp_path: Path) -> None:
    plain, proved = started(tmp_path / "a", Setting()), started(tmp_path / "b", PROVED)
    for simulation in (plain, proved):
        simulation.open_round()
    package = plain.clients["client-00"].submit(plain.accept("client-00"), plain.random_update("client-00"))
    with pytest.raises((Rejected, Malformed)):
        proved.coordinator.receive(package)
