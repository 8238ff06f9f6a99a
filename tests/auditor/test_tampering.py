"""Each attack on a transcript fails the checks that are its own, no others; what may be pruned covers for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor import audit
from protocols import messages
from protocols.envelopes import seal
from protocols.log.tiles import blob_path
from protocols.messages import (
    Aggregate,
    CohortClosed,
    Genesis,
    MissingParty,
    Release,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.policy import Policy
from tests.auditor.attacks import ATTACKS, abort_instead, excluded_for
from tests.auditor.conftest import failed, flipped, judged
from tests.simulator import identity_of


@pytest.mark.parametrize("name", list(ATTACKS))
def test_attack(name: str, forge, tmp_path: Path) -> None:
    attack, checks, transcript = ATTACKS[name]
    forged = forge(transcript)
    attack(forged)
    assert checks <= judged(forged, tmp_path / "t")


def test_a_false_accusation_of_a_trustee(forge, tmp_path: Path) -> None:
    """The server calls a right release wrong, to abort and bar the trustee."""
    forged = forge("aborted")
    position = forged.find(RoundAborted)
    missing = (*forged.message(position).missing, MissingParty("trustee-1", "wrong-release"))
    forged.edit(position, missing=missing)
    assert judged(forged, tmp_path / "t") == {"I8"}


def test_a_wrong_release_is_evidence_against_its_trustee(forge, tmp_path: Path) -> None:
    """A lying trustee does not spoil the transcript: its wrong release is in the log, unused, and it is named."""
    forged = forge("quiet")
    used = forged.message(forged.find(Aggregate)).releases
    unused = next(p for p, slot in enumerate(forged.slots) if isinstance(slot.message, Release) and p not in used)
    forged.edit(unused, share=forged.put(flipped(forged.blob(forged.message(unused).share), -1)))
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert report.accepted
    assert f"{forged.message(unused).trustee} is named: wrong release" in report.check("I8").notes[0]


@pytest.mark.parametrize(("reason", "name"), [("malformed", "quiet"), ("invalid-proof", "proved")])
def test_an_exclusion_may_not_rest_on_a_pruned_ciphertext(reason: str, name: str, forge, tmp_path: Path) -> None:
    """Attack: the server excludes a valid submission and deletes the ciphertext that would show that it is valid."""
    forged = forge(name)
    excluded_for(reason)(forged)
    path = forged.write(tmp_path / "t")
    (path / blob_path(forged.message(forged.find(Submission)).ciphertext)).unlink()
    report = audit(path, forged.policy_data)
    assert {"I1", "I6", "I7"} <= failed(report)
    assert report.check("I7").findings[0].found == f"{reason}, but the blobs that would show it are not there"


@pytest.mark.parametrize("name", ["quiet", "proved"])
@pytest.mark.parametrize("kept", [0, 3])
def test_a_failed_opening_may_not_rest_on_pruned_ciphertexts(name: str, kept: int, forge, tmp_path: Path) -> None:
    """Attack: the server opens the sum for itself, declares that it does not open, and prunes what would show it."""
    forged = forge(name)
    abort_instead("opening-failed")(forged)
    path = forged.write(tmp_path / "t")
    submissions = [slot.message for slot in forged.slots if isinstance(slot.message, Submission)]
    for message in submissions[kept:]:
        (path / blob_path(message.ciphertext)).unlink()
    report = audit(path, forged.policy_data)
    assert failed(report) == {"I1", "I6", "I9"}
    assert report.check("I9").findings[0].expected.startswith("blob-missing")


@pytest.mark.parametrize("kind", ["commitments", "proof", "noise_commitments", "range_commitments"])
def test_a_pruned_ciphertext_covers_for_nothing_else(kind: str, forge, tmp_path: Path) -> None:
    forged = forge("proved")
    position = forged.find(Submission)
    forged.edit(position, **{kind: forged.put(flipped(forged.blob(getattr(forged.message(position), kind)), -1))})
    path = forged.write(tmp_path / "t")
    name = forged.message(position).ciphertext.hex()
    (path / "blobs" / name[:2] / name).unlink()
    assert "I6" in failed(audit(path, forged.policy_data))


@pytest.mark.parametrize("kind", [each.cls for each in messages.MESSAGE_TYPES], ids=messages.MESSAGE_TYPES.names)
def test_every_type_must_be_signed_by_its_party(kind: type, forge, tmp_path: Path) -> None:
    expected = {
        Genesis: "I2",
        RoundKey: "I4",
        RoundOpen: "I4",
        Submission: "I5",
        ShareAck: "I8",
        CohortClosed: "I7",
        Release: "I8",
        Aggregate: "I9",
        RoundClosed: "I11",
        RoundAborted: "I8",
        messages.KeyRotation: "I3",
        messages.Revocation: "I3",
        messages.FederationClosed: "I4",
    }
    names = {RoundAborted: "aborted", messages.KeyRotation: "changed", messages.Revocation: "changed"}
    names |= {messages.FederationClosed: "over"}
    forged = forge(names.get(kind, "quiet"))
    forged.slots[forged.find(kind)].signer = identity_of("mallory")
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert expected[kind] in failed(report)
    assert any("signature" in finding.where for finding in report.check(expected[kind]).findings)


def test_loose_blob(forge, tmp_path: Path) -> None:
    forged = forge("quiet")
    forged.loose.append(b"a message to somebody")
    assert judged(forged, tmp_path / "t") == {"I12", "P7"}


def test_seal_is_what_the_forge_signs_with(forge) -> None:
    """The adversary's story is straight: without a lie, it writes the honest transcript again."""
    forged = forge("eventful")
    assert forged.entries() == forged.honest
    assert isinstance(forged.policy, Policy)
    assert seal(forged.message(0), "coordinator", identity_of("coordinator")) == forged.honest[0]
