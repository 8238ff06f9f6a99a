"""A consortium whose trustees add the noise: each has a second process, with its key, which submits as a client."""

from __future__ import annotations

from pathlib import Path

from protocols.envelopes import open_envelope
from protocols.messages import Submission
from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.consortium import CLIENTS, CONFIG, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting
from verifl.agents.party import Party
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.training import client_participant
from verifl.storage.party_directory import PartyDirectory

NOISY = CONFIG.replace("rounds = 2", "rounds = 1") + '[privacy]\nepsilon = 8.0\ndelta = 1e-5\nby = "trustees"\n'


def seat_as_client(meeting: Meeting, name: str) -> None:
    party = Party(name, meeting.keys[name], PartyDirectory(meeting.folder / "noise" / name))
    party.directory.path.mkdir(parents=True, mode=0o700)
    seat = Seat(meeting.pinned, party, meeting.public)
    meeting.present[f"{name} as a client"] = client_participant(seat, meeting.training, meeting.progress, meeting.clock)


def test_a_round_waits_for_noise_and_is_accepted(tmp_path: Path) -> None:
    """Of two trustees: h + f. The third one's noise is waited for no longer than clients are."""
    meeting = Meeting(tmp_path, NOISY)
    try:
        meeting.convene()
        seat_as_client(meeting, TRUSTEES[0])
        meeting.until_asked(Stage.SUBMISSIONS)
        assert meeting.awaited is not None
        assert set(meeting.awaited.parties) == {*CLIENTS, *TRUSTEES}
        for _ in range(3):
            meeting.turn()
        assert meeting.stage is Stage.SUBMISSIONS
        seat_as_client(meeting, TRUSTEES[1])
        meeting.turn()
        meeting.wait_it_out()
        messages = [open_envelope(each).message for each in meeting.entries()]
        submitted = [each for each in messages if isinstance(each, Submission)]
        assert {each.client: each.weight for each in submitted} == dict.fromkeys(CLIENTS) | dict.fromkeys(
            TRUSTEES[:2], 0
        )
        report = meeting.audited()
        assert report.account is not None
        assert {each.client: each.cohorts for each in report.account.clients} == dict.fromkeys(CLIENTS, 1)
    finally:
        meeting.close()
