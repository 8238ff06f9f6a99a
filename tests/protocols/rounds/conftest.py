from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.simulator import Setting, Simulation


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Simulation]]:
    """Started federations: `simulate(clients=5, max_aborts=1)`."""
    made: list[Simulation] = []

    def make(**setting: object) -> Simulation:
        simulation = Simulation(tmp_path / str(len(made)), Setting(**setting))
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
