"""A process apart for everything that is measured: a peak of memory cannot be taken back within one process.

The process that measures is this same command (`verifl bench measure`, not listed in its help); an audit is the
`verifl-audit` command. Kernels come from the disk cache in both.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from verifl.bench.machine import peak_bytes

TRANSCRIPT, POLICY = "transcript", "policy.cbor"  # of a round, in its directory

_SOURCES = Path(__file__).resolve().parents[2]
_AUDIT = "from auditor.cli import main; main()"


@dataclass(frozen=True)
class Finished:
    """A process that ended well. result: the JSON it wrote; seconds: its wall time, interpreter included; cpu: its
    processor seconds; peak_memory: bytes."""

    result: dict[str, Any]
    seconds: float
    cpu: float
    peak_memory: int


def measure_apart(role: str, **arguments: object) -> Finished:
    """Measure `role` of `verifl.commands.bench` in a fresh process.

    Where it fails, its own line is on stderr already, and the whole command ends with its exit status.
    """
    return _run([sys.executable, "-P", "-m", "verifl", "bench", "measure", role, json.dumps(arguments)], quiet=False)


def audit_apart(transcript: Path, policy: Path) -> Finished:
    """`verifl-audit TRANSCRIPT --policy POLICY --format json`, as an auditor runs it."""
    options = ["--policy", str(policy), "--format", "json"]
    return _run([sys.executable, "-c", _AUDIT, str(transcript), *options], quiet=True)


def _run(command: Sequence[str], quiet: bool) -> Finished:
    path = os.pathsep.join(filter(None, [str(_SOURCES), os.environ.get("PYTHONPATH")]))
    started = time.perf_counter()
    with (
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            env={**os.environ, "PYTHONPATH": path},
            process_group=0,  # Ctrl-C is for this process, which ends that one
        ) as process,
        _ended(process),
    ):
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    _require_success(process.returncode, quiet)
    return Finished(json.loads(output), seconds, usage.ru_utime + usage.ru_stime, peak_bytes(usage))


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Whatever interrupts the block ends the process, too, and all that it has started."""
    try:
        yield
    except BaseException:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        raise


def _require_success(status: int, quiet: bool) -> None:
    if status < 0:
        raise click.ClickException(f"bench: the measuring process was ended by signal {-status}; too little memory?")
    if status and quiet:
        raise click.ClickException(f"bench: the audit ended with status {status}")
    if status:
        raise click.exceptions.Exit(status)
