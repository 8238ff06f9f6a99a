"""How kernels are compiled and where the machine code is kept (numba, disk cache, thread-friendly).

Every kernel is a module-level function decorated with `kernel` (called from Python) or `inner` (called from kernels
only). Kernels release the GIL and are driven by `proofs.workers`; numba's own parallel loops are never used: they abort
under threads with one threading layer and die in forked children with another.

numba's disk cache notices edits in the module of a kernel, not in the modules it calls into. So the cache directory is
keyed by the hash of every source a kernel may depend on: the Python files next to it, the word arithmetic of
`proofs.wide` and the numbers of `proofs.curve`. A kernel may therefore use only its own directory and those two.

The directory is $VERIFL_CACHE_DIR, or the platform's cache directory for the user. It holds machine code that will be
run: it is created for its owner alone, and not used when others could write into it. Without a usable directory the
kernels are compiled in each process, after one line on stderr. With one, the first compilation of a process says so in
one line: it takes seconds in which a command would seem to hang.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import event

CACHE_VARIABLE = "VERIFL_CACHE_DIR"
_SHARED_SOURCES = ("wide.py", "jit.py", "curve.py")
_OPTIONS = {"nogil": True, "error_model": "numpy"}
_PACKAGES = ("proofs.", "protocols.")
_DECORATING = threading.Lock()
_register: Any = event.register  # has no annotations
_njit: Any = numba.njit  # called with options its annotations leave out
_config: Any = numba.config  # filled at run time

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """Compile `function` at its first call, without the GIL, cached on disk where that is possible."""
    directory = _cache_directory(Path(function.__code__.co_filename).resolve().parent)
    if directory is None:
        return cast(Function, _njit(function, **_OPTIONS))
    with _DECORATING:  # numba takes the directory from a global at decoration; give the global back to its owner
        previous = _config.CACHE_DIR
        _config.CACHE_DIR = str(directory)
        try:
            return cast(Function, _njit(function, cache=True, **_OPTIONS))
        finally:
            _config.CACHE_DIR = previous


def inner(function: Function) -> Function:
    """Compile `function` as a part of the kernels that call it: no wrapper for Python, no cache entry of its own."""
    return cast(Function, _njit(function, no_cpython_wrapper=True, **_OPTIONS))


def cache_root() -> Path:
    """Where compiled kernels are kept: $VERIFL_CACHE_DIR or the user's cache directory of the platform."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    if sys.platform == "darwin":
        return Path("~/Library/Caches/verifl").expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", "~/AppData/Local")).expanduser() / "verifl" / "Cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "verifl"


@functools.cache
def _cache_directory(sources: Path) -> Path | None:
    """The writable directory for kernels whose source lies in `sources`, or None after saying so on stderr."""
    directory = cache_root() / f"kernels-{_source_key(sources)}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(directory)
        tempfile.TemporaryFile(dir=directory).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory to expand
        _warn_once(
            f"verifl: compiled code is not cached ({error}), so every process compiles for up to half a minute; "
            f"set {CACHE_VARIABLE} to a writable directory of your own"
        )
        return None
    return directory


def _require_private(directory: Path) -> None:
    """Raises PermissionError where somebody else could have put machine code for us to run."""
    status = directory.stat()
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or status.st_mode & 0o022):
        raise PermissionError(f"{directory} belongs to somebody else or is writable by others")


def _source_key(sources: Path) -> str:
    digest = hashlib.sha256(numba.__version__.encode())
    shared = [Path(__file__).resolve().parent / name for name in _SHARED_SOURCES]
    for path in [*shared, *sorted(sources.glob("*.py"))]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:24]


_warned: set[str] = set()


def _warn_once(line: str) -> None:
    if not _warned:
        _warned.add(line)
        sys.stderr.write(line + "\n")


class _CompilationNotice(event.Listener):
    """numba announces each compilation here, and no loading from the cache."""

    def on_start(self, compilation: Any) -> None:
        if compilation.data["dispatcher"].py_func.__module__.startswith(_PACKAGES):
            _warn_once("verifl: compiling kernels for this machine, once; this takes up to half a minute")

    def on_end(self, compilation: Any) -> None:
        pass


_register("numba:compile", _CompilationNotice())
