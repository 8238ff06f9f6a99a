"""Each party's private state on disk: directories 0700, files 0600, durable when `put` returns.

One file per key, written beside its final name, flushed, then renamed, so that a crash leaves the old or the new value.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proofs.errors import Misuse

_SUFFIX = ".value"


class DirectoryStore:
    """A `protocols.stores.Store` in one directory; keys are text, file names their hexadecimal UTF-8 bytes."""

    def __init__(self, path: Path) -> None:
        """Open or create; leftovers of an interrupted write are removed. Raises Misuse if others can read it."""
        make_private_directory(path)
        self._path = path
        for leftover in path.glob("*.tmp"):
            leftover.unlink()

    def get(self, key: str) -> bytes | None:
        """The value, or None."""
        try:
            return self._file(key).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, key: str, value: bytes) -> None:
        """Store `value`; it survives a power failure once this returns."""
        write_private(self._file(key), value)

    def delete(self, key: str) -> None:
        """Overwrite and remove the value, if there is one. What the disk itself keeps of old blocks is beyond us."""
        file = self._file(key)
        try:
            size = file.stat().st_size
        except FileNotFoundError:
            return
        with file.open("r+b") as stream:
            stream.write(bytes(size))
            stream.flush()
            os.fsync(stream.fileno())
        file.unlink()
        _sync_directory(self._path)

    def keys(self) -> list[str]:
        """All keys, in ascending order."""
        names = (file.name.removesuffix(_SUFFIX) for file in self._path.glob(f"*{_SUFFIX}"))
        return sorted(bytes.fromhex(name).decode() for name in names)

    def _file(self, key: str) -> Path:
        name = key.encode().hex()
        if not 1 <= len(name) <= 200:
            raise Misuse(f"key: expected 1 to 100 bytes of text, found {len(name) // 2}")
        return self._path / f"{name}{_SUFFIX}"


def make_private_directory(path: Path) -> None:
    """Create `path`, and what is missing above it, with mode 0700; raises Misuse if others may enter it."""
    for missing in [parent for parent in reversed(path.parents) if not parent.exists()]:
        missing.mkdir(mode=0o700)
    path.mkdir(mode=0o700, exist_ok=True)
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise Misuse(f"{path}: holds secrets but has mode {mode:03o}, expected 700; run `chmod 700 {path}`")


def write_private(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, mode 0600, atomically and durably."""
    with replacing(path, 0o600) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """An empty temporary file beside `path`; when the block ends well it is flushed and takes the name `path`,
    otherwise it disappears."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        granted = os.fstat(descriptor).st_mode & 0o777
        os.close(descriptor)
        yield temporary
        temporary.chmod(granted)  # whoever wrote it may have made the file anew
        _sync_file(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
