"""Keeping a process that holds secrets from leaving them elsewhere: no core dumps, no debugger, no swap where allowed.

What Python does not let anybody do is in docs/threat-model.md: immutable values are not wiped.
"""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4  # sys/mman.h


def protect_process() -> None:
    """For the rest of this process and of its forked children, as far as the system lets it and without an error:

    1. it leaves no core file;
    2. on Linux it is not dumpable: a handler that the kernel pipes core dumps to gets nothing either, and another
       process of the same user can neither read its memory nor attach to it;
    3. on Linux, where the limit on locked memory is unlimited (`ulimit -l`), what it touches is never swapped. With any
       other limit nothing is locked: a process that trains would reach it, and then fail.
    """
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # a C library without these
        system = ctypes.CDLL(None)
        system.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY:
            system.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT)
