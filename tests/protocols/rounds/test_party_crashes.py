"""Each party alone is killed before or after each single write to its store, and asked again; the others go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.rounds.exchange import Acknowledgement
from protocols.stores import MemoryStore
from tests.simulator import Setting, Simulation

Answer = TypeVar("Answer")
SMALL = Setting(clients=2, trustees=3, threshold=3, corrupt=1, dimension=20)


class Crash(BaseException):
    """In place of what would have come next: only the store is left."""


class MortalStore(MemoryStore):
    """Dies at write number `deadline`, counted from 0: before it, or just after it."""

    def __init__(self, deadline: int, afterwards: bool) -> None:
        super().__init__()
        self.deadline, self.afterwards, self.writes = deadline, afterwards, 0

    def put(self, key: str, value: bytes) -> None:
        self._write(lambda: super(MortalStore, self).put(key, value))

    def delete(self, key: str) -> None:
        self._write(lambda: super(MortalStore, self).delete(key))

    def _write(self, change: Callable[[], None]) -> None:
        number = self.writes
        self.writes += 1
        if number == self.deadline and not self.afterwards:
            raise Crash
        change()
        if number == self.deadline:
            raise Crash


class Mortal(Simulation):
    """A federation with one party that dies once; it is restarted, and what it was asked is asked again.

    said: by (party, type, round), the entries that parties handed over.
    """

    def __init__(self, directory: Path, party: str, deadline: int, afterwards: bool) -> None:
        super().__init__(directory, SMALL)
        self.party, self.crashes = party, 0
        self.said: dict[tuple[str, str, int], bytes] = {}
        self.stores[party] = MortalStore(deadline, afterwards)
        try:
            self.revive()
        except Crash:
            self.crashes += 1
            self.revive()

    def revive(self) -> None:
        if self.party == "coordinator":
            self.restart_coordinator()
        elif self.party in self.clients:
            self.restart_client(self.party)
        else:
            self.restart_trustee(self.party)

    def until_answered(self, question: Callable[[], Answer]) -> Answer:
        try:
            return question()
        except Crash:
            self.crashes += 1
            self.revive()
            return question()

    def hear(self, entry: bytes) -> bytes:
        envelope = open_envelope(entry)
        key = (envelope.signer, envelope.type, envelope.message.round)
        assert self.said.setdefault(key, entry) == entry, f"{key} was signed twice"
        return entry

    def play(self) -> None:
        self.until_answered(self.begin)
        for number in (1, 2):
            self.until_answered(lambda number=number: self.go_on(number))

    def begin(self) -> None:
        if self.coordinator.size == 0:
            self.store(self.coordinator.genesis(self.model))
        self.checkpoint()

    def go_on(self, number: int) -> None:
        """The rest of a round, from wherever the log is; everybody is asked everything again."""
        self.checkpoint()
        ledger = self.coordinator.ledger
        if ledger.current is None and ledger.rounds == number:
            return
        if ledger.current is None:
            keys = [self.hear(trustee.round_key(number)) for trustee in self.trustees.values()]
            self.store(self.coordinator.open_round(keys))
            self.checkpoint()
        current = self.coordinator.ledger.current
        assert current is not None
        if current.cohort is None:
            self.collect(number)
        self.open_sum(number)

    def collect(self, number: int) -> None:
        for name, client in self.clients.items():
            opened = self.accept(name)
            package = client.answered(opened) or client.submit(opened, self.random_update(f"{name} {number}"))
            self.hear(package.entry)
            self.store(self.coordinator.receive(package))
        self.checkpoint()
        for trustee in self.trustees.values():
            ack = self.hear(trustee.acknowledge(number, self.coordinator.note, self.blob))
            self.store(self.coordinator.receive_ack(Acknowledgement(ack)))
        assert self.close_cohort() is None

    def open_sum(self, number: int) -> None:
        for name in self.asked():
            release = self.trustees[name].release(number, self.coordinator.note, self.blob)
            self.hear(release.entry)
            assert secrets_of(self.stores[name]) == [], "erased before it is said"
            self.store(self.coordinator.receive_release(release))
        self.store(self.coordinator.aggregate())
        self.store(self.coordinator.close_round())
        self.checkpoint()


def secrets_of(store: MemoryStore) -> list[str]:
    stored = store.keys()
    return [key for key in stored if key.startswith(("share/", "round-key/"))]


def writes_of(party: str, folder: Path) -> int:
    simulation = Mortal(folder / "whole", party, -1, afterwards=False)
    simulation.play()
    simulation.writer.close()
    store = simulation.stores[party]
    assert isinstance(store, MortalStore)
    return store.writes


def check_deaths(party: str, folder: Path, moments: Callable[[int], tuple[bool, ...]]) -> None:
    """Let the party die at every write, before or after it as `moments` says of the write's number."""
    count = writes_of(party, folder)
    assert count >= 4
    for deadline in range(count):
        for afterwards in moments(deadline):
            simulation = Mortal(folder / f"{deadline} {afterwards}", party, deadline, afterwards)
            simulation.play()
            assert simulation.crashes == 1
            check_said(simulation)
            simulation.writer.close()


def check_said(simulation: Mortal) -> None:
    """Two rounds, every entry that anybody handed over is in the log and has no twin; no secret is left."""
    assert simulation.coordinator.ledger.rounds == 2
    assert not [name for name, store in simulation.stores.items() if secrets_of(store)]
    log = TranscriptReader(simulation.path).entries(0, simulation.writer.size)
    messages = [open_envelope(entry) for entry in log]
    names = [(each.signer, each.type, getattr(each.message, "round", 0)) for each in messages]
    assert len(set(names)) == len(names)
    assert set(simulation.said.values()) <= set(log)


PARTIES = ("client-01", "trustee-2", "coordinator")


@pytest.mark.parametrize("party", PARTIES)
def test_a_party_that_dies_at_a_write_says_nothing_twice(tmp_path: Path, party: str) -> None:
    check_deaths(party, tmp_path, lambda number: (number % 2 == 1,))


@pytest.mark.exhaustive
@pytest.mark.parametrize("party", PARTIES)
def test_a_party_that_dies_before_or_after_any_write_says_nothing_twice(tmp_path: Path, party: str) -> None:
    check_deaths(party, tmp_path, lambda _: (False, True))
