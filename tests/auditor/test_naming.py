"""Nobody is named for what it did not sign: no server makes offenders of others by forging or repeating entries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from auditor import Report, audit
from protocols.messages import (
    Aggregate,
    CohortClosed,
    Dispute,
    Release,
    RoundClosed,
    RoundOpen,
    ShareAck,
    Submission,
)
from tests.auditor.conftest import Forged, failed, flipped
from tests.auditor.forge import Forge
from tests.auditor.test_explain import Simulations, said, story_of, told, verdict

NOT_OWN: dict[str, dict[str, Any]] = {"signer": {"signer": "coordinator"}, "federation": {"federation": "elsewhere"}}


def accusations(report: Report) -> list[str]:
    """Who is named for what, or in dispute with whom, without the entries' indices."""
    notes = [note for number in ("I7", "I8") for note in report.check(number).notes]
    return sorted(re.sub(", entry [0-9]+", "", each) for each in notes if "is named" in each or "in dispute" in each)


def genuine(simulations: Simulations, name: str) -> list[str]:
    simulation = simulations(name)
    return accusations(audit(simulation.path, simulation.policy_data))


def submission_of(forged: Forge, client: str, number: int = 1) -> int:
    return next(
        position
        for position, slot in enumerate(forged.slots)
        if isinstance(slot.message, Submission) and (slot.message.client, slot.message.round) == (client, number)
    )


def keep(forged: Forge, *kinds: type) -> None:
    """Leave these entries as their parties signed them."""
    for slot in forged.slots:
        if isinstance(slot.message, kinds) and slot.was is not None:
            slot.raw = forged.honest[slot.was]


def first_round(forged: Forge) -> Forge:
    """Only the first round: when entries are inserted into it, what comes after is no longer what clients proved."""
    forged.cut(forged.find(RoundClosed, 1) + 1)
    return forged


def bad_proof(forged: Forge, message: Submission) -> dict[str, bytes]:
    return {"proof": forged.put(flipped(forged.blob(message.proof), -1))}


def no_residues(forged: Forge, message: Submission) -> dict[str, bytes]:
    return {"ciphertext": forged.put(bytes([255]) * len(forged.blob(message.ciphertext)))}


def test_a_swapped_seed(forge: Forged, tmp_path: Path) -> None:
    """The proofs of encryption are about the seed of the RoundOpen that the clients answered."""
    forged = forge("proved")
    forged.edit(forged.find(RoundOpen), seed=bytes(32))
    keep(forged, Submission)
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert {"I4", "I5", "I6"} <= failed(report)
    assert report.check("I6").checked == "0 proofs, 0 valid, 0 invalid"
    assert accusations(report) == []
    event = verdict(story_of(path, forged.policy_data, "client-00"), 1)
    assert event.text.endswith("It answers another RoundOpen than the round's: the audit finds nothing about it")
    assert event.holds is None


@pytest.mark.parametrize("number", [1, 3])
def test_a_swapped_round_leaves_the_others(
    simulations: Simulations, forge: Forged, tmp_path: Path, number: int
) -> None:
    forged = forge("eventful")
    forged.edit(forged.find(RoundOpen, number), seed=bytes(32))
    keep(forged, Submission, ShareAck)
    expected = [each for each in genuine(simulations, "eventful") if number != 1 and "dispute:" not in each]
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert {"I4", "I5", "I8"} <= failed(report)
    assert [each for each in accusations(report) if "dispute:" not in each] == expected


@pytest.mark.parametrize("lie", list(NOT_OWN))
@pytest.mark.parametrize("fault", [bad_proof, no_residues])
def test_a_forged_submission(simulations: Simulations, forge: Forged, tmp_path: Path, lie: str, fault: Any) -> None:
    forged = forge("eventful")
    position = submission_of(forged, "client-03")
    forged.edit(position, **NOT_OWN[lie], **fault(forged, forged.message(position)))
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert {"I5"} <= failed(report)
    assert accusations(report) == genuine(simulations, "eventful")
    story = story_of(path, forged.policy_data, "client-03")
    (event,) = [each for each in story.events if each.entry == position]
    assert event.text.startswith("a submission in its name is not signed by this party")
    assert event.holds is False


@pytest.mark.parametrize("after", [0, 1])
def test_a_forged_submission_beside_the_real_one(
    simulations: Simulations, forge: Forged, tmp_path: Path, after: int
) -> None:
    forged = first_round(forge("eventful"))
    position = submission_of(forged, "client-03")
    real = forged.message(position)
    forged.insert(position + after, real)
    forged.edit(position + after, signer="coordinator", **bad_proof(forged, real))
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert {"I5"} <= failed(report)
    assert accusations(report) == genuine(simulations, "eventful")
    (event,) = [
        each
        for each in story_of(path, forged.policy_data, "client-03").events
        if each.round == 1 and each.text.startswith(("accepted", "excluded"))
    ]
    assert ("Not its offence: it signed one submission" in event.text) is (after == 0)


def test_a_client_that_submits_twice_is_named_beside_a_forgery(
    simulations: Simulations, forge: Forged, tmp_path: Path
) -> None:
    forged = first_round(forge("eventful"))
    position = submission_of(forged, "client-00")
    forged.insert(position, forged.message(position))
    forged.edit(position, signer="coordinator", **bad_proof(forged, forged.message(position)))
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert "client-00 is named: duplicate in round 1" in accusations(report)
    assert accusations(report) == genuine(simulations, "eventful")


def test_a_submission_that_the_server_logs_twice(forge: Forged, tmp_path: Path) -> None:
    """The log is in order, with the copy excluded as a duplicate; but the client submitted once."""
    forged = forge("quiet")
    position, copy = submission_of(forged, "client-01"), forged.find(ShareAck)
    forged.insert_raw(copy, forged.honest[position])
    position = forged.find(CohortClosed)
    place, verdicts = copy - forged.message(position).first, forged.message(position).verdicts
    forged.edit(position, verdicts=f"{verdicts[:place]}2{verdicts[place:]}")
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert report.accepted
    assert accusations(report) == []
    texts = said(story_of(path, forged.policy_data, "client-01"), 1)
    assert texts[-1].startswith("excluded: duplicate. Not its offence: it signed one submission")


def test_forged_acknowledgements(simulations: Simulations, forge: Forged, tmp_path: Path) -> None:
    """More than f disputes in the names of trustees, in a log that has real ones in another round."""
    forged = forge("eventful")
    index = submission_of(forged, "client-01", 3)
    for nth in range(forged.policy.corrupt + 1):
        position = forged.find(ShareAck, 3, nth)
        others = tuple(each for each in forged.message(position).acknowledged if each != index)
        disputed = (Dispute(index, "share-opening"),)
        forged.edit(position, signer="coordinator", acknowledged=others, disputed=disputed)
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert {"I7", "I8"} <= failed(report)
    assert accusations(report) == genuine(simulations, "eventful")
    client = story_of(path, forged.policy_data, "client-01")
    assert not [text for text in said(client, 3) if "in dispute" in text]
    assert "The audit finds: disputed. Not its offence: too few" in verdict(client, 3).text
    trustee = story_of(path, forged.policy_data, forged.message(forged.find(ShareAck, 3)).trustee)
    assert [text for text in said(trustee, 3) if text.startswith("an acknowledgement in its name is not signed")]
    assert not [text for text in said(trustee, 3) if text.startswith("disputes")]


def test_a_dispute_about_other_submissions(forge: Forged, tmp_path: Path) -> None:
    """A digest that does not hold: the trustee signed these log indices when other submissions were there."""
    forged = forge("quiet")
    position, index = forged.find(ShareAck), submission_of(forged, "client-01")
    others = tuple(each for each in forged.message(position).acknowledged if each != index)
    disputed = (Dispute(index, "share-opening"),)
    forged.edit(position, acknowledged=others, disputed=disputed, digest=bytes(32))
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    assert "I8" in failed(report)
    assert accusations(report) == []


@pytest.mark.parametrize("length", [None, 64])
def test_forged_releases(forge: Forged, tmp_path: Path, length: int | None) -> None:
    """In the names of two trustees; one of them made a wrong release itself."""
    forged = forge("quiet")
    used = forged.message(forged.find(Aggregate)).releases
    honest = forged.message(used[0])
    guilty = next(p for p, slot in enumerate(forged.slots) if isinstance(slot.message, Release) and p not in used)
    wrong = flipped(forged.blob(honest.share), -1)
    forged.edit(guilty, share=forged.put(wrong[::-1]))
    forged.edit(used[0], signer="coordinator", share=forged.put(wrong if length is None else wrong[:length]))
    own = forged.message(guilty)
    forged.insert(used[0], own)
    forged.edit(used[0], signer="coordinator", share=forged.put(wrong))
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert {"I8"} <= failed(report)
    (note,) = [each for each in report.check("I8").notes if "is named" in each]
    assert note.startswith(f"{own.trustee} is named: wrong release in round 1, entry {guilty + 1} (")
    texts = said(story_of(path, forged.policy_data, own.trustee), 1)
    assert texts[-2].startswith("a release in its name is not signed by this party")
    assert texts[-1] == "released a share that does not open the cohort's sum"
    assert said(story_of(path, forged.policy_data, honest.trustee), 1)[-1].startswith("a release in its name is not")


def test_a_cohort_that_is_changed_under_its_releases(forge: Forged, tmp_path: Path) -> None:
    """The server puts another submission where the trustees' digest has the real one: their shares open nothing."""
    forged = forge("quiet")
    other = forged.message(submission_of(forged, "client-02"))
    forged.edit(submission_of(forged, "client-01"), signer="coordinator", share_commitments=other.share_commitments)
    keep(forged, ShareAck, CohortClosed, Release)
    path = forged.write(tmp_path / "t")
    report = audit(path, forged.policy_data)
    assert {"I5", "I8"} <= failed(report)
    assert accusations(report) == []
    (event,) = [each for each in story_of(path, forged.policy_data, "trustee-0").events if "release" in each.text]
    assert (event.text.split(":")[0], event.holds) == ("a release that the audit does not count", None)


def test_a_forged_round_key(forge: Forged, tmp_path: Path) -> None:
    forged = forge("quiet")
    position = next(p for p, slot in enumerate(forged.slots) if getattr(slot.message, "public_key", None))
    trustee = forged.message(position).trustee
    forged.edit(position, signer="coordinator")
    texts = said(story_of(forged.write(tmp_path / "t"), forged.policy_data, trustee), 1)
    assert texts[0].startswith("a round key in its name is not signed by this party")


def test_the_guilty_tell_the_same_story(simulations: Simulations) -> None:
    assert "Not its offence" not in str(told(simulations("eventful"), "client-00").to_dict())
