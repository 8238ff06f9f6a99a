"""All kernels of all packages: compiled once for a machine, then only loaded, with every relation in force: with the
errors of the encryption, and with noise in their place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PLAY_AND_AUDIT = """
import json, sys, tempfile
from pathlib import Path
from auditor import audit
from protocols.policy import PrivacyBudget
from tests.simulator import Setting, Simulation

def accepted_of(setting):
    with tempfile.TemporaryDirectory() as directory:
        simulation = Simulation(Path(directory), setting)
        simulation.start()
        simulation.play_round()
        return audit(simulation.path, simulation.policy_data).accepted

budget = PrivacyBudget(8_000_000, 10_000_000)
settings = [Setting(coordinate_clip=0.25, encryption_proof=True),
            Setting(clients=3, coordinate_clip=0.25, budget=budget, encryption_proof=True, max_rounds=4)]
accepted = [accepted_of(setting) for setting in settings] == [True, True]
kernels = {
    f"{module.__name__}.{name}": value
    for module in list(sys.modules.values()) if module.__name__.startswith(("proofs.", "protocols."))
    for name, value in vars(module).items()
    if hasattr(value, "stats") and value.py_func.__module__ == module.__name__
    and not value.targetoptions.get("no_cpython_wrapper")
}
print(json.dumps({
    "accepted": accepted,
    "misses": {name: sum(kernel.stats.cache_misses.values()) for name, kernel in kernels.items()},
    "loaded": {name: sum(kernel.stats.cache_hits.values()) for name, kernel in kernels.items()},
}))
"""


def play_and_audit(**environment: str) -> tuple[dict[str, object], str]:
    done = subprocess.run(
        [sys.executable, "-c", PLAY_AND_AUDIT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout), done.stderr


def test_a_second_round_and_audit_compile_nothing() -> None:
    play_and_audit()
    told, errors = play_and_audit()
    assert told["accepted"]
    assert set(told["misses"].values()) == {0}
    assert set(told["loaded"].values()) == {1}
    assert len(told["loaded"]) >= 14
    assert errors == ""


@pytest.mark.exhaustive
@pytest.mark.parametrize("writable", [True, False])
def test_a_cold_machine_is_told_in_one_line(tmp_path: Path, writable: bool) -> None:
    cache = tmp_path / "cache"
    if not writable:
        cache.write_text("a file where the directory should be")
    told, errors = play_and_audit(VERIFL_CACHE_DIR=str(cache))
    assert told["accepted"]
    (line,) = errors.splitlines()
    assert line.startswith("verifl: compiling kernels" if writable else "verifl: compiled code is not cached")
