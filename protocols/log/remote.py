"""Reading a directory that a web server publishes (spec 3.5.1): sizes before bytes, and none of its answers trusted.

What the server says wrongly about the log is `Damaged`, as with a local copy. What keeps an answer from being had at
all is `Unreachable`, and says nothing about the log.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from protocols.hashes import sha256, sha256_of_parts
from protocols.log.connection import GRACE, SLOW, Connection, Remote, Unreachable
from protocols.log.files import Damaged
from protocols.log.tiles import CHECKPOINT

LEAST_ANSWERS = 4  # a second, of those asked whether a file is there
CONNECTIONS = 8  # at a time, while it is asked which files there are
KEPT_LIMIT = 1 << 33  # bytes on disk, of what was fetched; the oldest go first
RECENT_LIMIT = 1 << 28  # bytes on disk, of what is not worth keeping for longer than a question
NAMED_LIMIT = 1 << 30  # bytes that are read to tell whether a file that is too long has its hash
ASKED_LIMIT = 1 << 16  # files whose existence is asked for at once
_BATCH = 256
_FULL_BUNDLE = re.compile("tile/entries/(x[0-9]{3}/)*[0-9]{3}")
_PART = ".part"  # ends the name of a file that is being fetched


class FetchedFiles:
    """Files that were fetched, in a directory, at most `limit` bytes of them; the oldest go first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self._limit = folder, limit
        self._sizes: dict[str, int] = {}  # by name, oldest first
        self._total = 0
        for path in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns):
            if path.name.endswith(_PART):
                path.unlink()
            else:
                self._note(path.name, path.stat().st_size)

    def size(self, path: str) -> int | None:
        """Of the file that was fetched from this path; None where none is kept."""
        return self._sizes.get(_name(path))

    def read(self, path: str) -> bytes:
        """A file that is kept."""
        return (self.folder / _name(path)).read_bytes()

    def keep(self, path: str, pieces: Iterator[bytes]) -> None:
        """Keep a file, once it is here to the last byte."""
        name, size = _name(path), 0
        part = self.folder / (name + _PART)
        try:
            with part.open("wb") as file:
                for piece in pieces:
                    size += len(piece)
                    file.write(piece)
            part.replace(self.folder / name)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        self._note(name, size)
        while self._total > self._limit and len(self._sizes) > 1:
            self._remove(next(iter(self._sizes)))

    def forget(self) -> None:
        """Keep nothing."""
        for name in tuple(self._sizes):
            self._remove(name)

    def _note(self, name: str, size: int) -> None:
        self._total += size - self._sizes.pop(name, 0)
        self._sizes[name] = size

    def _remove(self, name: str) -> None:
        (self.folder / name).unlink(missing_ok=True)
        self._total -= self._sizes.pop(name)


def _name(path: str) -> str:
    return sha256(path.encode()).hex()


class RemoteDirectory:
    """The files below an address, by relative paths with slashes. What was fetched is kept on disk as long as this
    object lives, at most KEPT_LIMIT bytes: so it is fetched once, and at most one file is in memory."""

    lists = False
    _steady = True  # a file that was absent stays so
    _named_limit = NAMED_LIMIT

    def __init__(self, remote: Remote) -> None:
        self._root = remote.url.rstrip("/") + "/"
        folder = Path(tempfile.mkdtemp(prefix="verifl-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._remote = remote
        self._connection = Connection(remote)
        self._kept = FetchedFiles(folder, self._kept_limit())
        self._absent: set[str] = set()
        self._lock = threading.Lock()  # one request at a time

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file, as it was when it was first read; but `checkpoint` is fetched anew each time.

        Raises Damaged("file-missing"); Damaged("file-size") where it has more than `limit` bytes, having read at most
        one piece more; Unreachable.
        """
        with self._lock:
            if path == CHECKPOINT:
                return b"".join(self._connection.stream(self._root + path, path, limit))
            if path in self._absent:
                raise Damaged("file-missing", path, "no such file")
            kept = self._place(path)
            if kept.size(path) is None:
                self._fetch(kept, path, limit)
            size = kept.size(path)
            if size is not None and size > limit:
                raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{size} bytes")
            return kept.read(path)

    def is_named(self, path: str, name: bytes) -> bool:
        """Whether a file has the SHA-256 `name`; one of more than NAMED_LIMIT bytes is not read, and is taken to have
        another. Raises Damaged("file-missing"), Unreachable."""
        try:
            with self._lock:
                return sha256_of_parts(self._connection.stream(self._root + path, path, self._named_limit)) == name
        except Damaged as error:
            if error.check == "file-missing":
                raise
            return False

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._lock:
            if self._place(path).size(path) is not None:
                return True
            return path not in self._absent and self._connection.asks(self._root + path)

    def numbered(self, folder: str, last: int) -> list[int]:
        """Those of the numbers 1 .. last that are names of files in a directory, ascending; several are asked for at a
        time. Raises Unreachable, also where there are more than ASKED_LIMIT, or LEAST_ANSWERS a second do not come."""
        if last > ASKED_LIMIT:
            raise Unreachable(self._root, f"{folder}: {last} numbers are too many to ask for each; audit a copy of it")
        connections, started = threading.local(), time.monotonic()
        found = list[int]()

        def asks(number: int) -> bool:
            if not hasattr(connections, "own"):
                connections.own = Connection(self._remote)
            return bool(connections.own.asks(f"{self._root}{folder}/{number}"))

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for first in range(1, last + 1, _BATCH):
                some = range(first, min(first + _BATCH, last + 1))
                found += [number for number, there in zip(some, pool.map(asks, some), strict=True) if there]
                if time.monotonic() - started > GRACE + some[-1] / LEAST_ANSWERS:
                    raise Unreachable(self._root, SLOW)
        return found

    def occupied(self, path: str) -> bool:
        """Whether there is such a file: a server shows nothing else."""
        return self.has(path)

    def names(self, path: str) -> list[str]:  # noqa: ARG002  no server lists any
        """None: a web server lists no folder."""
        return []

    def walk(self) -> Iterator[str]:
        """None: a web server lists no folder."""
        return iter(())

    def empty(self) -> Iterator[str]:
        """None: a web server lists no folder."""
        return iter(())

    def _kept_limit(self) -> int:
        return KEPT_LIMIT

    def _place(self, path: str) -> FetchedFiles:  # noqa: ARG002  some keep files at different places
        """Where a file is kept."""
        return self._kept

    def _fetch(self, kept: FetchedFiles, path: str, limit: int) -> None:
        try:
            kept.keep(path, self._connection.stream(self._root + path, path, limit))
        except Damaged as error:
            if error.check == "file-missing" and self._steady:
                self._absent.add(path)
            raise


class FollowedDirectory(RemoteDirectory):
    """The same for a party that follows a log for as long as its federation lasts. Full entry bundles, which never
    change, are kept in a directory of the party's own, also when the process ends; other files for a short while. What
    is absent is asked for again. Files that are too long are never read."""

    _steady, _named_limit = False, 0

    def __init__(self, remote: Remote, folder: Path) -> None:
        super().__init__(remote)
        self._lasting = FetchedFiles(folder, KEPT_LIMIT)

    def forget(self) -> None:
        """Something of what was fetched may be wrong: all of it is fetched anew."""
        self._lasting.forget()
        self._kept.forget()

    def _place(self, path: str) -> FetchedFiles:
        return self._lasting if _FULL_BUNDLE.fullmatch(path) else self._kept

    def _kept_limit(self) -> int:
        return RECENT_LIMIT
