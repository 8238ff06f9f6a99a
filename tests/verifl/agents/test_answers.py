"""Agents of trustees and clients: on what they start, and what they answer to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.invitation import Invitation, make_invitation
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import Tile
from protocols.messages import Release, RoundOpen, ShareAck
from protocols.rounds.client_holdings import ANSWER
from protocols.rounds.evidence import NO_EVIDENCE, Evidence
from protocols.rounds.exchange import (
    Acknowledge,
    Acknowledgement,
    Observe,
    OfferKey,
    Question,
    ReleaseShare,
    RoundKeyOffer,
    Submit,
)
from tests.simulator import Setting, Simulation, identity_of
from tests.verifl.agents.alone import local_training
from verifl.agents.accepting import accept_round
from verifl.agents.client import ClientAgent
from verifl.agents.clock import CosignatureClock
from verifl.agents.party import Party
from verifl.agents.published import PublishedLog
from verifl.agents.trustee import TrusteeAgent
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import DirectoryStore

SETTING = Setting(clients=3, trustees=3, threshold=2, corrupt=0, dimension=4)


class Log:
    """A simulation's, for whoever is asked."""

    def __init__(self, simulation: Simulation) -> None:
        self.entries, self.blob = simulation.coordinator.entries, simulation.blob
        self.invitation = simulation.coordinator.invitation


class Tree:
    """Entries, whatever they are."""

    def __init__(self, entries: Sequence[bytes]) -> None:
        self._entries, self.size = entries, len(entries)

    def latest(self) -> bytes:
        pytest.fail("the checkpoint was read")

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        yield from self._entries[start:stop]

    def tile(self, tile: Tile) -> bytes:
        pytest.fail(f"{tile} was read")


class Unread:
    """A log of which nothing may be read."""

    def entries(self, start: int, stop: int) -> Sequence[bytes]:
        self._fail(f"entries {start} to {stop}")

    def invitation(self, since: int, known: int) -> Invitation:
        self._fail(f"an invitation since {since}, {known}")

    def blob(self, name: bytes, limit: int) -> bytes:
        self._fail(f"the blob {name.hex()}, {limit}")

    def _fail(self, what: str) -> NoReturn:
        pytest.fail(f"{what} was read")


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    simulation = Simulation(tmp_path, SETTING)
    simulation.start()
    return simulation


def published(simulation: Simulation) -> PublishedLog:
    return PublishedLog(TranscriptReader(simulation.path), simulation.pinned)


def party(simulation: Simulation, name: str, path: Path) -> Party:
    return Party(name, (identity_of(name, simulation.setting.seed),), PartyDirectory(path / name))


def trustee(simulation: Simulation, path: Path, evidence: Evidence = NO_EVIDENCE) -> TrusteeAgent:
    own = party(simulation, "trustee-2", path)
    return TrusteeAgent.open(simulation.pinned, own, simulation.waits, CosignatureClock(), evidence)


def client(simulation: Simulation, path: Path, evidence: Evidence = NO_EVIDENCE) -> ClientAgent:
    return ClientAgent.open(simulation.pinned, party(simulation, "client-00", path), local_training(), evidence)


def test_a_trustee_that_missed_checkpoints_catches_up(simulation: Simulation, tmp_path: Path) -> None:
    """Two of three publish without it; it is asked for a key of the next round all the same, and then for shares."""
    agent = trustee(simulation, tmp_path)
    assert agent.size == 0
    note, log = simulation.coordinator.note, Log(simulation)
    offered = agent.answer(OfferKey(1, note), log)
    assert agent.size == simulation.coordinator.published
    assert offered == agent.answer(OfferKey(1, note), Unread())
    assert isinstance(offered, RoundKeyOffer)
    simulation.trustees["trustee-2"] = agent._trustee  # it has this state from now on
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.checkpoint(["trustee-0", "trustee-1"])
    assert agent.size < simulation.coordinator.published
    answer = agent.answer(Acknowledge(1, simulation.coordinator.note), log)
    assert isinstance(answer, Acknowledgement)
    assert agent.size == simulation.coordinator.published


@pytest.mark.parametrize("question", [Observe, OfferKey, Acknowledge, ReleaseShare])
def test_nothing_is_read_for_a_checkpoint_of_somebody_else(
    simulation: Simulation, tmp_path: Path, question: type[Question]
) -> None:
    policy = simulation.pinned.policy
    head = Checkpoint(policy.origin, 1 << 40, bytes(32))
    note = sign_checkpoint(head, policy.origin, SigningKey.generate(bytes))
    asked = Observe(note, head.size) if question is Observe else question(1, note)
    with pytest.raises(Rejected, match="checkpoint-signature"):
        trustee(simulation, tmp_path).answer(asked, Unread())


def test_an_old_copy_does_not_start(simulation: Simulation, tmp_path: Path) -> None:
    simulation.play_round()
    said = simulation.evidence()
    for begin, name in ((trustee, "trustee-2"), (client, "client-00")):
        with pytest.raises(Misuse, match=rf"^{tmp_path / name}: this state is older than what its party said"):
            begin(simulation, tmp_path, said)


def test_a_store_that_its_party_did_not_write_does_not_open(simulation: Simulation, tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "client-00" / "store")
    store.put(ANSWER.key, b"\xa0")
    with pytest.raises(Misuse, match=rf"^{store.file(ANSWER.key)}: "):
        client(simulation, tmp_path)
    other = DirectoryStore(tmp_path / "trustee-2" / "store")
    other.put(ANSWER.key, b"\xa0")
    with pytest.raises(Misuse, match=rf"^{other.file(ANSWER.key)}: key: expected one of what a trustee keeps"):
        trustee(simulation, tmp_path)


def test_a_store_of_another_policy_does_not_open(simulation: Simulation, tmp_path: Path) -> None:
    """Whoever it is: what is in it was said in another federation."""
    other = Simulation(tmp_path / "other", replace(SETTING, federation="other"))
    own, another = simulation.pinned.hash.hex(), other.pinned.hash.hex()
    for begin, name in ((trustee, "trustee-2"), (client, "client-00")):
        begin(simulation, tmp_path)
        begin(simulation, tmp_path)
        expected = (
            rf"^{tmp_path / name}: store-policy: expected a state that is kept under the policy {another}, "
            f"found {own}; each federation has a state of its own: give another directory, "
            "or the policy that this one is of$"
        )
        with pytest.raises(Misuse, match=expected):
            begin(other, tmp_path)
    simulation.stores["coordinator"] = other.stores["coordinator"]
    with pytest.raises(Rejected, match="store-policy"):
        simulation.restart_coordinator()


def test_who_is_not_asked_for_that(simulation: Simulation, tmp_path: Path) -> None:
    note = simulation.coordinator.note
    with pytest.raises(Misuse, match="trustee-2: a trustee answers no Submit"):
        trustee(simulation, tmp_path).answer(Submit(1, note), Unread())
    with pytest.raises(Misuse, match="client-00: a client answers no OfferKey"):
        client(simulation, tmp_path).answer(OfferKey(1, note), Unread())


def test_an_invitation_needs_no_coordinator(simulation: Simulation) -> None:
    """Whoever reads the published log makes the invitation that the coordinator would send, in rounds with changes
    before them and after aborts, whatever the client has seen before."""
    for change in (simulation.rotation("trustee-1"), simulation.revocation("client-02"), None):
        simulation.open_round()
        log = published(simulation)
        for since in (0, 1, simulation.coordinator.published):
            for known in (0, 1):
                assert log.invitation(since, known) == simulation.coordinator.invitation(since, known)
        with pytest.raises(Rejected, match="since"):
            log.invitation(simulation.coordinator.published + 1, 0)
        agent = simulation.clients["client-00"]
        assert accept_round(simulation.pinned, agent, log).verified == simulation.accept("client-00").verified
        simulation.store(simulation.coordinator.abort())
        simulation.checkpoint()
        with pytest.raises(Rejected, match="order: expected an open round, found none"):
            published(simulation).invitation(0, 0)
        if change is not None:
            simulation.change(change)


@pytest.mark.parametrize("lie", [{"round_keys": (1, 2, 1 << 40)}, {"checkpoint_size": 1 << 40}])
def test_a_round_of_no_log_is_malformed(simulation: Simulation, lie: dict[str, Any]) -> None:
    """Nothing in a published log is believed before it is verified, and nothing in it leads beyond its entries."""
    simulation.open_round()
    reader = TranscriptReader(simulation.path)
    *before, last = reader.entries(0, reader.size)
    message = open_envelope(last).message
    assert isinstance(message, RoundOpen)
    entries = [*before, seal(replace(message, **lie), "coordinator", identity_of("coordinator"))]
    with pytest.raises(Malformed):
        make_invitation(Tree(entries))


def test_a_party_finds_what_it_said_in_the_published_log(simulation: Simulation, tmp_path: Path) -> None:
    simulation.play_round()
    log = published(simulation)
    for begin, name in ((trustee, "trustee-2"), (client, "client-00")):
        with pytest.raises(Misuse, match=rf"^{tmp_path / name}: this state is older"):
            begin(simulation, tmp_path, log.said_by(party(simulation, name, tmp_path)))
    said = log.said_by(party(simulation, "trustee-2", tmp_path)).entries
    assert [type(open_envelope(each).message) for each in said] == [ShareAck, Release]
    nobody = Party("nobody", (SigningKey.generate(bytes),), PartyDirectory(tmp_path))
    assert log.said_by(nobody) == Evidence(simulation.coordinator.note)


def test_a_client_answers_no_other_round_than_it_is_asked_about(simulation: Simulation, tmp_path: Path) -> None:
    simulation.open_round()
    with pytest.raises(Rejected) as refused:
        client(simulation, tmp_path).answer(Submit(2, simulation.coordinator.note), Log(simulation))
    assert (refused.value.check, refused.value.expected, refused.value.found) == ("round", "2", "1")
