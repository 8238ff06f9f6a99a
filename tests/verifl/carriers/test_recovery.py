"""A run that is killed at any instant goes on to the end that it would have had."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cbor2
import pytest

from protocols.log.reader import TranscriptReader
from protocols.rounds.record import pending_entries
from tests.verifl.carriers.victim import Victims
from tests.verifl.recovery import Original, Said, check_end, check_leftovers, check_same_training, resume
from verifl.federation import FederationResult
from verifl.storage.stores import DirectoryStore

STEPS = 848  # on disk, of the whole run; the sample is drawn from so many
SAMPLE = 4
KILLS = 4


def killed_before(numbers: set[int], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Original(folder, lambda number, _: number in numbers, monkeypatch)
    assert original.photographs
    for number in original.photographs:
        original.check(number, monkeypatch)


def test_killed_before_some_steps_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator, stride = random.Random(20), STEPS // SAMPLE
    killed_before({first + generator.randrange(stride) for first in range(0, STEPS, stride)}, tmp_path, monkeypatch)


def test_killed_while_a_checkpoint_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def moment(number: int, description: str) -> bool:
        seen.extend([number] if description == "rename checkpoint" else [])
        return len(seen) == 3 and seen[-1] == number

    original = Original(tmp_path, moment, monkeypatch)
    (number,) = original.photographs
    sizes = TranscriptReader(original.photographs[number] / "transcript").checkpoints()
    assert sizes[-1] > TranscriptReader(original.photographs[number] / "transcript").size
    original.check(number, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(40))
def test_killed_before_every_step_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    killed_before(set(range(part, 10 * STEPS, 40)), tmp_path, monkeypatch)


@dataclass(frozen=True)
class Reference:
    """A run that nobody killed, and how many seconds it took."""

    result: FederationResult
    seconds: float


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    resume(tmp_path_factory.mktemp("first") / "out")  # loads, or compiles, the kernels: the victims start with them
    started = time.perf_counter()
    result = resume(tmp_path_factory.mktemp("uninterrupted") / "out")
    return Reference(result, time.perf_counter() - started)


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with Victims() as victims:
        yield victims


def kept(directory: Path) -> list[bytes]:
    """Every entry in the log or in a party's state: what was said, or will be said again."""
    transcript, state = directory / "transcript", directory / "state"
    reader = TranscriptReader(transcript)
    entries = reader.entries(0, reader.size) if (transcript / "checkpoint").exists() else []
    values = {
        (kind, key): value
        for kind in ("trustees", "clients")
        for path in state.glob(f"{kind}/*/store")
        for key, value in contents(path).items()
    }
    entries += [value for (_, key), value in values.items() if key.startswith("ack/")]
    entries += [cbor2.loads(value)["entry"] for (_, key), value in values.items() if key.startswith("release/")]
    entries += [cbor2.loads(value)["entry"] for (_, key), value in values.items() if key == "answer"]
    return entries + list(pending_entries(DirectoryStore(state / "coordinator" / "store")))


def contents(path: Path) -> dict[str, bytes]:
    store = DirectoryStore(path)
    stored = store.keys()
    values = {key: store.get(key) for key in stored}
    return {key: value for key, value in values.items() if value is not None}


def kill_and_resume(seed: int, times: int, victims: Victims, folder: Path, reference: Reference) -> int:
    """Kill one federation at random instants, at most so often, then let it end; how often it was killed."""
    generator, directory, before, kills = random.Random(seed), folder / f"{seed}" / "out", Said(), 0
    while kills < times and victims.kill_after(directory, generator.uniform(0, reference.seconds)):
        kills += 1
        if (directory / "policy.cbor").exists():
            check_leftovers(directory)
            for entry in kept(directory):
                before.say(entry)
    result = resume(directory)
    check_end(result, [before])
    check_same_training(result, reference.result)
    return kills


def test_killed_at_random_instants(tmp_path: Path, victims: Victims, uninterrupted: Reference) -> None:
    kills = seed = 0
    while kills < KILLS:
        kills += kill_and_resume(seed, KILLS, victims, tmp_path, uninterrupted)
        seed += 1


@pytest.mark.exhaustive
def test_killed_a_hundred_times(tmp_path: Path, victims: Victims, uninterrupted: Reference) -> None:
    kills = federations = 0
    while kills < 100:
        kills += kill_and_resume(1000 + federations, 8, victims, tmp_path, uninterrupted)
        federations += 1
    print(f"{kills} kills of {federations} federations, at up to {uninterrupted.seconds:.1f} s")


@pytest.mark.exhaustive
def test_one_run_killed_a_hundred_times(tmp_path: Path, victims: Victims, uninterrupted: Reference) -> None:
    """Every process lives so shortly that a hundred of them do not come to the end."""
    kills, life = 0, 0.8 * uninterrupted.seconds
    while kills < 100:
        directory, before, generator, kills = tmp_path / f"{life}" / "out", Said(), random.Random(life), 0
        while kills < 100 and victims.kill_after(directory, generator.uniform(0, life)):
            kills += 1
            for entry in kept(directory) if (directory / "policy.cbor").exists() else ():
                before.say(entry)
        life *= 0.8
    progress = len(kept(directory))
    result = resume(directory)
    check_end(result, [before])
    check_same_training(result, uninterrupted.result)
    print(f"{kills} kills of one federation within {life / 0.8:.2f} s each; it had come to {progress} entries")
