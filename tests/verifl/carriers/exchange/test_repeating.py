"""What a host makes of the same thing twice, and of what belongs elsewhere: named, and without a second statement."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope, seal
from protocols.hpke import generate_round_key
from protocols.identities import SigningKey
from protocols.messages import COORDINATOR, RoundKey, ShareAck
from protocols.rounds.answers import answer_limit, encode_answer
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import Acknowledgement, Answer, RoundKeyOffer
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES
from tests.verifl.carriers.exchange.stepping import Meeting
from verifl.carriers.exchange.public import INBOX

PARTY = "trustee-1"


class Counter:
    """Where answers are handed in by hand."""

    def __init__(self, folder: Path) -> None:
        self.meeting = Meeting(folder)
        self.meeting.convene()

    def put(self, party: str, answer: Answer | bytes) -> Path:
        data = answer if isinstance(answer, bytes) else encode_answer(answer)
        path = self.meeting.public.path / INBOX / party / blob_hash(data).hex()
        path.write_bytes(data)
        return path

    def refused(self) -> list[tuple[str, str]]:
        """(party, check) of everything that was refused so far, once the host has looked."""
        self.meeting.advance()
        file = self.meeting.home(COORDINATOR).path / "refusals.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(each["party"], each["check"]) for each in map(json.loads, lines)]

    def key(self, number: int = 1, signer: SigningKey | None = None) -> RoundKeyOffer:
        """A key that PARTY could have made for a round."""
        _, public = generate_round_key(os.urandom)
        pinned = self.meeting.pinned
        message = RoundKey(pinned.policy.federation, pinned.hash, number, PARTY, public, None, None)
        return RoundKeyOffer(seal(message, PARTY, signer or self.meeting.keys[PARTY][0]))

    def acknowledgement(self) -> Acknowledgement:
        message = ShareAck(self.meeting.pinned.policy.federation, 1, bytes(32), PARTY, 1, "", bytes(32))
        return Acknowledgement(seal(message, PARTY, self.meeting.keys[PARTY][0]))


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    made = Counter(tmp_path)
    yield made
    made.meeting.close()


def test_answers_to_one_question(counter: Counter) -> None:
    """The same file twice is one answer; of two different ones the first counts; what is for later waits; what is for
    another round, too large, or signed with a foreign key does not."""
    meeting = counter.meeting
    meeting.until_asked(Stage.KEYS)
    first = counter.key()
    path = counter.put(PARTY, first)
    assert counter.refused() == []
    counter.put(PARTY, first)
    assert counter.refused() == []
    assert path.exists()  # until the log has it for good
    assert meeting.awaited is not None
    assert PARTY not in meeting.awaited.parties
    early = counter.put(PARTY, counter.acknowledgement())
    expected: list[tuple[str, str]] = []
    for party, check, answer in (
        (PARTY, "round-keys", counter.key()),
        (PARTY, "round", counter.key(2)),
        (PARTY, "signature", counter.key(signer=meeting.keys["trustee-2"][0])),
        ("trustee-2", "foreign", counter.key()),
        (PARTY, "oversized", bytes(answer_limit(meeting.pinned, PARTY) + 1)),
    ):
        counter.put(party, answer)
        expected.append((party, check))
        assert counter.refused() == expected
    assert early.exists()
    meeting.present.pop(PARTY)
    meeting.until_asked(Stage.SUBMISSIONS)
    assert not path.exists()
    keys = [envelope for envelope in map(open_envelope, meeting.entries()) if envelope.type == "round-key"]
    assert {each.signer for each in keys} == set(TRUSTEES)
    assert first.entry in meeting.entries()
    counter.put(PARTY, first)  # once more, when the log has it
    assert counter.refused() == expected


def test_two_submissions_of_one_client(counter: Counter) -> None:
    """Both go into the log, as evidence, and the client is excluded; a third one is refused."""
    meeting = counter.meeting
    meeting.until_asked(Stage.SUBMISSIONS)
    inbox = meeting.public.path / INBOX / "x"
    bodies = []
    for _ in range(3):
        meeting.seat("x").look()
        [path] = [each for each in inbox.iterdir() if each.name not in {blob_hash(body).hex() for body in bodies}]
        bodies.append(path.read_bytes())
        meeting.home("x").path.rename(meeting.folder / f"copy-{len(bodies)}")  # as if its disk were lost
        meeting.home("x").path.mkdir(mode=0o700)
    meeting.present.pop("x")
    assert counter.refused() == [("x", "duplicate")]
    meeting.until_asked(Stage.KEYS, 2)
    submitted = [each.signer for each in map(open_envelope, meeting.entries()) if each.type == "submission"]
    assert sorted(submitted) == ["x", "x", *CLIENTS[1:]]
    assert meeting._host.summaries[0].excluded.keys() == {"x"}
