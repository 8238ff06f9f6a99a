"""Ctrl-C at the real commands, while they import and while they compile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CONFIG = """
[task]
name = "breast-cancer"
clients = 3
[federation]
rounds = 1
[trustees]
count = 3
corrupt = 1
threshold = 3
[limits]
min_cohort = 3
"""


def interrupted(command: Sequence[object], when: str, cache: Path) -> tuple[int, list[str]]:
    """Start a Python process, send SIGINT to all of its group as a terminal does when a line on stderr has the text
    `when`; its status, and the lines from there on."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VERIFL_CACHE_DIR": str(cache)}
    with subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=cache.parent,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert any(when in line for line in process.stderr)
        os.killpg(process.pid, signal.SIGINT)
        lines = process.stderr.read().splitlines()
        return process.wait(), [line for line in lines if not line.startswith("import time:")]


@pytest.mark.parametrize(
    ("command", "when", "line", "status"),
    [
        (["verifl", "demo", "--out", "out"], "torch.", "verifl: interrupted", 130),
        (["auditor", "out", "--unpinned"], "click.types", "verifl-audit: interrupted", 2),
        (["verifl", "bench", "validity", "--dimension", "100"], "rich", "verifl: interrupted", 130),
    ],
)
def test_while_modules_are_imported(tmp_path: Path, command: list[str], when: str, line: str, status: int) -> None:
    command = ["-X", "importtime", "-P", "-m", *command]
    assert interrupted(command, when, tmp_path / "cache") == (status, [line])


def test_while_kernels_compile(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(CONFIG, encoding="utf-8")
    command = ["-P", "-m", "verifl", "run", config, "--out", tmp_path / "out", "--device", "cpu"]
    status, lines = interrupted(command, "compiling kernels", tmp_path / "cache")
    resumption = f"verifl run {config} --out {tmp_path / 'out'} --device cpu --resume` goes on from there"
    assert status == 130
    assert lines[-1].startswith("verifl: interrupted; nothing is lost: `")
    assert lines[-1].endswith(resumption)
    assert not any("Traceback" in line or "ignored" in line for line in lines)
