"""Parties with other programs: another version is refused before the round, a newer patch takes part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from proofs.errors import Rejected
from protocols.blobs import blob_hash
from protocols.encoding import decode, encode
from protocols.messages import COORDINATOR
from protocols.rounds import proposals
from protocols.rounds.answers import AnswerFile, answer_limit
from protocols.rounds.conductor import Stage
from protocols.rounds.proposals import PROPOSAL_LIMIT
from protocols.rounds.versions import SOFTWARE
from tests.verifl.carriers.exchange.consortium import CLIENTS, CONFIG, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting, heard
from verifl.carriers.exchange.public import INBOX

NEWER = "verifl 0.1.99"


def test_a_newer_patch_works_beside_an_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator runs what it ran, and all others are newer; whoever reads of it says so, once."""
    meeting = Meeting(tmp_path, CONFIG.replace("rounds = 2", "rounds = 1"))
    answers, told = AnswerFile.__init__, list[str]()

    def newer(self: AnswerFile, *arguments: object, **named: object) -> None:
        answers(self, *arguments, **{"software": NEWER, **named})

    monkeypatch.setattr(AnswerFile, "__init__", newer)
    with heard(told):
        meeting.convene()
        meeting.until_ended()
    assert meeting.types().count("round-closed") == 1
    said = [line for line in told if '"event": "software"' in line]
    assert len(said) == len((*TRUSTEES, *CLIENTS))
    assert all(f"runs {NEWER}, and this is {SOFTWARE}" in line for line in said)
    meeting.audited()


def test_another_version_is_refused_before_a_client_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meeting = Meeting(tmp_path)
    trained: list[str] = []
    train = meeting.training.train
    monkeypatch.setattr(meeting.training, "train", lambda client, *rest: trained.append(client) or train(client, *rest))
    meeting.convene()
    meeting.until_asked(Stage.SUBMISSIONS)
    path = meeting.public.path / "exchange/proposal"
    ours = path.read_bytes()
    wire = decode(proposals._Wire, ours, PROPOSAL_LIMIT)
    path.write_bytes(encode(replace(wire, version=2), PROPOSAL_LIMIT))
    for name in (*CLIENTS, *TRUSTEES):
        with pytest.raises(Rejected, match="exchange-version: expected version 1 of the exchange, as verifl"):
            meeting.present[name].look()
    assert trained == []
    path.write_bytes(ours)
    meeting.present["x"].look()
    assert trained == ["x"]
    meeting.close()


def test_an_answer_of_another_version_is_refused_by_the_host(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path)
    meeting.convene()
    inbox = meeting.public.path / INBOX / "trustee-1"
    meeting.present["trustee-1"].look()
    [path] = inbox.iterdir()
    limit = answer_limit(meeting.pinned, "trustee-1")
    file = decode(AnswerFile, path.read_bytes(), limit)
    path.unlink()
    data = encode(replace(file, version=2), limit)
    (inbox / blob_hash(data).hex()).write_bytes(data)
    meeting.advance()
    refusals = (meeting.home(COORDINATOR).path / "refusals.jsonl").read_text()
    assert '"check": "exchange-version"' in refusals
    assert "found version 2; install a newer verifl here" in refusals
    assert list(inbox.iterdir()) == []
    meeting.close()
