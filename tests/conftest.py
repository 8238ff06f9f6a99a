"""For all tests."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from proofs.machine.workers import set_workers
from tests.remembered import remembered

_DEEPEST = sys.getrecursionlimit()
import py_ecc  # noqa: E402, F401  before anybody else does

sys.setrecursionlimit(_DEEPEST)  # py_ecc raises it for good, and tests of deep nesting would end their process

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

_FSYNC = os.fsync
KERNELS = Path(__file__).parent / "proofs"


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: no collection of garbage looks at it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test cuts the power, and a process that is killed loses nothing that it wrote: so what is to be flushed only
    has to be open. Whoever needs the real thing asks for `synced`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session", autouse=True)
def verified_once() -> Iterator[None]:
    """Parties of one process, and audits of one transcript, verify the same signatures over and over."""
    with remembered():
        yield


@pytest.fixture(autouse=True)
def fair_share(request: pytest.FixtureRequest) -> None:
    """Kernels take the processors that other processes of this test run leave, so that threads do not wait for each
    other. The tests of the kernels themselves, and all programs that tests start, take what a user's do."""
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    alone = processes == 1 or request.path.is_relative_to(KERNELS)
    set_workers(None if alone else max(1, (os.cpu_count() or 1) // processes))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """What a shell runs in the background ignores Ctrl-C, and so would all programs that tests start: none does."""
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every flush reaches the disk."""
    monkeypatch.setattr(os, "fsync", _FSYNC)
