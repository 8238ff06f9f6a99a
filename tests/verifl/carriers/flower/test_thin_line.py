"""A node behind a line of 1 Mbit/s, with an answer of 20 MB: real processes, and Flower's own time limits."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from auditor.auditing import audit
from tests.required import needs
from tests.verifl.carriers.flower import network as networks
from tests.verifl.carriers.flower.network import CLIENTS, TRUSTEES, Network, network
from tests.web import slow
from verifl.config import Config

THIN, RATE = CLIENTS[2], 125_000  # bytes a second
WIDTH = 52_000  # of the hidden layer: 3.9 million coordinates, of five bytes each in a submission
STEP = 1e-6  # at which so wide a layer learns
pytestmark = [pytest.mark.organisations, pytest.mark.exhaustive]


@dataclass
class Thin(Network):
    """thin: the SuperLink's port, as one node sees it."""

    thin: int = 0

    def start_node(self, name: str) -> None:
        wide = self.port
        self.port = self.thin if name == THIN else wide
        super().start_node(name)
        self.port = wide


def widened(folder: Path) -> Path:
    """The applications of the example with another width of the hidden layer."""
    made = folder / "apps"
    shutil.copytree(networks.APPS, made, ignore=shutil.ignore_patterns("__pycache__"))
    for task in made.glob("*/digits_app/task.py"):
        text = task.read_text()
        assert text.count("Linear(64, 32)") == text.count("Linear(32, 10)") == 1
        text = text.replace("Linear(64, 32)", f"Linear(64, {WIDTH})")
        task.write_text(text.replace("Linear(32, 10)", f"Linear({WIDTH}, 10)"))
    return made


def test_twenty_megabytes_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    needs("flwr", "nginx")
    settings = networks.CONFIG.model_dump(exclude_none=True, exclude={"task"})
    settings["federation"]["rounds"] = 1
    monkeypatch.setattr(networks, "CONFIG", Config.of(**settings))
    monkeypatch.setattr(networks, "PATIENCE", 1200.0)
    assert "2, 0.1)" in networks.TASK
    monkeypatch.setattr(networks, "TASK", networks.TASK.replace("2, 0.1)", f"1, {STEP})"))
    monkeypatch.setenv("FLWR_PRIVATE_MAX_CONCURRENT_OBJ_PUSHES", "1")  # as docs/flower.md says for such a line
    with network(Thin) as net:
        monkeypatch.setattr(networks, "APPS", widened(net.folder))
        net.enrol()
        (net.coordinator / "config.toml").write_text(networks.DEADLINES.replace("240", "1200"))
        with net.published():
            net.configure()
            net.start_superlink()
            net.thin, end = slow(net.port, RATE)
            try:
                took, size = one_round(net)
            finally:
                end()
        assert audit(net.transcript, net.policy).accepted
    assert size > 19 * 10**6
    assert took > 0.8 * size / RATE  # the line was thin
    print(f"{size} bytes at {8 * RATE} bit/s over Flower: {took:.0f} s after the others")


def one_round(net: Thin) -> tuple[float, int]:
    """Seconds between the first answer and that of the node on the thin line, and the bytes of that."""
    net.register()
    for name in TRUSTEES:
        net.start_trustee(name)
    for name in CLIENTS:
        net.start_node(name)
    net.run(1, networks.APPS / "verified", **{"local-epochs": 1, "learning-rate": STEP})
    first = _when(net, lambda: " answers by node " in net.text("operator"))
    last = _when(net, lambda: f"{THIN} answers by node " in net.text("operator"))
    net.wait(net.ended, "superlink", *TRUSTEES, kept=CLIENTS)
    assert net.closed() == 1
    told = net.text("operator").split(f"{THIN} answers by node ")
    assert len(told) == 2  # asked once, and not again while it came
    return last - first, int(told[1].split(": ")[1].split()[0])


def _when(net: Thin, what: Callable[[], bool]) -> float:
    net.wait(what, "superlink", *TRUSTEES, kept=CLIENTS)
    return time.monotonic()
