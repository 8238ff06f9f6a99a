"""Approvals where parties meet in a directory: no trustee cosigns the log's beginning before it has read them all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Status
from proofs.errors import Malformed
from protocols.approvals import approve, collect, read_approval
from protocols.envelopes import open_envelope, seal_policy
from protocols.log.tiles import blob_path
from protocols.messages import Genesis
from protocols.pinned import PinnedPolicy
from protocols.rounds.conductor import Stage
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    """One whose policy demands everybody's approval."""
    found = Meeting(tmp_path)
    policy = replace(found.pinned.policy, approvals=("client", "trustee"))
    assert found.enrolment.issuer is not None
    found.policy_file.write_bytes(seal_policy(policy, found.enrolment.issuer))
    found.pinned = PinnedPolicy.open(found.policy_file.read_bytes())
    given = [read_approval(found.pinned, approve(found.pinned, found.keys[name][0])) for name in (*CLIENTS, *TRUSTEES)]
    found.approvals = collect(found.pinned, given)
    return found


def blob(meeting: Meeting) -> Path:
    genesis = open_envelope(meeting.server.log.entries(0, 1)[0]).message
    assert isinstance(genesis, Genesis)
    assert genesis.approvals is not None
    return meeting.public.transcript / blob_path(genesis.approvals)


def test_trustees_read_what_everybody_signed(meeting: Meeting) -> None:
    meeting.convene()
    file = blob(meeting)
    honest = file.read_bytes()
    assert honest == meeting.approvals
    file.chmod(0o644)
    file.write_bytes(honest[:-1] + bytes([honest[-1] ^ 1]))
    for _ in range(3):
        meeting.turn()
    assert {name for name, check in meeting.refused if check == "blob-hash"} == set(TRUSTEES)
    assert meeting.awaited is not None
    assert (meeting.awaited.stage, meeting.awaited.parties) == (Stage.COSIGN, TRUSTEES)
    file.write_bytes(honest)
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.until_ended()
    assert meeting.audited().check("I13").status is Status.PASS


def test_a_coordinator_that_was_killed_needs_them_no_more(meeting: Meeting) -> None:
    """Once trustees may have seen the beginning, it is in its store; before, it begins with them or not at all."""
    given, meeting.approvals = meeting.approvals, b""
    meeting.host()
    with pytest.raises(Malformed, match="approvals"):
        meeting.advance()
    meeting.approvals = given
    meeting.convene()
    meeting.approvals = b""
    meeting.host()
    meeting.until_asked(Stage.SUBMISSIONS)
    meeting.close()
