"""SIGTERM asks a process to stop where everything it did is on disk."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Stopped(Exception):
    """Somebody asked this process to stop, and it can go on later from what is on disk."""


class Stop:
    """Whether this process is asked to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Stop at the next occasion."""
        self._asked.set()

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopped as soon as this process is asked to stop."""
        if self._asked.wait(seconds):
            raise Stopped


@contextmanager
def stopping_on_sigterm() -> Iterator[Stop]:
    """For the block, which ends with Stopped where it pauses, or is between pauses."""
    stop = Stop()
    before = signal.signal(signal.SIGTERM, lambda *_: stop.ask())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, before)
