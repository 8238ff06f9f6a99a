"""For all tests."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

_DEEPEST = sys.getrecursionlimit()
import py_ecc  # noqa: E402, F401  before anybody else does

sys.setrecursionlimit(_DEEPEST)  # py_ecc raises it for good, and tests of deep nesting would end their process

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")

_FSYNC = os.fsync


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """No test cuts the power, and a process that is killed loses nothing that it wrote: so what is to be flushed only
    has to be open. Whoever needs the real thing asks for `synced`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


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
