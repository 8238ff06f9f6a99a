"""How long a coordinator waits for whom: never for ever, and with a word for what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from proofs.errors import Rejected
from protocols.envelopes import open_envelope, seal
from protocols.messages import ISSUER, Revocation, RoundAborted
from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.stepping import Meeting

DAY = 86_400.0  # [deadlines] give_up


def one_barred_and_one_gone(meeting: Meeting) -> tuple[str, str]:
    """The names of two trustees of three: one that failed to release in round 1, and one that nobody has heard of."""
    silent, gone = "trustee-2", "trustee-3"
    meeting.convene()
    meeting.present.pop(gone)
    meeting.until_asked(Stage.RELEASES)
    meeting.present.pop(silent)
    meeting.turn()
    meeting.clock.passed += DAY
    meeting.until_asked(Stage.COSIGN, 2)
    meeting.seat(silent)
    meeting.until_asked(Stage.KEYS, 2)
    assert meeting.server.ledger.barred == (silent,)
    return silent, gone


def given_up(meeting: Meeting, check: str) -> str:
    """The coordinator's last words, once it has waited for as long as it does."""
    before = meeting.clock.passed
    with pytest.raises(Rejected) as excinfo:
        meeting.wait_it_out()
    assert excinfo.value.check == check
    assert meeting.clock.passed - before <= DAY + 10
    meeting.close()
    return str(excinfo.value)


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    return Meeting(tmp_path)


def test_a_round_that_too_few_trustees_give_keys_for(meeting: Meeting) -> None:
    """It cannot be aborted, as it is not open: the coordinator ends and says so, and goes on once one is back."""
    barred, gone = one_barred_and_one_gone(meeting)
    said = given_up(meeting, "round-keys")
    assert "asked since 2023-11-1" in said
    assert f"silent: {gone}; barred until a round closes: {barred}; start whoever is missing" in said
    assert "--change FILE" in said
    meeting.host()
    meeting.until_asked(Stage.KEYS, 2)
    meeting.seat(gone)
    meeting.until_ended()
    aborts = [each for each in map(open_envelope, meeting.entries()) if isinstance(each.message, RoundAborted)]
    assert len(aborts) == 1
    assert meeting.types().count("round-closed") == 2
    meeting.audited()


def test_it_goes_on_without_one_that_is_gone_for_good(meeting: Meeting) -> None:
    """With too few others in force the bar is lifted (spec 8.9)."""
    _, gone = one_barred_and_one_gone(meeting)
    given_up(meeting, "round-keys")
    issuer = meeting.enrolment.issuer
    assert issuer is not None
    message = Revocation(meeting.pinned.policy.federation, meeting.pinned.hash, gone, "left")
    meeting.hand_in(seal(message, ISSUER, issuer))
    meeting.host()
    meeting.until_ended()
    assert meeting.types().count("round-closed") == 2
    meeting.audited()


def test_a_checkpoint_that_too_few_trustees_cosign(meeting: Meeting) -> None:
    meeting.convene()
    for name in ("trustee-1", "trustee-3"):
        meeting.present.pop(name)
    said = given_up(meeting, "checkpoint-quorum")
    assert "cosignatures by 2 trustees" in said
    assert "silent: trustee-1, trustee-3; start" in said
    meeting.host()
    meeting.seat("trustee-3")
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.close()


@pytest.mark.exhaustive
def test_clients_that_do_not_come_are_a_round_that_is_aborted(meeting: Meeting) -> None:
    """What the rules have an entry for needs nobody to look: another round is tried."""
    meeting.convene()
    meeting.present.pop("x")
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.turn()
    meeting.clock.passed += DAY
    meeting.until_asked(Stage.KEYS, 2)
    meeting.seat("x")
    meeting.until_ended()
    aborts = [each.message for each in map(open_envelope, meeting.entries()) if each.type == "round-aborted"]
    assert [each.reason for each in aborts if isinstance(each, RoundAborted)] == ["too-few-submissions"]
    assert meeting.types().count("round-closed") == 2
    meeting.audited()
