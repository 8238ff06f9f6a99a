"""Processes that run a federation and are killed.

The imports of torch and numba take longer than a tiny federation, so one process imports, and each victim is a fork
of it that has run nothing yet: a process of its own with its own memory, which SIGKILL ends at any instruction.

    with Victims() as victims:
        victims.kill_after(directory, 0.4)  -> True if it was killed, False if it had ended before
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Victims:
    """The process that forks, and whoever of its children is running."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.verifl.carriers.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self._line() == "ready"

    def __enter__(self) -> Victims:
        return self

    def __exit__(self, *_: object) -> None:
        if self._parent.stdin:
            self._parent.stdin.close()
        self._parent.wait()

    def kill_after(self, directory: Path, seconds: float) -> bool:
        """Start a run into `directory`, or go on with it, and kill it after so long; whether that came in time."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(f"{directory}\n")
        self._parent.stdin.flush()
        victim = int(self._line())
        if not self._readable(seconds):
            os.kill(victim, signal.SIGKILL)
        status = int(self._line())
        assert status in (0, -signal.SIGKILL), f"the run ended with {status}"
        return status != 0

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._parent.stdout], [], [], seconds)[0])

    def _line(self) -> str:
        assert self._parent.stdout is not None
        return self._parent.stdout.readline().strip()


def serve() -> None:
    """Fork a run for every directory on stdin: its process id, then how it ended."""
    from tests.verifl.recovery import resume

    _tell("ready")
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            resume(Path(line.strip()))
            os._exit(0)
        _tell(child)
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _tell(value: object) -> None:
    print(value, flush=True)


if __name__ == "__main__":
    serve()
