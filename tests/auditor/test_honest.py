"""What honest parties write is accepted, and the report says what was checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auditor import Kind, Outcome, Status, audit
from auditor.checks import proofs
from protocols.audit_checks import AUDIT_CHECKS
from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope, seal
from protocols.lattice import encryption
from protocols.log.tiles import blob_path
from protocols.messages import Release, Submission
from protocols.rounds.exchange import ReleasePackage
from tests.auditor.conftest import failed, flipped
from tests.simulator import Setting, Simulation, identity_of


@pytest.mark.parametrize("name", ["quiet", "aborted", "eventful", "outage"])
def test_honest_transcripts_are_accepted(simulations, name: str) -> None:
    simulation = simulations(name)
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted
    assert [result.id for result in report.checks] == list(AUDIT_CHECKS.names)
    statuses = {result.id: result.status for result in report.checks}
    assert {statuses.pop(number) for number in ("I13", "I14", "P5")} == {Status.NOT_APPLICABLE}
    assert set(statuses.values()) == {Status.PASS}
    assert report.policy_hash == simulation.pinned.hash.hex()
    assert report.checkpoint is not None
    assert report.checkpoint.size == simulation.coordinator.size


def test_offenders_are_named(simulations) -> None:
    simulation = simulations("eventful")
    report = audit(simulation.path, simulation.policy_data)
    named = " ".join(report.check("I7").notes)
    assert "client-04 is named: invalid-proof in round 1" in named
    assert "client-05 is named: disputed in round 1" in named
    assert "client-00 is named: duplicate in round 1" in named
    assert "client-05 and trustee-2 are in dispute: share-decryption" in " ".join(report.check("I8").notes)
    assert "17 valid, 1 invalid" in report.check("I6").checked


def test_unpinned_says_what_it_believed(simulations) -> None:
    simulation = simulations("quiet")
    report = audit(simulation.path, None)
    assert report.accepted
    assert not report.pinned
    text = " ".join(report.trusted)
    for member in simulation.pinned.policy.trustees:
        assert member.public_key.hex() in text
    assert simulation.pinned.policy.log_key.hex() in text
    assert simulation.pinned.hash.hex() in text


def test_another_policy_is_not_this_transcript(simulations) -> None:
    quiet, other = simulations("quiet"), simulations("eventful")
    report = audit(quiet.path, other.policy_data)
    (finding,) = (finding for result in report.checks for finding in result.findings)
    assert report.outcome is Outcome.OTHER
    assert (failed(report), finding.kind) == ({"I2"}, Kind.OTHER)
    assert finding.found == f"{quiet.pinned.policy.federation} under policy {quiet.pinned.hash.hex()}"
    assert {result.status for result in report.checks if result.id not in {"I2", "I14", "P3", "P5"}} == {Status.SKIPPED}


def test_policy_may_be_a_path(simulations, tmp_path: Path) -> None:
    simulation = simulations("quiet")
    (tmp_path / "policy.cbor").write_bytes(simulation.policy_data)
    assert audit(str(simulation.path), str(tmp_path / "policy.cbor")).accepted


def prune(path: Path, hashes: list[bytes]) -> None:
    for name in hashes:
        (path / "blobs" / name.hex()[:2] / name.hex()).unlink()


def ciphertexts(forged) -> list[bytes]:
    return [slot.message.ciphertext for slot in forged.slots if isinstance(slot.message, Submission)]


def test_pruned_ciphertexts_skip_the_replay_only(simulations, copied, forge) -> None:
    path = copied("quiet")
    prune(path, ciphertexts(forge("quiet")))
    report = audit(path, simulations("quiet").policy_data)
    assert report.check("I9").status is Status.SKIPPED
    assert report.check("I9").reason == "ciphertexts are pruned in rounds 1 (entry 7 and 3 more)"
    assert report.check("I1").notes == ("4 ciphertexts pruned",)
    assert "0 sums and 1 decryption" in report.check("I9").checked
    assert report.accepted


def test_integrity_survives_pruning_under_a_proof_of_encryption(simulations, copied, forge) -> None:
    path = copied("proved")
    prune(path, ciphertexts(forge("proved")))
    report = audit(path, simulations("proved").policy_data)
    assert report.accepted
    assert report.check("I6").checked == "4 proofs, 4 valid, 0 invalid"
    assert report.check("I6").notes == ("4 ciphertexts pruned: that they encrypt the committed updates is not checked",)
    assert report.check("I9").status is Status.SKIPPED
    assert report.check("I10").status is Status.PASS


def test_without_ciphertexts_no_work_beyond_the_files(simulations, copied, forge, monkeypatch) -> None:
    """A transcript of small files may claim any dimension: ring elements are expanded where files are as large."""
    path = copied("proved")
    prune(path, ciphertexts(forge("proved")))
    prune(path, [simulations("proved").pinned.policy.initial_model])
    monkeypatch.setattr("protocols.submissions.expand", lambda *_: pytest.fail("expanded"))
    report = audit(path, simulations("proved").policy_data)
    assert {"I1", "I2", "I6"} <= failed(report)
    assert report.check("I6").checked == "no proof"


def test_required_replay_may_not_be_skipped(simulations, copied, forge) -> None:
    path = copied("quiet")
    prune(path, ciphertexts(forge("quiet"))[:1])
    report = audit(path, simulations("quiet").policy_data, required=["I9"])
    assert failed(report) == {"I9"}
    assert not report.accepted


def test_unfinished_round_is_noted(forge, tmp_path: Path, simulations) -> None:
    forged = forge("quiet")
    opened = next(size for size in forged.checkpoints if size > 1)
    forged.cut(opened)
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert report.accepted
    assert "ends inside a round" in report.check("I4").notes[0]


def test_reference_engine_agrees(simulations) -> None:
    simulation = simulations("quiet")
    report = audit(simulation.path, simulation.policy_data, engine="reference")
    assert report.accepted
    assert report.engine == "reference"


def too_few(simulation: Simulation) -> str | None:
    simulation.open_round()
    simulation.submit("client-00")
    simulation.acknowledge()
    return simulation.close_cohort()


def no_quorum(simulation: Simulation) -> str | None:
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge(["trustee-0", "trustee-2", "trustee-3"])
    return simulation.close_cohort()


def differencing(simulation: Simulation) -> str | None:
    """After an aborted round of three, two of them come back: one more would have to leave."""
    simulation.play_round(clients=["client-00", "client-01", "client-03"], silent=["trustee-0", "trustee-1"])
    return simulation.play_round(clients=["client-00", "client-03"]).aborted


def wrong_release(simulation: Simulation) -> str | None:
    """Of five trustees, one releases another share and one nothing."""
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release(["trustee-1", "trustee-3", "trustee-4"])
    number = simulation.coordinator.ledger.rounds
    honest = simulation.trustees["trustee-2"].release(number, simulation.coordinator.note, simulation.blob)
    message = open_envelope(honest.entry).message
    assert isinstance(message, Release)
    share = flipped(honest.blob, -1)
    entry = seal(replace(message, share=blob_hash(share)), "trustee-2", identity_of("trustee-2"))
    simulation.store(simulation.coordinator.receive_release(ReleasePackage(entry, share)))
    return simulation.finish().aborted


def opening_failed(simulation: Simulation) -> str | None:
    """A client commits to one update and encrypts another: nothing is published, nobody can say who it was."""
    simulation.open_round()
    honest = encryption.encrypt_with

    def another(parameters: Any, public: Any, key: Any, message: Any, errors: Any) -> Any:
        return honest(parameters, public, key, message + 1, errors)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encryption, "encrypt_with", another)
        simulation.submit("client-00")
    for name in ("client-01", "client-02"):
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    return simulation.finish().aborted


@pytest.mark.parametrize(
    ("play", "reason"),
    [
        (too_few, "too-few-submissions"),
        (no_quorum, "no-quorum"),
        (differencing, "differencing"),
        (wrong_release, "missing-releases"),
        (opening_failed, "opening-failed"),
    ],
)
def test_every_true_abort_is_accepted(play: Callable[[Simulation], str | None], reason: str, tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    simulation.start()
    assert play(simulation) == reason
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted


def test_a_failure_to_open_is_not_confirmed_without_the_ciphertexts(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    simulation.start()
    opening_failed(simulation)
    messages = [open_envelope(each).message for each in simulation.coordinator.entries(0, simulation.coordinator.size)]
    submission = next(each for each in messages if isinstance(each, Submission))
    file = simulation.path / blob_path(submission.ciphertext)
    file.write_bytes(flipped(file.read_bytes()))
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) >= {"I1", "I6", "I9"}
    assert any(finding.expected.startswith("blob-hash") for finding in report.check("I9").findings)


def test_proofs_are_verified_in_batches(simulations, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = simulations("eventful")
    whole = audit(simulation.path, simulation.policy_data)
    monkeypatch.setattr(proofs, "BATCH", 4)
    parts = audit(simulation.path, simulation.policy_data)
    assert replace(parts, seconds=whole.seconds) == whole


def test_a_log_of_more_than_one_tile(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, Setting(clients=2, trustees=3, threshold=3, corrupt=1))
    simulation.start()
    while simulation.coordinator.size <= 256:
        simulation.play_round()
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted
    for name in ("tile/0/000", "tile/1/000.p/1"):
        file = simulation.path / name
        honest = file.read_bytes()
        file.write_bytes(flipped(honest))
        spoiled = audit(simulation.path, simulation.policy_data)
        file.write_bytes(honest)
        assert failed(spoiled) == {"I1"}
        assert spoiled.check("I1").findings[0].where.startswith(name)
