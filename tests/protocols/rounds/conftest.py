from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulator import Setting, Simulation


@pytest.fixture(autouse=True)
def no_disk_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power failures are the log writer's own tests; here each flush would cost more than the round."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Simulation]]:
    """Started federations: `simulate(clients=5, max_aborts=1)`."""
    made: list[Simulation] = []

    def make(**setting: object) -> Simulation:
        simulation = Simulation(tmp_path / str(len(made)), Setting(**setting))  # type: ignore[arg-type]
        simulation.start()
        made.append(simulation)
        return simulation

    yield make
    for simulation in made:
        simulation.writer.close()


@pytest.fixture
def simulation(simulate: Callable[..., Simulation]) -> Simulation:
    """Four clients, five trustees (t = 4, f = 2), genesis published."""
    return simulate()
