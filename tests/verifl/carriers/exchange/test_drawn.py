"""A consortium of which two clients are drawn for each round: the third is not asked, not waited for, and told so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proofs.errors import Rejected
from protocols.envelopes import open_envelope
from protocols.messages import Submission
from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.consortium import CLIENTS, CONFIG, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting, heard, rotated, with_new_keys_only

DRAWING = CONFIG + "[limits]\nmin_cohort = 2\nper_round = 2\n"


def test_who_is_not_drawn_is_not_awaited_and_told_so(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, DRAWING)
    try:
        meeting.convene()
        meeting.until_asked(Stage.SUBMISSIONS)
        assert meeting.awaited is not None
        drawn = set(meeting.awaited.parties)
        assert len(drawn) == 2
        (other,) = set(CLIENTS) - drawn
        lines: list[str] = []
        with heard(lines):
            for _ in range(3):
                meeting.present[other].look()
        told = [line["message"] for line in map(json.loads, lines) if line.get("event") == "not-asked"]
        assert told == [f"{other} is not asked in round 1: others are drawn, or it has answered"]
        with heard(lines):
            meeting.until_ended()
        submitted = [each for each in map(open_envelope, meeting.entries()) if isinstance(each.message, Submission)]
        rounds = [[each.signer for each in submitted if each.message.round == number] for number in (1, 2)]
        assert set(rounds[0]) == drawn
        assert [len(each) for each in rounds] == [2, 2]
        meeting.audited()
    finally:
        meeting.close()


def test_trustees_without_their_former_keys_are_waited_for(tmp_path: Path) -> None:
    """All of them rotated and destroyed the old key too early: they warn, nobody is drawn, the coordinator waits, and
    says at the end what to do. Once one of them has it again the round is opened."""
    meeting = Meeting(tmp_path, DRAWING)
    try:
        meeting.convene()
        meeting.until_asked(Stage.KEYS)
        meeting.hand_in(*(rotated(meeting, name) for name in TRUSTEES))
        meeting.until(lambda: meeting.types().count("key-rotation") == len(TRUSTEES))
        both, lines = dict(meeting.keys), list[str]()
        with heard(lines):
            with_new_keys_only(meeting, *TRUSTEES)
        told = [line for line in map(json.loads, lines) if line.get("event") == "lacks-key"]
        assert [line["public_key"] for line in told] == [both[name][0].public_key.hex() for name in TRUSTEES]
        with pytest.raises(Rejected) as excinfo:
            meeting.wait_it_out()
        assert excinfo.value.check == "draw"
        assert "without a value: trustee-1, trustee-2, trustee-3; trustees that replaced" in str(excinfo.value)
        meeting.close()
        meeting.host()
        meeting.until_asked(Stage.KEYS)
        meeting.keys |= both
        meeting.seat("trustee-2")
        meeting.until_ended()
        assert meeting.types().count("round-closed") == 2
        meeting.audited()
    finally:
        meeting.close()
