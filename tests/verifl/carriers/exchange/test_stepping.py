"""The host, driven by hand: it does what can be done, says what it waits for, and never asks the machine the time."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting


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
