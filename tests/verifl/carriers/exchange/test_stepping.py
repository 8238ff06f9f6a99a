"""The host, driven by hand: it does what can be done, says what it waits for, and never asks the machine the time."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

from protocols.messages import FederationClosed
from protocols.reasons import CONTINUED
from protocols.rounds.answers import Received
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import SubmissionPackage
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting
from verifl.carriers.exchange.inbox import Inbox, Letter


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


def test_rounds_close_by_a_clock_that_is_moved_by_hand(meeting: Meeting) -> None:
    meeting.convene()
    assert meeting.awaited is not None
    assert (meeting.awaited.stage, meeting.awaited.parties) == (Stage.COSIGN, TRUSTEES)
    meeting.until_asked(Stage.SUBMISSIONS)
    assert meeting.awaited.parties == CLIENTS
    meeting.until_ended()
    assert [each.closed for each in meeting._host.summaries] == [1, 2]
    meeting.audited()


def test_one_submission_is_in_memory_at_a_time(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the next one is read, nothing holds the one before: neither the host, nor the log, nor the conductor."""
    meeting.convene()
    meeting.until_asked(Stage.SUBMISSIONS)
    for name in CLIENTS:
        meeting.present[name].look()
    read: list[weakref.ref[SubmissionPackage]] = []
    honest = Inbox.read

    def watched(inbox: Inbox, letter: Letter) -> Received:
        assert [each() for each in read] == [None] * len(read)
        received = honest(inbox, letter)
        assert isinstance(received.answer, SubmissionPackage)
        read.append(weakref.ref(received.answer))
        return received

    monkeypatch.setattr(Inbox, "read", watched)
    meeting.advance()
    assert len(read) == len(CLIENTS)
    assert [each() for each in read] == [None] * len(read)
    meeting.close()


@pytest.mark.parametrize("told", [{"rounds": 1, "close": True}, {"close": "now"}])
def test_a_federation_is_closed_behind_the_round_that_is_open(meeting: Meeting, told: dict[str, object]) -> None:
    """The coordinator is told in the middle of a round, and killed at every turn from then on."""
    meeting.convene()
    meeting.until_asked(Stage.SUBMISSIONS)
    ending = meeting.config.federation.model_copy(update=told)
    meeting.config = meeting.config.model_copy(update={"federation": ending})
    meeting.host()
    meeting.advance()
    while not meeting.ended:
        meeting.turn()
        if not meeting.ended:
            meeting.host()
            meeting.advance()
    meeting.until_ended()
    assert meeting.types()[-2:] == ["round-closed", "federation-closed"]
    assert meeting.types().count("round-open") == 1
    (last,) = (each for each in meeting.messages() if isinstance(each, FederationClosed))
    assert (last.reason, last.policy) == (CONTINUED, meeting.pinned.hash)
    meeting.audited()
    entries = meeting.entries()
    meeting.host()
    meeting.advance()
    meeting.until_ended()
    assert meeting.entries() == entries
