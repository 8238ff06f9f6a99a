"""What the tests of Flower in one process share; whoever asks for it has said that it needs Flower."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from verifl.config import Config

if TYPE_CHECKING:
    from tests.verifl.carriers.flower.table import Table


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.verifl.carriers.flower.table import Net
    from verifl.carriers.flower.simulation import enrol_simulation

    folder = tmp_path_factory.mktemp("enrolled") / "federation"
    config = Config.of(trustees={"count": 3, "threshold": 2, "corrupt": 0}, limits={"min_cohort": 2})
    enrol_simulation(folder, Net, 3, config)
    (folder / "config.toml").write_text(
        "[deadlines]\nclients = 60\ntrustees = 1.0\nquorum = 0\npoll = 0.02\ngive_up = 60\n"
    )
    return folder


@pytest.fixture
def table(enrolled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    """Pauses between two questions are short."""
    from tests.verifl.carriers.flower.table import Table
    from verifl.carriers.flower import courier, running

    for module, name in ((courier, "_PAUSE"), (courier, "_SILENCE"), (running, "_LEAVE")):
        monkeypatch.setattr(module, name, 0.2)
    folder = tmp_path / "federation"
    shutil.copytree(enrolled, folder)
    return Table(folder)
