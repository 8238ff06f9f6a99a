"""Compiled kernels on disk: one file a kernel and signature, its SHA-256 before it, checked before it is used.

A file is machine code in a pickle, so whoever writes it runs code as its reader: the directory is one that nobody else
can write (`proofs.machine.trusted_paths`), and so is each file. The digest is against accidents: a full disk, a killed
process, a failing disk. It is over the kernel's name, signature and processor too, so that no file passes for another.

What cannot be read is removed and made again, and what cannot be written is done without, each after one line; neither
is an error.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core import compiler, serialize

from proofs.machine.trusted_paths import require_unshared_file

SUFFIX = ".kernel"
_DIGEST = 32
_LIMIT = 64 * 2**20  # bytes; the largest kernel has a fiftieth of it
_UNUSABLE = (
    pickle.PickleError,
    EOFError,
    ImportError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RuntimeError,
)
"""What numba raises when it is given something else than it wrote, or has changed since this was written."""

Say = Callable[[str], None]


class KernelCache:
    """The cache of one kernel's dispatcher, with the methods of numba's own, which has no public name.

    `say` is given a line for people when the cache is of no use.
    """

    def __init__(self, directory: Path, kernel: str, say: Say) -> None:
        self._directory, self._kernel, self._say = directory, kernel, say

    @property
    def cache_path(self) -> str:
        """Where the files are."""
        return str(self._directory)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel for a signature, or None."""
        target_context.refresh()
        key = self._key(sig, target_context.codegen())
        path = self._path(key)
        try:
            payload = pickle.loads(_read(path, key))  # noqa: S301 - from a directory and file that only we can write
            rebuild: Any = compiler.CompileResult._rebuild
            return rebuild(target_context, *payload)
        except FileNotFoundError:
            return None
        except (OSError, *_UNUSABLE) as error:
            self._say(f"{path}: compiled code that cannot be used ({_words(error)}); it is thrown away and made again")
            with suppress(OSError):
                path.unlink()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled for a signature, if it can be kept."""
        if any(not lifted.can_cache for lifted in data.lifted) or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        try:
            payload = _dumps(data)
            _write(self._path(key), hashlib.sha256(key + payload).digest() + payload)
        except (OSError, *_UNUSABLE) as error:
            self._say(f"compiled code is not kept ({_words(error)}); the next process compiles it again")

    def enable(self) -> None:
        """Always enabled."""

    def disable(self) -> None:
        """Never disabled."""

    def flush(self) -> None:
        """Nothing waits."""

    def _key(self, sig: Any, codegen: Any) -> bytes:
        return repr((self._kernel, str(sig), codegen.magic_tuple())).encode() + b"\0"

    def _path(self, key: bytes) -> Path:
        return self._directory / f"{self._kernel}-{hashlib.sha256(key).hexdigest()[:16]}{SUFFIX}"


def _dumps(compiled: Any) -> bytes:
    dumps: Any = serialize.dumps
    payload: bytes = dumps(compiled._reduce())
    return payload


def _read(path: Path, key: bytes) -> bytes:
    """The payload of a file. Raises ValueError where it is not what was written for `key`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "rb") as file:
        require_unshared_file(path, os.fstat(descriptor))
        data = file.read(_LIMIT)
    digest, payload = data[:_DIGEST], data[_DIGEST:]
    if hashlib.sha256(key + payload).digest() != digest:
        raise ValueError("not what was written")
    return payload


def _write(path: Path, data: bytes) -> None:
    """Replace a file: readers, and processes that write the same, see all of one or all of the other."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.", suffix=".tmp")  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _words(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
