"""Rotations and revocations while an exchange runs: handed in at any time, logged between rounds, then in force."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.envelopes import open_envelope, seal, seal_rotation
from protocols.key_files import read_key, write_key
from protocols.messages import ISSUER, Revocation
from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.consortium import CONFIG, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting, rotated, with_new_keys_only
from verifl.carriers.exchange.changing import waiting_files
from verifl.carriers.exchange.seat import taken_seat
from verifl.commands import root as cli

TWO_OF_THREE = CONFIG + "[limits]\nmin_cohort = 2\n"


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path, TWO_OF_THREE)


def revoked(meeting: Meeting, name: str) -> bytes:
    issuer = meeting.enrolment.issuer
    assert issuer is not None
    return seal(Revocation(meeting.pinned.policy.federation, meeting.pinned.hash, name, "left"), ISSUER, issuer)


def signers(meeting: Meeting, kind: str) -> list[set[str]]:
    """Who signed entries of this type, by round."""
    found: dict[int, set[str]] = {}
    for entry in meeting.entries():
        envelope = open_envelope(entry)
        if envelope.type == kind:
            found.setdefault(envelope.message.round, set()).add(envelope.signer)
    return [found[number] for number in sorted(found)]


@pytest.mark.parametrize("stage", [Stage.SUBMISSIONS, pytest.param(Stage.RELEASES, marks=pytest.mark.exhaustive)])
def test_keys_rotated_during_a_round_are_in_force_in_the_next(meeting: Meeting, stage: Stage) -> None:
    meeting.convene()
    meeting.until_asked(stage)
    meeting.hand_in(rotated(meeting, "trustee-2"), rotated(meeting, "y"))
    meeting.host()  # which was killed, and has them on its disk
    meeting.until_asked(Stage.SUBMISSIONS, 2)
    with_new_keys_only(meeting, "trustee-2")
    meeting.until(lambda: meeting.types().count("submission") > 5)  # y has seen the round that its new key is good for
    with_new_keys_only(meeting, "y")
    meeting.until_ended()
    assert meeting.types().count("round-closed") == 2
    assert signers(meeting, "submission") == [{"x", "y", "z"}] * 2
    assert signers(meeting, "round-key") == [set(TRUSTEES)] * 2
    assert meeting.refused == []
    assert meeting.audited().check("I3").checked.endswith("2 rotations and 0 revocations in force")


def test_a_key_rotated_while_round_keys_are_collected(meeting: Meeting) -> None:
    """What was offered under the old one is forgotten, and the round opened by those that hold now."""
    meeting.convene()
    absent = meeting.present.pop("trustee-1")
    meeting.until_asked(Stage.KEYS)
    meeting.turn()
    meeting.hand_in(rotated(meeting, "trustee-2"))
    meeting.present["trustee-1"] = absent
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.host()
    meeting.until_ended()
    assert meeting.types()[:2] == ["genesis", "key-rotation"]
    assert signers(meeting, "round-key") == [set(TRUSTEES)] * 2
    meeting.audited()


def test_a_trustee_that_is_asked_for_its_key_is_revoked(meeting: Meeting) -> None:
    """It was gone, and is waited for no longer; nobody else has to start anew."""
    meeting.convene()
    meeting.present.pop("trustee-3")
    meeting.until_asked(Stage.KEYS)
    meeting.hand_in(revoked(meeting, "trustee-3"))
    meeting.host()
    meeting.until_asked(Stage.SUBMISSIONS)
    assert meeting.clock.passed < 20 + meeting.config.deadlines.trustees
    meeting.until_ended()
    assert signers(meeting, "round-key") == [{"trustee-1", "trustee-2"}] * 2
    meeting.audited()


def test_a_client_that_is_asked_for_its_submission_is_revoked(meeting: Meeting) -> None:
    """The round ends with it, the next is without it, and its process says so."""
    meeting.convene()
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.hand_in(revoked(meeting, "z"))
    meeting.until_asked(Stage.SUBMISSIONS, 2)
    meeting.host()
    meeting.until_ended()
    assert signers(meeting, "submission") == [{"x", "y", "z"}, {"x", "y"}]
    assert meeting.types().index("revocation") > meeting.types().index("round-closed")
    meeting.audited()


@pytest.mark.exhaustive
def test_a_revoked_trustee_signs_nothing_more(meeting: Meeting) -> None:
    meeting.convene()
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.hand_in(revoked(meeting, "trustee-3"))
    meeting.until_ended()
    assert signers(meeting, "round-key") == [set(TRUSTEES), {"trustee-1", "trustee-2"}]
    meeting.audited()


def test_a_change_that_the_log_will_not_take_is_refused_at_once(meeting: Meeting) -> None:
    meeting.convene()
    with pytest.raises(Misuse, match="change: revocation-quorum"):
        meeting.hand_in(revoked(meeting, "trustee-2"), revoked(meeting, "trustee-3"))
    assert not list(meeting.home("coordinator").changes.glob("*"))
    first = rotated(meeting, "y")
    meeting.hand_in(first)
    meeting.hand_in(first, rotated(meeting, "y"))  # the second one behind the first
    pinned, keys = meeting.pinned, (meeting.keys["y"][0], meeting.keys["x"][0])
    third = seal_rotation(pinned.policy.federation, pinned.hash, "y", *keys)
    with pytest.raises(Misuse, match="change: rotation-previous"):
        meeting.hand_in(third)


def test_a_second_rotation_waits_for_its_round(meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    """One a party between two rounds: the other one is logged after the next, whichever file is read first."""
    meeting.convene()
    meeting.until_asked(Stage.KEYS)
    meeting.hand_in(rotated(meeting, "y"), rotated(meeting, "y"))
    with caplog.at_level(logging.WARNING, "verifl"):
        meeting.until_ended()
    types = meeting.types()
    assert types.index("key-rotation") < types.index("round-open") < types.index("round-closed")
    assert types.count("key-rotation") == 2
    assert any("rotation-pace" in record.message for record in caplog.records)
    meeting.audited()


def test_a_file_that_is_no_change_stops_nobody(meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    meeting.convene()
    folder = meeting.home("coordinator").changes
    folder.mkdir(mode=0o700)
    (folder / "nonsense.cbor").write_bytes(b"nonsense")
    with caplog.at_level(logging.WARNING, "verifl"):
        meeting.until_asked(Stage.SUBMISSIONS)
    refusals = [record.message for record in caplog.records if "nonsense.cbor" in record.message]
    assert len(refusals) == 1
    assert "expected a rotation or revocation" in refusals[0]
    meeting.close()


def test_the_command_that_hands_changes_in(meeting: Meeting, capsys: pytest.CaptureFixture[str]) -> None:
    meeting.convene()
    meeting.until_asked(Stage.SUBMISSIONS)
    file, folder = meeting.folder / "rotation.cbor", meeting.home("coordinator")
    file.write_bytes(rotated(meeting, "y"))
    places = ["--public", meeting.public.path, "--state", folder.path, "--policy", meeting.policy_file]
    command = ["coordinator", "change", *map(str, places), str(file)]
    assert cli.invoke(command) == 0
    assert [path.read_bytes() for path in waiting_files(folder.changes)] == [file.read_bytes()]
    file.write_bytes(revoked(meeting, "trustee-1")[:-1])
    assert cli.invoke(command) == 2
    assert "expected a rotation or revocation" in capsys.readouterr().err
    pinned, keys = meeting.pinned, meeting.keys["y"]
    for name, policy, check in (
        ("another-federation", pinned.hash, "federation"),
        (pinned.policy.federation, bytes(32), "policy-hash"),
    ):
        file.write_bytes(seal_rotation(name, policy, "y", keys[0], keys[1]))
        assert cli.invoke(command) == 2
        assert capsys.readouterr().err.startswith(f"verifl: change: {check}")
    for option in ("--public", "--state"):
        nowhere = meeting.folder / "nowhere"
        elsewhere = [str(nowhere) if before == option else each for before, each in pairwise(["", *map(str, places)])]
        assert cli.invoke(["coordinator", "change", *elsewhere, str(file)]) == 2
        assert f"{option}: {nowhere}: no such directory" in capsys.readouterr().err
        assert not nowhere.exists()
    meeting.close()


def test_who_a_party_is_by_its_keys(meeting: Meeting) -> None:
    """By one that the policy enrols, or that the log gave it; not by one that nobody knows, or by those of two."""
    meeting.convene()
    files = {}

    def seated(*names: str) -> str:
        place = (meeting.public.path, meeting.home("y").path, meeting.policy_file)
        with taken_seat("client", *place, [files[name] for name in names], None) as seat:
            assert [key.public_key for key in seat.party.keys] == [read_key(files[each]).public_key for each in names]
            return seat.party.name

    rotation = rotated(meeting, "y")
    for name, key in {"x": meeting.keys["x"][0], "old": meeting.keys["y"][0], "new": meeting.keys["y"][1]}.items():
        files[name] = meeting.folder / f"{name}.pem"
        write_key(files[name], key)
    assert seated("old") == seated("old", "new") == seated("new", "old") == "y"
    with pytest.raises(Misuse, match="policy and log have no client with the public key"):
        seated("new")
    with pytest.raises(Misuse, match="expected the keys of one client, found those of x and y"):
        seated("x", "old")
    meeting.hand_in(rotation)
    meeting.until_asked(Stage.SUBMISSIONS)
    assert seated("new") == "y"
    meeting.close()
