"""A run that is killed at any instant goes on to the end that it would have had."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from tests.verifl.recovery import Original, Said, check_end, check_leftovers, check_same_training, resume
from tests.verifl.victim import Victims
from verifl.federation import FederationResult
from verifl.state import DirectoryStore

STEPS = 823  # on disk, of the whole run; the sample is drawn from so many
SAMPLE = 7
KILLS = 6


def killed_before(numbers: set[int], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Original(folder, numbers.__contains__, monkeypatch)
    assert original.photographs
    for number in original.photographs:
        original.check(number, monkeypatch)


def test_killed_before_some_steps_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(20)
    killed_before({generator.randrange(n, n + STEPS // SAMPLE) for n in range(0, STEPS, STEPS // SAMPLE)}, tmp_path, monkeypatch)


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(40))
def test_killed_before_every_step_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    killed_before(set(range(part, 10 * STEPS, 40)), tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> FederationResult:
    return resume(tmp_path_factory.mktemp("uninterrupted") / "out")


@pytest.fixture(scope="module")
def victims() -> Iterator[Victims]:
    with Victims() as victims:
        yield victims


def stored(directory: Path) -> list[bytes]:
    """Every entry that a kill leaves in the log or, about to be sent again, in a party's state."""
    transcript = directory / "transcript"
    reader = TranscriptReader(transcript)
    entries = reader.entries(0, reader.size) if (transcript / "checkpoint").exists() else []
    for store in [*directory.glob("state/trustees/*/store"), *directory.glob("state/clients/*/store")]:
        values = DirectoryStore(store)
        spoken = [values.get(key) for key in values.keys() if key.startswith("ack/")]
        entries += [value for value in spoken if value is not None]
    return entries


def kill_and_resume(seed: int, victims: Victims, folder: Path, uninterrupted: FederationResult) -> int:
    """Kill one federation at random instants until it comes to its end; how often it was killed."""
    generator, directory, before, kills = random.Random(seed), folder / f"{seed}" / "out", Said(), 0
    while victims.kill_after(directory, generator.uniform(0.05, 4.0)):
        kills += 1
        check_leftovers(directory)
        for entry in stored(directory):
            open_envelope(entry)
            before.say(entry)
    result = resume(directory)
    check_end(result, [before])
    check_same_training(result, uninterrupted)
    return kills


def test_killed_at_random_instants(tmp_path: Path, victims: Victims, uninterrupted: FederationResult) -> None:
    kills = seed = 0
    while kills < KILLS:
        kills += kill_and_resume(seed, victims, tmp_path, uninterrupted)
        seed += 1


@pytest.mark.exhaustive
def test_killed_a_hundred_times(tmp_path: Path, victims: Victims, uninterrupted: FederationResult) -> None:
    kills = seed = 0
    while kills < 100:
        kills += kill_and_resume(1000 + seed, victims, tmp_path, uninterrupted)
        seed += 1
    print(f"{kills} kills of {seed} federations")
