"""SIGTERM asks a process to stop where everything it did is on disk."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from proofs.machine.interrupts import nothing_done


class Stopped(Exception):
    """Somebody asked this process to stop, and it can go on later from what is on disk."""


class Stop:
    """Whether this process is asked to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def ask(self) -> None:
        """Stop at the next occasion."""
        self._asked.set()

    @property
    def asked(self) -> bool:
        """Whether it is."""
        return self._asked.is_set()

    def pause(self, seconds: float) -> None:
        """Wait; raises Stopped as soon as this process is asked to stop."""
        if self._asked.wait(seconds):
            raise Stopped


@contextmanager
def stopping_on_sigterm() -> Iterator[Stop]:
    """For the block, which ends with Stopped where it pauses, or is between pauses.

    Whoever was asked once is on its way out, and lets go of its files; from then on it ignores SIGTERM, for good. So
    does, behind the block, a process that was to stop before anything: all that is left to it is its own exit status.
    """
    stop, process = Stop(), os.getpid()

    def asked(number: int, _: FrameType | None) -> None:
        if os.getpid() == process:
            stop.ask()
        else:  # a child that the task started: nobody asked it to go on
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before = signal.signal(signal.SIGTERM, asked)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN if stop.asked or before is nothing_done else before)
