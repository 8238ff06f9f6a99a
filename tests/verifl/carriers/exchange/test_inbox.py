"""What a coordinator's host does with what anybody can put into an inbox: named refusals, and nothing that grows."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from proofs.errors import Rejected
from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.key_files import read_key
from protocols.log.checkpoint import Checkpoint, cosign
from protocols.log.reader import TranscriptReader
from protocols.messages import COORDINATOR, RoundKey, ShareAck, Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import answer_limit, encode_answer
from protocols.rounds.exchange import Acknowledgement, Answer, Cosignature, RoundKeyOffer, SubmissionPackage
from protocols.rounds.waits import Waits
from tests.verifl.carriers.exchange.consortium import Consortium, gathered, run_in_one_process
from verifl.agents.clock import MachineClock, seconds
from verifl.agents.party import Party
from verifl.agents.server import open_server
from verifl.carriers.exchange import inbox as inboxes
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.inbox import KEPT_LIMIT, Inbox, Letter, Refusals
from verifl.carriers.exchange.public import INBOX, PublicDirectory
from verifl.carriers.rounds import Measures, RunTerms
from verifl.progress import NoProgress
from verifl.storage.history import MetricsFile
from verifl.storage.party_directory import PartyDirectory
from verifl.tasks.loading import load_task
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import tensor_filter


@dataclass
class Desk:
    """A host between rounds, whose log has two, and the inboxes that it reads."""

    folder: Path
    pinned: PinnedPolicy
    host: CoordinatorHost
    inbox: Inbox
    keys: dict[str, SigningKey]
    entries: list[bytes]

    def put(self, party: str, data: bytes, name: str | None = None) -> Path:
        path = self.folder / INBOX / party / (blob_hash(data).hex() if name is None else name)
        path.write_bytes(data)
        return path

    def send(self, party: str, answer: Answer) -> Path:
        return self.put(party, encode_answer(answer))

    def collect(self) -> list[tuple[str, str]]:
        """(party, check) of what is refused now."""
        before = len(self.refusals())
        self.host._collect()
        return self.refusals()[before:]

    def refusals(self) -> list[tuple[str, str]]:
        path = self.folder / "refusals.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(each["party"], each["check"]) for each in map(json.loads, lines)]

    def round_key(self, party: str, number: int) -> RoundKeyOffer:
        message = RoundKey(self.pinned.policy.federation, self.pinned.hash, number, party, os.urandom(1216), None, None)
        return RoundKeyOffer(seal(message, party, self.keys[party]))

    def logged(self, kind: type, party: str) -> bytes:
        """The last entry of this type by this party."""
        return [each for each in self.entries if self._is(each, kind, party)][-1]

    def _is(self, entry: bytes, kind: type, party: str) -> bool:
        envelope = open_envelope(entry)
        return isinstance(envelope.message, kind) and envelope.signer == party


@contextmanager
def opened(consortium: Consortium) -> Iterator[Desk]:
    run = run_in_one_process(consortium)
    config, folder = consortium.config, run.directory
    pinned = PinnedPolicy.open(consortium.policy.read_bytes())
    names = [member.id for member in (*pinned.policy.trustees, *pinned.policy.roster)]
    keys = {name: read_key(consortium.home(name) / "identity.pem") for name in (COORDINATOR, *names)}
    training = LocalTraining(load_task(config, consortium.folder), tensor_filter(config), "cpu", config.federation.seed)
    public, refusals = PublicDirectory(folder), Refusals(folder / "refusals.jsonl", lambda: 0.0)
    public.create()
    inbox = Inbox(folder, pinned, refusals)
    inbox.create()
    party = Party(COORDINATOR, (keys[COORDINATOR],), PartyDirectory(run.state / "coordinator"))
    initial, waits = training.initial(), Waits(seconds, quorum=0)
    measures = Measures(MetricsFile(folder / "metrics.jsonl"), training.evaluate, NoProgress())
    with open_server(pinned, party, run.transcript, initial, "cpu", waits) as server:
        server.begin()
        terms = RunTerms(config.federation.rounds, pinned.policy.max_aborts, lambda _: ())
        host = CoordinatorHost(server, terms, public, inbox, config.deadlines, measures, MachineClock(), initial)
        reader = TranscriptReader(run.transcript)
        yield Desk(folder, pinned, host, inbox, keys, reader.entries(0, reader.size))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with gathered(tmp_path_factory.mktemp("desk")) as consortium, opened(consortium) as made:
        yield made


def test_what_is_no_answer_is_refused_by_name_and_removed(desk: Desk) -> None:
    limit = answer_limit(desk.pinned, "x")
    desk.put("x", b"nonsense")
    assert desk.collect() == [("x", "malformed")]
    desk.put("x", b"some bytes", "ab" * 32)
    assert desk.collect() == [("x", "name")]
    desk.put("x", b"some bytes", "answer.cbor")
    assert desk.collect() == [("x", "name")]
    with desk.put("x", b"", "cd" * 32).open("r+b") as file:
        file.truncate(limit + 1)
    assert desk.collect() == [("x", "oversized")]
    (desk.folder / INBOX / "x" / ("ef" * 32)).symlink_to("/dev/zero")
    assert desk.collect() == [("x", "file-kind")]
    assert not list((desk.folder / INBOX / "x").iterdir())


def test_what_cannot_be_removed_is_refused_once(desk: Desk) -> None:
    directory = desk.folder / INBOX / "y" / ("ab" * 32)
    directory.mkdir()
    assert desk.collect() == [("y", "file-kind")]
    assert desk.collect() == []
    directory.rmdir()


def test_unfinished_files_are_left_alone(desk: Desk) -> None:
    path = desk.put("x", b"half of", ".unfinished.tmp")
    assert desk.collect() == []
    assert path.exists()


def test_an_answer_of_somebody_else_is_foreign(desk: Desk) -> None:
    desk.send("trustee-2", desk.round_key("trustee-1", 3))
    desk.send("trustee-2", Cosignature(cosign(Checkpoint("o", 1, bytes(32)), "trustee-1", desk.keys["trustee-1"], 1)))
    assert desk.collect() == [("trustee-2", "foreign")] * 2


def test_what_the_log_has_is_no_news_and_what_it_missed_is_late(desk: Desk) -> None:
    again = desk.send("trustee-1", Acknowledgement(desk.logged(ShareAck, "trustee-1")))
    submission = desk.send("x", SubmissionPackage(desk.logged(Submission, "x"), {}))
    assert desk.collect() == []
    assert again.exists()
    assert submission.exists()
    desk.inbox.settle()
    assert not again.exists()
    assert not submission.exists()
    desk.send("trustee-1", desk.round_key("trustee-1", 1))
    desk.send("trustee-1", Cosignature(cosign(Checkpoint("o", 1, bytes(32)), "trustee-1", desk.keys["trustee-1"], 1)))
    assert desk.collect() == [("trustee-1", "late")] * 2


def test_what_comes_early_waits_and_not_without_limit(desk: Desk) -> None:
    kept = [desk.send("trustee-3", desk.round_key("trustee-3", 3)) for _ in range(KEPT_LIMIT)]
    assert desk.collect() == []
    desk.send("trustee-3", desk.round_key("trustee-3", 3))
    assert desk.collect() == [("trustee-3", "inbox-full")]
    assert all(path.exists() for path in kept)
    desk.inbox.reconsider()
    assert {letter.name for letter in desk.inbox.letters()} == {path.name for path in kept}
    for path in kept:
        path.unlink()


def test_the_file_of_refusals_does_not_grow_without_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inboxes, "REFUSALS_LIMIT", 1000)
    refusals = Refusals(tmp_path / "refusals.jsonl", lambda: 0.0)
    for number in range(50):
        refusals.add(Letter("x", str(number)), "malformed", "no answer " * 200)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {"refusals.jsonl", "refusals.jsonl.1"}
    assert max(sizes.values()) <= 1000
    assert json.loads((tmp_path / "refusals.jsonl").read_text().splitlines()[-1])["file"] == "49"


def test_a_link_in_the_place_of_an_inbox_has_nothing_read_and_nothing_removed(desk: Desk, tmp_path: Path) -> None:
    """Whoever can write where the inboxes are, a web server for one, would else have the coordinator's own files
    removed."""
    (tmp_path / "identity.pem").write_text("a key")
    taken = desk.send("x", SubmissionPackage(desk.logged(Submission, "x"), {}))
    assert desk.collect() == []
    (tmp_path / taken.name).write_text("of the same name")
    inbox, aside = desk.folder / INBOX / "x", desk.folder / INBOX / "aside"
    inbox.rename(aside)
    inbox.symlink_to(tmp_path)
    assert desk.collect() == [("x", "file-kind")]
    assert desk.collect() == []
    desk.inbox.settle()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([taken.name, "identity.pem"])
    inbox.unlink()
    aside.rename(inbox)
    taken.unlink()


def test_an_inbox_that_is_gone_is_empty(desk: Desk) -> None:
    inbox = desk.folder / INBOX / "z"
    inbox.rmdir()
    assert desk.collect() == [("z", "file-missing")]
    assert desk.collect() == []
    inbox.write_text("no directory")
    assert desk.collect() == []
    inbox.unlink()
    inbox.mkdir()
    desk.put("z", b"nonsense")
    assert desk.collect() == [("z", "malformed")]


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_what_the_coordinator_may_not_read_stops_nobody(desk: Desk) -> None:
    """A party that owns its inbox can take any right away from a file, or from the inbox."""
    with tempfile.TemporaryDirectory() as name:
        public = Path(name)
        public.chmod(0o777)
        inbox, refused = Inbox(public, desk.pinned, Refusals(public / "refusals.jsonl", lambda: 0.0)), list[str]()
        inbox.create()
        (public / INBOX / "x").chmod(0o777)
        (public / INBOX / "x" / ("ab" * 32)).touch(0o000)
        (public / INBOX / "y").chmod(0o000)
        os.seteuid(65534)
        try:
            for letter in inbox.letters():
                with pytest.raises(Rejected, match="unreadable") as caught:
                    inbox.read(letter)
                inbox.refuse(letter, caught.value)
                refused.append(letter.party)
            assert list(inbox.letters()) == []
        finally:
            os.seteuid(0)
        said = [json.loads(line) for line in (public / "refusals.jsonl").read_text().splitlines()]
        assert refused == ["x"]
        assert sorted((each["party"], each["check"]) for each in said) == [("x", "unreadable"), ("y", "unreadable")]
