"""What a trustee makes of what is published: it answers what it is asked by name, and outlives whatever it is told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.key_files import read_key
from protocols.log.checkpoint import add_cosignatures, cosign, parse_note, render_note
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import answer_limit, decode_answer
from protocols.rounds.evidence import Evidence
from protocols.rounds.exchange import Observe, OfferKey, RoundKeyOffer
from protocols.rounds.proposals import OF_TRUSTEES, Proposal, draft_proposal, seal_proposal
from protocols.rounds.waits import Waits
from tests.verifl.carriers.exchange.consortium import gathered, run_in_one_process
from verifl.agents.clock import CosignatureClock, MachineClock, seconds
from verifl.agents.party import Party
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.exchange.participant import Participant, evidence_of
from verifl.carriers.exchange.public import INBOX, PublicDirectory
from verifl.storage.party_directory import PartyDirectory

NAME = "trustee-1"


class Table:
    """A trustee that has seen two rounds, and what it is shown."""

    def __init__(self, folder: Path, pinned: PinnedPolicy, homes: Path) -> None:
        self.public, self.pinned = PublicDirectory(folder), pinned
        self.key = read_key(homes / "coordinator/identity.pem")
        self.homes = homes
        self.party = party = Party(
            NAME, (read_key(homes / NAME / "identity.pem"),), PartyDirectory(folder / "state/trustees" / NAME)
        )
        evidence, clock = evidence_of(self.public, pinned, party), CosignatureClock()
        self.agent = TrusteeAgent.open(pinned, party, Waits(seconds), clock, evidence)
        self.reader = TranscriptReader(self.public.transcript)
        self.public.create()
        (folder / INBOX / NAME).mkdir()

    def sit(self) -> Participant:
        """Its process, started anew."""
        agent = self.agent
        return Participant(self.public, self.pinned, NAME, OF_TRUSTEES, agent.answer, agent.expire, MachineClock())

    def next_key(self) -> Proposal:
        return draft_proposal(self.pinned, OfferKey(3, self.reader.latest()), (NAME,), [], 0, 0)[0]

    def show(self, proposal: Proposal, files: dict[bytes, bytes] | None = None) -> None:
        self.public.propose(seal_proposal(proposal, self.key), files or {})

    def answers(self) -> list[Path]:
        return sorted((self.public.path / INBOX / NAME).iterdir())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with gathered(tmp_path_factory.mktemp("table")) as consortium:
        run = run_in_one_process(consortium)
        yield Table(run.directory, PinnedPolicy.open(run.policy.read_bytes()), consortium.folder / "homes")


def test_nothing_is_said_where_nothing_is_asked_of_it(table: Table) -> None:
    participant = table.sit()
    assert not participant.look()
    table.show(replace(table.next_key(), parties=("trustee-2",)))
    assert not participant.look()
    table.show(replace(table.next_key(), question="submission"))  # of a trustee
    assert not participant.look()
    assert table.answers() == []


def test_what_is_no_proposal_is_refused(table: Table) -> None:
    table.public.propose(b"nonsense", {})
    with pytest.raises(Malformed):
        table.sit().look()
    stranger = read_key(table.public.path.parent / "homes" / NAME / "identity.pem")
    table.public.propose(seal_proposal(table.next_key(), stranger), {})
    with pytest.raises(Rejected, match="signature"):
        table.sit().look()
    assert table.answers() == []


def test_whoever_shows_nonsense_keeps_no_secret_alive(table: Table) -> None:
    """What has to be erased in time is, whatever is published."""
    tended: list[int] = []
    participant = Participant(
        table.public, table.pinned, NAME, OF_TRUSTEES, table.agent.answer, lambda: tended.append(1), MachineClock()
    )
    table.public.propose(b"nonsense", {})
    with pytest.raises(Malformed):
        participant.look()
    assert tended == [1]


def test_an_old_checkpoint_is_refused_as_ever(table: Table) -> None:
    size = table.reader.all_checkpoints()[0]
    old, entries = table.reader.note(size), table.reader.entries(0, size)
    table.show(*draft_proposal(table.pinned, Observe(old, size), (NAME,), entries, 0, 0))
    with pytest.raises(Rejected, match="rollback"):
        table.sit().look()
    proposal = draft_proposal(table.pinned, OfferKey(1, old), (NAME,), [], 0, 0)[0]
    table.show(proposal)
    with pytest.raises(Rejected, match="round"):
        table.sit().look()
    assert table.answers() == []


def test_it_answers_once_and_a_restart_says_the_same(table: Table) -> None:
    table.show(table.next_key())
    participant = table.sit()
    assert participant.look()
    assert not participant.look()
    [path] = table.answers()
    received = decode_answer(path.read_bytes(), answer_limit(table.pinned, NAME))
    assert (type(received.answer), received.party, received.round) == (RoundKeyOffer, NAME, 3)
    path.unlink()
    assert not participant.look()
    assert table.sit().look()
    assert table.answers() == [path]


def test_whoever_owns_the_inbox_has_nothing_written_elsewhere(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that takes the place of an unfinished answer, or of the inbox, leads nowhere."""
    key, inbox, opened = tmp_path / "identity.pem", table.public.path / INBOX / NAME, os.open
    key.write_text("a key")
    key.chmod(0o600)

    def and_then_swapped(path: str, flags: int, *more: int, **extra: int) -> int:
        descriptor = opened(path, flags, *more, **extra)
        if flags & os.O_EXCL:
            (unfinished,) = inbox.glob(".*.tmp")
            unfinished.unlink()
            unfinished.symlink_to(key)
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", and_then_swapped)
        table.public.put(NAME, b"an answer")
    assert (key.read_text(), key.stat().st_mode & 0o777) == ("a key", 0o600)
    (inbox / blob_hash(b"an answer").hex()).unlink()

    inbox.rename(inbox.with_name("aside"))
    inbox.symlink_to(tmp_path)
    with pytest.raises(Rejected, match="file-kind"):
        table.public.put(NAME, b"an answer")
    assert list(tmp_path.iterdir()) == [key]
    inbox.unlink()
    inbox.with_name("aside").rename(inbox)


def test_the_time_is_what_the_machine_says_or_what_it_said_itself(table: Table) -> None:
    """A trustee that lies about the time, or a stranger who writes a line in its name, does not set the clocks of the
    others."""
    note = parse_note(table.reader.latest())
    liar = read_key(table.homes / "trustee-2/identity.pem")
    lines = [line for line in note.signatures[1:] if line.name != "trustee-2"]
    (own,) = (int.from_bytes(line.signature[:8], "big") for line in lines if line.name == NAME)
    spoilt = render_note(replace(note, signatures=(note.signatures[0], *lines)))
    spoilt = add_cosignatures(spoilt, [cosign(note.checkpoint, "trustee-2", liar, 2**62)])
    clock = CosignatureClock(lambda: own - 1000)
    TrusteeAgent.open(table.pinned, table.party, Waits(seconds), clock, Evidence(spoilt))
    assert clock.now() == own
    clock = CosignatureClock(lambda: own - 1000)
    TrusteeAgent.open(table.pinned, table.party, Waits(seconds), clock)
    assert clock.now() == own - 1000
