"""Reading a published log: whose it is comes first, and what is held of it does not grow with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from proofs.errors import Rejected
from protocols.identities import SigningKey
from protocols.log.checkpoint import sign_checkpoint
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import CHECKPOINT
from protocols.rounds.follower import Follower
from tests.simulator import Setting, Simulation, identity_of
from verifl.agents.party import Party
from verifl.agents.past_models import PastModels
from verifl.agents.published import PublishedLog, follow
from verifl.carriers.exchange.public import PublicDirectory
from verifl.carriers.exchange.standing import standing_of
from verifl.storage.party_directory import PartyDirectory

SETTING = Setting(clients=3, trustees=3, threshold=2, corrupt=0, dimension=4)
MOST = 8  # entries held at a time, by whoever reads one after another


class Held(bytes):
    """An entry; how many of them there are, and how many there were at most."""

    now = most = 0

    def __new__(cls, data: bytes) -> Held:
        Held.now += 1
        Held.most = max(Held.most, Held.now)
        return super().__new__(cls, data)

    def __del__(self) -> None:
        Held.now -= 1


class Counting(TranscriptReader):
    """Hands out entries that are counted as long as somebody holds them; `entries` is for who may hold all."""

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        yield from map(Held, super().stream(start, stop))

    def replay(self, tiles: bool = True) -> Iterator[list[bytes]]:
        for bundle in super().replay(tiles):
            for entry in bundle:
                yield [Held(entry)]


class Unread(TranscriptReader):
    """None of whose entries may be read."""

    def stream(self, start: int, stop: int) -> NoReturn:
        pytest.fail(f"entries {start} to {stop} were read")

    def replay(self, tiles: bool = True) -> NoReturn:
        pytest.fail(f"the log was read, {tiles}")


class Exchanged(TranscriptReader):
    """Whose last two entries have changed places when they are read once more."""

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        *others, first, second = super().stream(start, stop)
        yield from (*others, second, first)


class Place(PublicDirectory):
    """With readers of some kind."""

    def __init__(self, simulation: Simulation, kind: type[TranscriptReader]) -> None:
        super().__init__(simulation.path.parent)
        self._reader = lambda: kind(simulation.path)

    def reader(self) -> TranscriptReader:
        return self._reader()


Reading = Callable[[Simulation, type[TranscriptReader]], object]


def party(simulation: Simulation) -> Party:
    name = "client-00"
    return Party(name, (identity_of(name, simulation.setting.seed),), PartyDirectory(simulation.path))


READINGS: dict[str, Reading] = {
    "invitation": lambda it, kind: PublishedLog(kind(it.path), it.pinned).invitation(0, 0),
    "said": lambda it, kind: PublishedLog(kind(it.path), it.pinned).said_by(party(it)),
    "follow": lambda it, kind: follow(it.pinned, kind(it.path), Follower.start(), lambda _: None),
    "status": lambda it, kind: standing_of(Place(it, kind), it.pinned),
    "models": lambda it, kind: PastModels.read(it.pinned, kind(it.path)),
}
TWICE = ("status", "models")  # by the tree, then by the rules


@pytest.fixture(scope="module")
def simulations(tmp_path_factory: pytest.TempPathFactory) -> list[Simulation]:
    """A short log and a long one: of rounds that were aborted for want of submissions, and one that is open."""
    found = []
    for rounds in (2, 8):
        simulation = Simulation(tmp_path_factory.mktemp("log"), SETTING)
        simulation.start()
        for _ in range(rounds):
            simulation.open_round()
            simulation.submit("client-00")
            simulation.store(simulation.coordinator.abort())
            simulation.checkpoint()
        simulation.open_round()
        found.append(simulation)
    return found


@pytest.mark.parametrize("reading", READINGS)
def test_what_is_held_does_not_grow_with_the_log(simulations: list[Simulation], reading: str) -> None:
    sizes, most = [], []
    for simulation in simulations:
        assert Held.now == 0
        Held.most = 0
        READINGS[reading](simulation, Counting)
        sizes.append(simulation.coordinator.published)
        most.append(Held.most)
    assert sizes[1] > 3 * sizes[0]
    assert 1 <= most[1] == most[0] <= MOST


@pytest.mark.parametrize("reading", READINGS)
def test_nothing_is_read_of_a_log_of_somebody_else(simulations: list[Simulation], reading: str) -> None:
    simulation = simulations[0]
    file = simulation.path / CHECKPOINT
    note, head = file.read_bytes(), TranscriptReader(simulation.path).head()
    file.write_bytes(sign_checkpoint(head, head.origin, SigningKey.generate(bytes)))
    try:
        with pytest.raises(Rejected) as refused:
            READINGS[reading](simulation, Unread)
    finally:
        file.write_bytes(note)
    assert refused.value.check == "checkpoint-signature"


@pytest.mark.parametrize(("reading", "check"), [("follow", "fork"), *((each, "checkpoint-root") for each in TWICE)])
def test_what_is_followed_is_what_the_checkpoint_has(tmp_path: Path, reading: str, check: str) -> None:
    """Two submissions in the other order keep every rule, and are another log."""
    simulation = Simulation(tmp_path, SETTING)
    simulation.start()
    simulation.open_round()
    for name in ("client-00", "client-01"):
        simulation.submit(name)
    simulation.checkpoint()
    READINGS[reading](simulation, TranscriptReader)
    with pytest.raises(Rejected) as refused:
        READINGS[reading](simulation, Exchanged)
    assert refused.value.check == check
