"""Closed streams, readers that go, and faults of the machine: what a command says of them, and its exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import sys
from types import ModuleType
from proofs.machine.interrupts import run_command

def main():
    for number in range({lines}):
        print("report", number)
        print("progress", number, file=sys.stderr)
    {last}
    sys.exit(7)

sys.modules["a_command"] = module = ModuleType("a_command")
module.main = main
run_command("a_command", "a-command", 2)
"""


def shell(redirected: str, tmp_path: Path, last: str = "pass", lines: int = 3) -> subprocess.CompletedProcess[str]:
    """The command in a shell; what is printed last is its exit status."""
    script = tmp_path / "command.py"
    script.write_text(COMMAND.format(last=last, lines=lines))
    line = f"set -o pipefail; '{sys.executable}' '{script}' {redirected}; echo $?"
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "redirected", [">&-", "2>&-", "<&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", "| true", "2>&1 | head -1", ">&2"]
)
def test_a_stream_that_nobody_reads_changes_no_status(redirected: str, tmp_path: Path) -> None:
    result = shell(redirected, tmp_path, lines=20_000 if "|" in redirected else 3)
    assert result.stdout.splitlines()[-1] == "7"
    assert "Traceback" not in result.stdout + result.stderr
    assert "Error" not in result.stdout + result.stderr


def test_a_closed_stream_is_no_file_that_is_opened_later(tmp_path: Path) -> None:
    last = "file = open('kept', 'w'); import os; os.write(1, b'out'); os.write(2, b'err'); file.write('data')"
    result = shell(">&- 2>&-", tmp_path, last.replace("'kept'", repr(str(tmp_path / "kept"))))
    assert result.stdout.splitlines()[-1] == "7"
    assert (tmp_path / "kept").read_text() == "data"


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ("MemoryError()", "a-command: out of memory"),
        ("OSError(5, 'Input/output error', 'some/file')", "a-command: some/file: Input/output error"),
        ("OSError('no words')", "a-command: no words"),
        ("ZeroDivisionError('ours')", "a-command: this is a mistake in a-command itself"),
    ],
)
def test_what_nobody_handles_is_status_2(fault: str, line: str, tmp_path: Path) -> None:
    result = shell("", tmp_path, f"raise {fault}", lines=0)
    assert result.stdout == "2\n"
    assert result.stderr.splitlines()[-1] == line
    assert ("Traceback" in result.stderr) == ("ours" in fault)


@pytest.mark.parametrize(("package", "command"), [("auditor", "verifl-audit"), ("verifl", "verifl")])
@pytest.mark.parametrize("safe", [True, False])
def test_nothing_of_the_working_directory_is_run(package: str, command: str, safe: bool, tmp_path: Path) -> None:
    """A click.py beside the transcript is not imported; without -P the command says how to be run."""
    for name in ("click", "proofs", "numpy", "typing", "json"):
        (tmp_path / f"{name}.py").write_text("print('run from the working directory')")
    options = ["-P"] if safe else []
    line = [sys.executable, *options, "-m", package, "--version"]
    result = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "working directory" not in result.stdout
    if safe:
        assert (result.returncode, result.stderr) == (0, "")
    else:
        assert result.returncode == 2
        assert result.stderr.startswith(f"{command}: type {command}, or python -P -m {package}: ")
