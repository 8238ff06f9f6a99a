"""The standard streams of a process that is a command, so that none of them decides how it ends.

One that is closed, or a pipe whose reader has gone (`verifl-audit ... | head -1`), takes what is written to it and
drops it: the exit status stays that of what was asked. A full disk is another matter: it is reported.
"""

from __future__ import annotations

import io
import os
import select
import sys
import time
from typing import Any

_STDERR = 2


def guard_streams() -> None:
    """To be called once, before anything opens a file, which would get the number of a stream that is closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free number is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  open to the end
    sys.stdout, sys.stderr = _patient(sys.stdout, 1), _patient(sys.stderr, 2)


def is_read(seconds: float) -> bool:
    """Wait this long; False, and sooner, where standard output is a pipe or terminal that nobody reads any longer."""
    try:
        number = sys.stdout.fileno()
    except OSError:  # a test's or a notebook's stand-in
        time.sleep(seconds)
        return True
    poll = select.poll()
    poll.register(number, 0)  # errors and hang-ups are told unasked
    return not poll.poll(1000 * seconds)


class _Patient(io.FileIO):
    """A file that goes on when nobody reads it any longer; standard error, where nothing can be written at all."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self.fileno() != _STDERR and not isinstance(error, BrokenPipeError):
                raise
            return memoryview(data).nbytes


def _patient(stream: object, number: int) -> io.TextIOWrapper:
    """The same stream, over `_Patient`; whatever is no plain stream of the process stays."""
    if type(stream) is not io.TextIOWrapper or stream.fileno() != number:
        return stream  # type: ignore[return-value]  # a test's or a notebook's stand-in, used as a text stream all the same
    stream.flush()
    buffered = io.BufferedWriter(_Patient(number, "w", closefd=False))
    return io.TextIOWrapper(
        buffered,
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
