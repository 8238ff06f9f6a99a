"""Rounds whose policy asks for a coordinate bound and for the proof of encryption: no client can hurt or stop one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor import audit
from proofs.errors import Malformed, Misuse, Rejected
from proofs.prover import Encrypted, complete, in_range, project
from protocols.invitation import VerifiedRound
from protocols.rounds.client import Client, Draft
from tests.adversaries import WrongCiphertextClient, WrongKeyClient, become
from tests.simulator import RoundResult, Setting, Simulation

PROVED = Setting(encryption_proof=True)
BOUNDED = Setting(encryption_proof=True, coordinate_clip=0.25)
BOUNDED_ONLY = Setting(coordinate_clip=0.25)


class ProvesAnyway(Client):
    """The honest prover's steps without its refusals."""

    def _prove(
        self, verified: VerifiedRound, draft: Draft, ciphertext: bytes, share_commitments: bytes, context: bytes
    ) -> bytes:
        parameters, encrypted = self._pinned.argument, self._encrypted(verified, draft, ciphertext, share_commitments)
        while True:
            projected = project(self._engine, parameters, draft.committed, context, self._rand, encrypted)
            if in_range(parameters, projected):
                proof = complete(self._engine, parameters, draft.committed, projected, self._rand, encrypted)
                return proof.encode(parameters)


class WrongCiphertext(WrongCiphertextClient, ProvesAnyway):
    """Encrypts one more than it committed to, and proves as well as it can."""


class WrongKey(WrongKeyClient, ProvesAnyway):
    """Shares another key than it encrypted with."""


class WrongBlindings(ProvesAnyway):
    """Shares other row blindings than those of its commitments: the aggregate would not open."""

    def _share(self, verified: VerifiedRound, draft: Draft) -> tuple[bytes, tuple[bytes, ...]]:
        made = draft.committed
        other = replace(made, row_blindings=(made.row_blindings[0] ^ 1, *made.row_blindings[1:]))
        return super()._share(verified, replace(draft, committed=other))


class OversizedError(ProvesAnyway):
    """One error of T / 2: coarsely short, and it shifts the plaintext of the whole cohort."""

    def _encrypt(self, verified: VerifiedRound, draft: Draft) -> bytes:
        message = draft.committed.tables[0].copy()
        message[0, 0] += self._pinned.lattice.plaintext_scale // 4
        shifted = replace(draft.committed, tables=(message, *draft.committed.tables[1:]))
        return super()._encrypt(verified, replace(draft, committed=shifted))


class AnotherBlinding(ProvesAnyway):
    """Proves with another blinding of E_0 than the one it shared with."""

    def _encrypted(
        self, verified: VerifiedRound, draft: Draft, ciphertext: bytes, share_commitments: bytes
    ) -> Encrypted | None:
        return super()._encrypted(
            verified, replace(draft, share_blinding=draft.share_blinding ^ 1), ciphertext, share_commitments
        )


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


@pytest.mark.parametrize(
    "liar", [WrongCiphertext, WrongKey, WrongBlindings, OversizedError, AnotherBlinding], ids=lambda kind: kind.__name__
)
def test_who_encrypts_or_shares_something_else_is_named_and_the_round_closes(
    tmp_path: Path, liar: type[Client]
) -> None:
    simulation = started(tmp_path, PROVED)
    become(simulation, "client-01", liar)
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
    become(simulation, "client-01", WrongCiphertextClient)
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
