"""Reading a directory that somebody else wrote: no symlinks, no special files, sizes before bytes (spec 3.5)."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from proofs.errors import Rejected
from protocols.hashes import sha256_of_parts

NUMBER = re.compile("[1-9][0-9]{0,18}")  # of a size, as a name
DEPTH_LIMIT = 12  # directories below the root: more than any path of a transcript has

CHUNK = 1 << 20  # bytes
_BLOCK = 512  # bytes, of st_blocks
_REFUSED = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EISDIR})


class Damaged(Rejected):
    """A copy of a log lacks a file, or has it otherwise than the log's hashes name it. Whoever copies it can do that;
    what the log itself says wrongly is another Rejected."""


class Missized(Rejected):
    """A blob has the hash that an entry names it by, and not the size of its role: so whoever signed the entry named it
    wrongly. No copy can bring that about."""


class Directory(Protocol):
    """Files by relative paths with slashes, which somebody else wrote. Every method raises OSError for what says
    nothing about them: a failing disk, a server that cannot be reached."""

    @property
    def lists(self) -> bool:
        """Whether it says which files there are; else `names`, `walk` and `empty` give nothing."""
        ...

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file; raises Damaged("file-missing", "file-kind", "file-size"), the last where it has more
        than `limit` bytes, without reading them."""
        ...

    def is_named(self, path: str, name: bytes) -> bool:
        """Whether a file of any size has the SHA-256 `name`; raises Damaged where there is none."""
        ...

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        ...

    def numbered(self, folder: str, last: int) -> list[int]:
        """Those of the numbers 1 .. last that are names of files in a directory, ascending."""
        ...

    def occupied(self, path: str) -> bool:
        """Whether anything is known to be at this path, a file or not."""
        ...

    def names(self, path: str) -> list[str]:
        """Names in a directory, sorted."""
        ...

    def walk(self) -> Iterator[str]:
        """Every path that is not a directory, in a fixed order."""
        ...

    def empty(self) -> Iterator[str]:
        """Every directory with nothing in it, in a fixed order."""
        ...


def numbered(directory: Directory, folder: str, last: int) -> list[int]:
    """`Directory.numbered` of one that lists its files."""
    found = (int(name) for name in directory.names(folder) if NUMBER.fullmatch(name))
    return sorted(number for number in found if number <= last and directory.has(f"{folder}/{number}"))


class LocalDirectory:
    """The files below `root`, by relative paths with slashes. `root` itself may be a symlink; nothing below may."""

    lists = True

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a regular file.

        Raises Damaged("file-missing"); Damaged("file-kind") for a symlink or special file anywhere on the path;
        Damaged("file-size") if it has more than `limit` bytes, without reading them. Raises OSError for a failing
        disk or lacking permissions, which say nothing about the transcript.
        """
        descriptor = self._open(path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Damaged("file-kind", f"{path} to be a regular file", "another kind of file")
            if status.st_size > limit:
                raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{status.st_size} bytes")
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read(status.st_size + 1)
            if len(data) != status.st_size:
                raise Damaged("file-size", f"{path} of {status.st_size} bytes", "a file that changes while it is read")
            return data
        finally:
            os.close(descriptor)

    def is_named(self, path: str, name: bytes) -> bool:
        """Whether a regular file of any size has the SHA-256 `name`. One with holes is not read: it costs its sender
        nothing."""
        descriptor = self._open(path)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_blocks * _BLOCK < status.st_size:
                return False
            with os.fdopen(os.dup(descriptor), "rb") as file:
                return sha256_of_parts(iter(lambda: file.read(CHUNK), b"")) == name
        finally:
            os.close(descriptor)

    def has(self, path: str) -> bool:
        """Whether there is a regular file at this path, reached without symlinks."""
        try:
            descriptor = self._open(path)
        except Rejected:
            return False
        try:
            return stat.S_ISREG(os.fstat(descriptor).st_mode)
        finally:
            os.close(descriptor)

    def numbered(self, folder: str, last: int) -> list[int]:
        """Those of the numbers 1 .. last that are names of files in a directory, ascending."""
        return numbered(self, folder, last)

    def occupied(self, path: str) -> bool:
        """Whether anything is at this path, a symlink for one."""
        return os.path.lexists(self._root / path)

    def names(self, path: str) -> list[str]:
        """Names in a directory below the root, sorted; none where it is missing or is no directory."""
        try:
            with self.folder(path) as descriptor:
                return sorted(os.listdir(descriptor))  # noqa: PTH208 - of an open directory, not a path
        except Rejected:
            return []

    @contextmanager
    def folder(self, path: str) -> Iterator[int]:
        """A descriptor of a directory below the root, for the block. Raises Damaged("file-missing"), and
        Damaged("file-kind") for what is no directory, or is reached by a symlink."""
        descriptor = self._descend(path.split("/"), path)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def walk(self) -> Iterator[str]:
        """Every path below the root that is not a directory, in a fixed order; symlinks are listed, not followed.

        A directory deeper than DEPTH_LIMIT is listed with a slash at its end and not entered. Names that are not
        UTF-8 are given with backslash escapes, so they equal no path of this format.
        """
        yield from _walk(self._root, "", 0)

    def empty(self) -> Iterator[str]:
        """Every directory below the root with nothing in it, in a fixed order; none deeper than DEPTH_LIMIT."""
        for folder, inner, files in os.walk(self._root, onerror=_raise):
            path = os.path.relpath(folder, self._root)
            if not inner and not files and path != ".":
                yield _printable(path)
            inner[:] = sorted(inner) if path.count("/") < DEPTH_LIMIT else []

    def _open(self, path: str) -> int:
        *parents, name = path.split("/")
        directory = self._descend(parents, path)
        try:
            return _open_below(directory, name, os.O_NONBLOCK, path)  # a FIFO must not block
        finally:
            os.close(directory)

    def _descend(self, names: list[str], path: str) -> int:
        current = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in names:
            try:
                inner = _open_below(current, name, os.O_DIRECTORY, path)
            finally:
                os.close(current)
            current = inner
        return current


def _open_below(directory: int, name: str, flags: int, path: str) -> int:
    """Open one name in an open directory without following a symlink; `path` is for the error."""
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=directory)
    except FileNotFoundError:
        raise Damaged("file-missing", path, "no such file") from None
    except OSError as error:
        if error.errno in _REFUSED:
            raise Damaged("file-kind", f"{path} to be a regular file", "a symlink or another kind") from None
        raise


def _raise(error: OSError) -> None:
    raise error


def _walk(directory: Path, prefix: str, depth: int) -> Iterator[str]:
    with os.scandir(directory) as found:
        items = sorted(found, key=lambda item: item.name)
    for item in items:
        path = prefix + _printable(item.name)
        if not item.is_dir(follow_symlinks=False):
            yield path
        elif depth == DEPTH_LIMIT:
            yield path + "/"
        else:
            yield from _walk(directory / item.name, path + "/", depth + 1)


def _printable(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")
