"""How kernels are compiled and where the machine code is kept (numba, disk cache, thread-friendly).

Every kernel is a module-level function decorated with `kernel` (called from Python) or `inner` (called from kernels
only). Kernels release the GIL and are driven by `proofs.machine.workers`; numba's own parallel loops are never used:
they abort under threads with one threading layer and die in forked children with another.

numba's disk cache notices edits in the module of a kernel, not in the modules it calls into. So the cache directory is
keyed by the hash of every source a kernel may depend on: the Python files next to it, the word arithmetic of
`proofs.wide` and the numbers of `proofs.curve`. A kernel may therefore use only its own directory and those two.

The directory is $VERIFL_CACHE_DIR, or the platform's cache directory for the user. It holds machine code that will be
run: it is created for its owner alone, and not used when others could write into it or put another in its place.
Without a usable directory the kernels are compiled in each process, after one line. With one, the first compilation of
a process says so in one line: it takes seconds in which a command would seem to hang. A process says one line about its
kernels at most: to the logger `verifl` where that has a handler, to stderr otherwise.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite
import numba
import numpy as np
from numba.core import event

from proofs.machine.kernel_cache import KernelCache
from proofs.machine.trusted_paths import trusted_directory

CACHE_VARIABLE = "VERIFL_CACHE_DIR"
_SHARED_SOURCES = ("wide.py", "machine/jit.py", "machine/kernel_cache.py", "curve.py")
_OPTIONS = {"nogil": True, "error_model": "numpy"}
_PACKAGES = ("proofs.", "protocols.")
_LOGGER = logging.getLogger("verifl")
_register: Any = event.register  # has no annotations
_njit: Any = numba.njit  # called with options its annotations leave out

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` at its first call, without the GIL, cached on disk where that is possible."""
    dispatcher = _njit(function, **_OPTIONS)
    directory = _cache_directory(Path(function.__code__.co_filename).resolve().parent)
    if directory is not None:
        dispatcher._cache = KernelCache(directory, f"{function.__module__}.{function.__qualname__}", _say_once)
    return cast(Function, dispatcher)


def inner(function: Function) -> Function:
    """Compile `function` as a part of the kernels that call it: no wrapper for Python, no cache entry of its own."""
    return cast(Function, _njit(function, no_cpython_wrapper=True, **_OPTIONS))


def cache_root() -> Path:
    """Where compiled kernels are kept: $VERIFL_CACHE_DIR or the user's cache directory of the platform.

    Raises OSError where $VERIFL_CACHE_DIR is relative, or nothing says where the user's home directory is.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        if not Path(chosen).is_absolute():
            raise OSError(errno.EINVAL, f"{CACHE_VARIABLE} is not an absolute path", chosen)
        return Path(chosen)
    if sys.platform == "darwin":
        return _home() / "Library" / "Caches" / "verifl"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or _home() / "AppData" / "Local") / "verifl" / "Cache"
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "")
    return (shared if shared.is_absolute() else _home() / ".cache") / "verifl"  # as XDG has it, no relative ones


def _home() -> Path:
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user id that the system does not know
        home = Path()
    if not home.is_absolute() or os.environ.get("HOME") == "":  # which stands for the root directory, and means nothing
        raise OSError(errno.ENOENT, "there is no home directory")
    return home


@functools.cache
def _cache_directory(sources: Path) -> Path | None:
    """The writable directory for kernels whose source lies in `sources`, or None after saying so."""
    try:
        directory = trusted_directory(cache_root() / f"kernels-{_source_key(sources)}")
        tempfile.TemporaryFile(dir=directory).close()
    except OSError as error:
        named = f"{error.filename}: " if error.filename else ""
        _say_once(
            f"compiled code is not cached ({named}{error.strerror}), so every process compiles for up to half a "
            f"minute; set {CACHE_VARIABLE} to a writable directory of your own"
        )
        return None
    return directory


def _source_key(sources: Path) -> str:
    """The sources that a kernel is made of, and whatever else decides what becomes of them but the processor."""
    versions = f"{sys.implementation.cache_tag} {numba.__version__} {llvmlite.__version__} {np.__version__}\n"
    digest = hashlib.sha256(versions.encode())
    shared = [Path(__file__).resolve().parents[1] / name for name in _SHARED_SOURCES]
    for path in [*shared, *sorted(sources.glob("*.py"))]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


_said: set[str] = set()


def _say_once(line: str, level: int = logging.WARNING) -> None:
    if _said:
        return
    _said.add(line)
    if _LOGGER.hasHandlers():
        _LOGGER.log(level, "%s", line)
    elif sys.stderr is not None:
        with suppress(OSError, ValueError):  # a closed stderr is no reason to stop
            sys.stderr.write(f"verifl: {line}\n")


class _CompilationNotice(event.Listener):
    """numba announces each compilation here, and no loading from the cache."""

    def on_start(self, compilation: Any) -> None:
        if compilation.data["dispatcher"].py_func.__module__.startswith(_PACKAGES):
            _say_once("compiling kernels for this machine, once; this takes up to half a minute", logging.INFO)

    def on_end(self, compilation: Any) -> None:
        pass


_register("numba:compile", _CompilationNotice())
