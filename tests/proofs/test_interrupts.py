"""Ctrl-C in a command is one line and its status, wherever it comes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = "from proofs.machine.interrupts import run_command; run_command('module', 'command', 7)"
INTERRUPT = "import os, signal, time, weakref\ninterrupt = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
MOMENTS = {
    "on import": "interrupt(); time.sleep(60)",
    "running": "def main(): interrupt(); time.sleep(60)",
    "in a callback that can raise nothing": """
class Thing: pass
def main():
    thing = Thing()
    reference = weakref.ref(thing, interrupt)
    del thing
    time.sleep(60)
""",
    "and another error comes of it": """
def main():
    try:
        interrupt()
        time.sleep(60)
    except KeyboardInterrupt:
        pass
    raise RuntimeError("no object code")
""",
    "within exec": "def main(): exec('interrupt(); time.sleep(60)')",
}


def run(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    (folder / "module.py").write_text(INTERRUPT + code, encoding="utf-8")
    script = f"import sys; sys.path.insert(0, {str(folder)!r}); {RUN}"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50)


@pytest.mark.parametrize("moment", MOMENTS)
def test_it_is_one_line_and_the_status(tmp_path: Path, moment: str) -> None:
    done = run(tmp_path, MOMENTS[moment])
    assert (done.returncode, done.stderr) == (7, "command: interrupted\n")


def test_notes_of_what_was_interrupted_are_in_the_line(tmp_path: Path) -> None:
    code = """
def main():
    try:
        interrupt()
        time.sleep(60)
    except KeyboardInterrupt as error:
        error.add_note("nothing is lost")
        raise
"""
    assert run(tmp_path, code).stderr == "command: interrupted; nothing is lost\n"


def test_another_error_is_shown_as_it_is(tmp_path: Path) -> None:
    done = run(tmp_path, "def main(): raise RuntimeError('a mistake')")
    assert done.returncode == 2
    assert "RuntimeError: a mistake" in done.stderr


def test_what_else_cannot_be_raised_is_shown_as_ever(tmp_path: Path) -> None:
    code = """
class Thing:
    def __del__(self): raise ValueError("in a finalizer")
def main():
    Thing()
"""
    done = run(tmp_path, code)
    assert done.returncode == 0
    assert "ValueError: in a finalizer" in done.stderr


def test_the_status_of_the_command_is_its_own(tmp_path: Path) -> None:
    assert run(tmp_path, "import sys\ndef main(): sys.exit(3)").returncode == 3


def test_ctrl_c_that_the_caller_ignores_stays_ignored(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(INTERRUPT + "def main(): interrupt(); print('done')", encoding="utf-8")
    prelude = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {prelude}; {RUN}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
