"""Standard output belongs to the report: whatever a task prints goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def printing_to_stderr() -> Iterator[None]:
    """What the block prints to standard output, in Python, in C or in a process that it starts, goes to standard error.

    A descriptor that is closed stays closed.
    """
    before, descriptor = sys.stdout, None
    _flush()
    with contextlib.suppress(OSError):
        descriptor = os.dup(1)
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        _flush()
        sys.stdout = before
        if descriptor is not None:
            os.dup2(descriptor, 1)
            os.close(descriptor)


def _flush() -> None:
    """Nothing that was printed before the streams change waits in a buffer of theirs."""
    for stream in (sys.stdout, sys.__stdout__):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):  # closed
                stream.flush()
    ctypes.CDLL(None).fflush(None)
