"""A run leaves every client its receipts, and a resumed one makes up for those that are missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from protocols.receipts import ACCEPTED, CLOSED, decode_receipt, verify_receipt
from tests.simulator import Simulation
from verifl.storage.receipts import receipt_file, write_receipts


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.play_round(clients=["client-00", "client-02", "client-03"])
    return simulation


def write(simulation: Simulation, state: Path, pinned: PinnedPolicy | None = None) -> dict[str, Exception]:
    reader = TranscriptReader(simulation.path)
    note, entries = reader.latest(), reader.entries(0, reader.size)
    return dict(write_receipts(state, pinned or simulation.pinned, note, entries, 1))


def test_every_client_of_the_round_has_one(simulation: Simulation, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert write(simulation, state) == {}
    for name in ("client-00", "client-02", "client-03"):
        file = receipt_file(state, name, 1)
        assert file.stat().st_mode & 0o777 == 0o600
        found = verify_receipt(simulation.pinned, decode_receipt(file.read_bytes()))
        assert (found.client, found.verdict, found.outcome) == (name, ACCEPTED, CLOSED)
    assert not receipt_file(state, "client-01", 1).exists()


def test_one_that_is_there_stays(simulation: Simulation, tmp_path: Path) -> None:
    state = tmp_path / "state"
    write(simulation, state)
    kept = receipt_file(state, "client-00", 1).read_bytes()
    receipt_file(state, "client-02", 1).unlink()
    simulation.play_round()
    assert write(simulation, state) == {}
    assert receipt_file(state, "client-00", 1).read_bytes() == kept
    assert receipt_file(state, "client-02", 1).exists()


def test_one_that_does_not_hold_is_not_kept(simulation: Simulation, tmp_path: Path) -> None:
    other = Simulation(tmp_path / "other", simulation.setting)
    refused = write(simulation, tmp_path / "state", replace(other.pinned, hash=bytes(32)))
    assert set(refused) == {"client-00", "client-02", "client-03"}
    assert not receipt_file(tmp_path / "state", "client-00", 1).exists()
