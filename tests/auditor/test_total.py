"""Hostile bytes anywhere end in a report, never in another exception."""

from __future__ import annotations

import dataclasses
import random
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor import Outcome, audit
from auditor.filing import Filing
from protocols.envelopes import open_envelope, required_signer, seal
from protocols.log.merkle import EMPTY_ROOT
from protocols.messages import MESSAGE_TYPES
from tests.auditor.conftest import paged
from tests.auditor.forge import Forge, write_transcript
from tests.simulator import identity_of
from tests.strategies import instances

FEW = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@given(st.lists(st.binary(max_size=200), max_size=5))
@FEW
def test_any_entries_are_filed(entries: list[bytes]) -> None:
    filing = Filing(None)
    for entry in entries:
        filing.add(entry)
    assert len(filing.index().headings) == len(entries)


@given(data=st.data())
@FEW
def test_any_messages_by_the_right_parties(data: st.DataObject, simulations, tmp_path_factory) -> None:
    """Well-formed nonsense, duly signed and cosigned: entries of every type with any values, after an honest log."""
    simulation = simulations("quiet")
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    kinds = [each.cls for each in MESSAGE_TYPES]
    for _ in range(4):
        message = data.draw(st.one_of(*(instances(kind) for kind in kinds)))
        signer = required_signer(message)
        entry = seal(message, signer, identity_of(signer))
        forged.insert_raw(data.draw(st.integers(0, len(forged.slots))), entry)
    path = tmp_path_factory.mktemp("any") / "t"
    assert not paged(forged.write(path), simulation.policy_data).accepted
    shutil.rmtree(path)


@given(data=st.data())
@FEW
def test_honest_entries_with_any_fields(data: st.DataObject, simulations, tmp_path_factory) -> None:
    """Honest messages in which a field took any value its type allows."""
    simulation = simulations("eventful")
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    for _ in range(3):
        position = data.draw(st.integers(0, len(forged.slots) - 1))
        honest = forged.message(position)
        other = data.draw(instances(type(honest)))
        chosen = data.draw(st.sampled_from([each.name for each in dataclasses.fields(honest)]))
        forged.edit(position, **{chosen: getattr(other, chosen)})
    path = tmp_path_factory.mktemp("any") / "t"
    paged(forged.write(path), simulation.policy_data)
    shutil.rmtree(path)


@pytest.mark.parametrize("seed", range(12))
def test_random_files(copied, simulations, seed: int) -> None:
    """Several files at once replaced by noise, cut, swapped or removed."""
    rand = random.Random(seed)
    path = copied("eventful")
    files = sorted(each for each in path.rglob("*") if each.is_file())
    for file in rand.sample(files, 6):
        data = file.read_bytes()
        other = rand.choice(files)
        replacement = [
            rand.randbytes(len(data)),
            data[: rand.randrange(len(data) + 1)],
            other.read_bytes() if other.exists() else b"",
            rand.randbytes(rand.randrange(300)),
        ]
        file.write_bytes(rand.choice(replacement))
    assert paged(path, simulations("eventful").policy_data).outcome is not Outcome.BROKEN
    assert paged(path, None).outcome is not Outcome.BROKEN


def test_an_absurd_size_costs_nothing(simulations, tmp_path: Path) -> None:
    """A checkpoint, duly signed, that claims 2^62 entries."""
    simulation = simulations("quiet")
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    path = forged.write(tmp_path / "t")
    (path / "checkpoint").write_bytes(forged.note(2**62, bytes(32)))
    (path / f"checkpoints/{2**62}").write_bytes(forged.note(2**62, bytes(32)))
    report = audit(path, simulation.policy_data)
    assert not report.accepted
    assert report.outcome is Outcome.DAMAGED
    assert report.check("I4").reason == "because I1 failed: no checkpoint signs the entries that are here"


def test_an_empty_log(simulations, tmp_path: Path) -> None:
    simulation = simulations("quiet")
    forged = Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)
    path = tmp_path / "t"
    write_transcript(path, simulation.policy_data, [b"x"], [], {1: forged.note})
    for each in (path / "tile").rglob("*"):
        if each.is_file():
            each.unlink()
    (path / "checkpoints" / "1").unlink()
    for name in ("checkpoint", "checkpoints/0"):
        (path / name).write_bytes(forged.note(0, EMPTY_ROOT))
    report = audit(path, simulation.policy_data)
    assert not report.accepted
    assert "genesis" in str(report.to_dict())


def test_open_envelope_is_what_files(simulations) -> None:
    """The index decodes what the log holds, and nothing else."""
    simulation = simulations("quiet")
    filing = Filing(simulation.pinned)
    for entry in simulation.coordinator.entries(0, simulation.coordinator.size):
        open_envelope(entry)
        filing.add(entry)
    assert filing.index().faults == {}
    assert [step.type for step in filing.index().headings][:2] == ["genesis", "round-key"]
