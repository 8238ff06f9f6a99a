"""What honest parties write is accepted, and the report says what was checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor import Status, audit
from auditor.report import TITLES
from protocols.messages import Submission
from tests.auditor.conftest import failed


@pytest.mark.parametrize("name", ["quiet", "aborted", "eventful"])
def test_honest_transcripts_are_accepted(simulations, name: str) -> None:
    simulation = simulations(name)
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted
    assert [result.id for result in report.checks] == list(TITLES)
    statuses = {result.id: result.status for result in report.checks}
    assert statuses.pop("P5") is Status.NOT_APPLICABLE
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
    report = audit(simulations("quiet").path, simulations("eventful").policy_data)
    assert {"I2", "I4"} <= failed(report)


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
