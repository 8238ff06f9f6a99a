"""Each party's private state on disk: directories 0700, files 0600, its own, no links, durable when `put` returns.

One file per key: SHA-256 of key and value, then the value. It is written beside its final name, flushed, then renamed,
so that a crash leaves the old or the new value; a file that is neither is refused, never taken for a value.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proofs.errors import Misuse
from protocols.log.writer import DiskWatch
from verifl.storage.private_files import erase_private, private_directory, read_private, replace_private

_DAMAGED = (
    "this state file is damaged, and no old copy may take its place: a party that forgot what it said could say "
    "something else; start a new federation, or have this party replaced in it"
)
_SUFFIX = ".value"
_TEMPORARY = ".tmp"
_DIGEST = 32


def unobserved(step: str) -> None:
    """The `DiskWatch` of everyday."""


class StoredValues:
    """What a `DirectoryStore` has put into a directory; reading changes nothing there."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> bytes | None:
        """The value, or None. Raises Misuse where the file is not what `put` wrote."""
        file = self.file(key)
        data = self._read(file)
        if data is None:
            return None
        value = data[_DIGEST:]
        if data[:_DIGEST] != _digest(key, value):
            found = f"{len(data)} bytes that do not have it"
            raise Misuse(f"{file}: expected a value behind its SHA-256, found {found}: {_DAMAGED}")
        return value

    def keys(self) -> list[str]:
        """All keys, in ascending order; raises Misuse for a file with a name that is none of ours."""
        return sorted(_key(self._path / name) for name in self._names() if name.endswith(_SUFFIX))

    def file(self, key: str) -> Path:
        """Where the value of a key is, or would be."""
        name = key.encode().hex()
        if not 1 <= len(name) <= 200:
            raise Misuse(f"key: expected 1 to 100 bytes of text, found {len(name) // 2}")
        return self._path / f"{name}{_SUFFIX}"

    def _read(self, file: Path) -> bytes | None:
        try:
            with private_directory(self._path) as folder:
                return read_private(file, folder, _DAMAGED)
        except FileNotFoundError:
            return None

    def _names(self) -> list[str]:
        try:
            with private_directory(self._path) as folder:
                return os.listdir(folder)  # noqa: PTH208 - of what was opened and checked
        except FileNotFoundError:
            return []


class DirectoryStore(StoredValues):
    """A `protocols.stores.Store` in one directory; keys are text, file names their hexadecimal UTF-8 bytes."""

    def __init__(self, path: Path, watch: DiskWatch = unobserved) -> None:
        """Open or create; leftovers of an interrupted write are erased.

        Raises Misuse if it is somebody else's, others can read it, or it is a symbolic link; so does every later use.
        """
        self._watch = watch
        watch(f"open {path.name}")
        make_private_directory(path)
        _sync_directory(path)  # what a process renamed here before it was killed is read, so it has to last
        super().__init__(path)
        for leftover in self._names():
            if leftover.endswith(_TEMPORARY):
                self._erase(path / leftover)

    def put(self, key: str, value: bytes) -> None:
        """Store `value`; it survives a power failure once this returns."""
        file = self.file(key)
        self._watch(f"write {key}")
        with private_directory(self._path) as folder:
            data = _digest(key, value) + value
            replace_private(file, data, folder, _TEMPORARY, lambda: self._watch(f"rename {key}"))
        self._watch(f"stored {key}")

    def delete(self, key: str) -> None:
        """Overwrite and remove the value, if there is one. What the disk itself keeps of old blocks is beyond us."""
        self._watch(f"erase {key}")
        self._erase(self.file(key))
        self._watch(f"erased {key}")

    def _erase(self, file: Path) -> None:
        with private_directory(self._path) as folder:
            erase_private(file, folder, _DAMAGED, _TEMPORARY, lambda: self._watch(f"unlink {file.name}"))


def _key(file: Path) -> str:
    try:
        return bytes.fromhex(file.name.removesuffix(_SUFFIX)).decode()
    except ValueError:
        raise Misuse(f"{file}: expected a state file, found a name that none has; move it away") from None


def _digest(key: str, value: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + value).digest()


def make_private_directory(path: Path) -> None:
    """Create `path`, and what is missing above it, durably and with mode 0700; raises Misuse if it is not private: see
    `private_directory`."""
    make_directory(path, 0o700)
    with private_directory(path):
        return


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Create `path`, and what is missing above it; it survives a power failure once this returns, also where it was
    there already: whoever made it may have been killed before it lasted."""
    for missing in [parent for parent in reversed(path.parents) if not parent.exists()]:
        make_directory(missing, mode)
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
    with suppress(PermissionError):  # a directory above that this user may not read was there before
        _sync_directory(path.parent)


def write_private(path: Path, data: bytes) -> None:
    """Replace the file at `path` by `data`, mode 0600, atomically and durably."""
    with replacing(path, 0o600) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """An empty temporary file beside `path`; when the block ends well it is flushed and takes the name `path`,
    otherwise it disappears."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        error.filename = str(path)  # the name that somebody knows
        raise
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
