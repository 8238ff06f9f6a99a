"""A transcript as one file (spec 3.5): a ZIP archive without compression, of one form only, that is read in place.

The archive is a function of the directory: names in ascending order, one file behind the other without gaps, sizes and
offsets always in 64 bits, every other field fixed. Whatever differs from that form is refused, so that no two programs
can see different files in it; any program for ZIP archives can unpack it.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from proofs.errors import Malformed, Misuse
from protocols.hashes import sha256_of_parts
from protocols.log.files import CHUNK, DEPTH_LIMIT, Damaged, numbered

MAGIC = b"PK\x03\x04"
NAME_LIMIT = 1024  # bytes of a path
INDEX_LIMIT = 1 << 28  # bytes of the central directory: two million files
_FULL = 0xFFFFFFFF  # stands for a number that is among the extra fields
_VERSION = 45  # of a reader that knows numbers of 64 bits
_DATE = 0x21  # 1980-01-01, the first day there is
_FIXED = 30  # bytes of a header before the name
_LOCAL = struct.Struct("<4sHHHHHIIIHHHHQQ")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_EXTRA = struct.Struct("<HHQQQ")
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_TAIL = _END_64.size + _LOCATOR.size + _END.size


@dataclass(frozen=True)
class PackedFile:
    """A file, or a directory with nothing in it, whose name ends with a slash. start: of its header, in the archive."""

    name: bytes
    size: int
    crc: int
    start: int

    @property
    def header(self) -> bytes:
        """What stands before its bytes."""
        fixed = (
            MAGIC,
            _VERSION,
            0,
            0,
            0,
            _DATE,
            self.crc,
            _FULL,
            _FULL,
            len(self.name),
            20,
            1,
            16,
            self.size,
            self.size,
        )
        data = _LOCAL.pack(*fixed)
        return data[:30] + self.name + data[30:]

    @property
    def entry(self) -> bytes:
        """What the central directory has of it."""
        folder = 0o40755 if self.name.endswith(b"/") else 0o100644
        fixed = (b"PK\x01\x02", 3 << 8 | _VERSION, _VERSION, 0, 0, 0, _DATE, self.crc, _FULL, _FULL, len(self.name))
        data = _CENTRAL.pack(*fixed, _EXTRA.size, 0, 0, 0, folder << 16, _FULL)
        return data + self.name + _EXTRA.pack(1, 24, self.size, self.size, self.start)

    @property
    def content(self) -> int:
        """Where its bytes begin."""
        return self.start + _LOCAL.size + len(self.name)

    @property
    def stop(self) -> int:
        """Where its bytes end."""
        return self.content + self.size


def tail(count: int, start: int, size: int) -> bytes:
    """What ends an archive of so many files, whose central directory has this start and size in bytes."""
    of_64 = (b"PK\x06\x06", _END_64.size - 12, 3 << 8 | _VERSION, _VERSION, 0, 0, count, count, size, start)
    locator = _LOCATOR.pack(b"PK\x06\x07", 0, start + size, 1)
    return _END_64.pack(*of_64) + locator + _END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, _FULL, _FULL, 0)


def require_name(name: str) -> bytes:
    """A path that an archive may have; raises Malformed("name")."""
    data = name.removesuffix("/").encode("ascii", "replace")
    parts = data.split(b"/")
    fine = name.isascii() and name.isprintable() and "\\" not in name and len(name) <= NAME_LIMIT
    if not fine or len(parts) > DEPTH_LIMIT + 1 or any(part in (b"", b".", b"..") for part in parts):
        raise Malformed("name", "a relative path in printable ASCII", repr(name[:NAME_LIMIT]))
    return name.encode()


class PackedDirectory:
    """The files in an archive, by relative paths with slashes: a `protocols.log.files.Directory`.

    Raises Misuse, for a file that is no such archive, or is cut off: it says nothing about the log in it.
    """

    lists = True

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        weakref.finalize(self, os.close, self._descriptor)
        try:
            found = list(self._index())
            _require_tree(found)
            self._require_headers(file for file in found if file.name.endswith(b"/"))  # nobody reads them later
        except Malformed as error:
            why = "is no transcript that `verifl-audit pack` made, or a damaged one"
            raise Misuse(f"{path}: {why} ({error}); unpack it, or fetch it again") from None
        self._files = {file.name.decode(): file for file in found if not file.name.endswith(b"/")}
        self._empty = [file.name.decode()[:-1] for file in found if file.name.endswith(b"/")]

    def read(self, path: str, limit: int) -> bytes:
        """See `Directory.read`."""
        file = self._find(path)
        if file.size > limit:
            raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{file.size} bytes")
        return b"".join(self._pieces(path, file))

    def is_named(self, path: str, name: bytes) -> bool:
        """See `Directory.is_named`."""
        return sha256_of_parts(self._pieces(path, self._find(path))) == name

    def has(self, path: str) -> bool:
        """See `Directory.has`."""
        return path in self._files

    def numbered(self, folder: str, last: int) -> list[int]:
        """See `Directory.numbered`."""
        return numbered(self, folder, last)

    def occupied(self, path: str) -> bool:
        """See `Directory.occupied`."""
        return path in self._files or path in self._folders

    def names(self, path: str) -> list[str]:
        """See `Directory.names`."""
        return sorted(self._folders.get(path, ()))

    def walk(self) -> Iterator[str]:
        """See `Directory.walk`."""
        yield from self._files

    def empty(self) -> Iterator[str]:
        """See `Directory.empty`."""
        yield from self._empty

    def pieces(self, path: str) -> Iterator[bytes]:
        """The bytes of a file, a piece in memory at a time; raises as `read`."""
        return self._pieces(path, self._find(path))

    @cached_property
    def _folders(self) -> dict[str, set[str]]:
        """What is in each directory; of the archive itself nothing is asked."""
        folders: dict[str, set[str]] = {}
        for path in (*self._files, *self._empty):
            folder, _, name = path.rpartition("/")
            while folder and name not in folders.setdefault(folder, set()):
                folders[folder].add(name)
                folder, _, name = folder.rpartition("/")
        return {**{path: set() for path in self._empty}, **folders}

    def _find(self, path: str) -> PackedFile:
        file = self._files.get(path)
        if file is None:
            if path in self._folders:
                raise Damaged("file-kind", f"{path} to be a regular file", "a directory")
            raise Damaged("file-missing", path, "no such file")
        return file

    def _require_headers(self, files: Iterable[PackedFile]) -> None:
        for file in files:
            if not self._has_header(file):
                raise Malformed("header", f"that of {file.name!r}", "other bytes")

    def _has_header(self, file: PackedFile) -> bool:
        return os.pread(self._descriptor, len(file.header), file.start) == file.header

    def _pieces(self, path: str, file: PackedFile) -> Iterator[bytes]:
        if not self._has_header(file):
            raise Damaged("archive-header", f"{path} behind the header that its entry says", "other bytes")
        crc, place = 0, file.content
        while place < file.stop:
            piece = os.pread(self._descriptor, min(CHUNK, file.stop - place), place)
            if not piece:
                raise Damaged("file-size", f"{path} of {file.size} bytes", "an archive that changes while it is read")
            crc, place = zlib.crc32(piece, crc), place + len(piece)
            yield piece
        if crc != file.crc:
            raise Damaged("archive-crc", f"{path} with CRC-32 {file.crc:08x}", f"{crc:08x}")

    def _index(self) -> Iterator[PackedFile]:
        """The central directory, whose every byte is as it has to be. Raises Malformed."""
        size = os.fstat(self._descriptor).st_size
        if size < _TAIL:
            raise Malformed("archive", f"at least {_TAIL} bytes", f"{size}")
        end = os.pread(self._descriptor, _TAIL, size - _TAIL)
        count, length, start = struct.unpack_from("<QQQ", end, 32)
        if length > INDEX_LIMIT or start + length + _TAIL != size:
            raise Malformed("central directory", f"the last bytes, at most {INDEX_LIMIT}", f"{length} at {start}")
        if end != tail(count, start, length):
            raise Malformed("end of the archive", "the one form that there is", "another, or more behind it")
        data = os.pread(self._descriptor, length, start)
        place = following = 0
        for _ in range(count):
            file = _entry_at(data, place, following)
            place, following = place + len(file.entry), file.stop
            yield file
        if place != len(data) or following != start:
            raise Malformed("central directory", f"{count} entries, files up to it", f"{place} and {following} bytes")


def _entry_at(data: bytes, place: int, following: int) -> PackedFile:
    """The entry that begins here, of the file that begins behind the one before. Raises Malformed unless its bytes are
    what they have to be."""
    if place + _CENTRAL.size > len(data):
        raise Malformed("central directory", "another entry", "its end")
    fields = _CENTRAL.unpack_from(data, place)
    crc, length = fields[7], fields[10]
    name = data[place + _CENTRAL.size : place + _CENTRAL.size + min(length, NAME_LIMIT + 1)]
    extra = place + _CENTRAL.size + len(name)
    if extra + _EXTRA.size > len(data):
        raise Malformed("central directory", "another entry", "its end")
    file = PackedFile(name, _EXTRA.unpack_from(data, extra)[2], crc, following)
    if file.size >= 1 << 62 or data[place : place + len(file.entry)] != file.entry:
        raise Malformed("central directory", "an entry of the one form that there is", f"another at byte {place}")
    return file


def _require_tree(files: Iterable[PackedFile]) -> None:
    """Names ascend, and none is a directory and a file. Raises Malformed."""
    before, names = b"", list[bytes]()
    for file in files:
        require_name(file.name.decode("ascii", "replace"))
        if file.name <= before:
            raise Malformed("name", f"one behind {before!r}", repr(file.name))
        if file.name.endswith(b"/") and (file.size or file.crc):
            raise Malformed("name", "an empty directory", repr(file.name))
        before = file.name
        names.append(file.name)
    for index, name in enumerate(names):
        folder = name.endswith(b"/")
        inside = name if folder else name + b"/"
        place = index + 1 if folder else bisect_left(names, inside)
        if place < len(names) and names[place].startswith(inside):
            raise Malformed("name", f"{name!r} to be a file, or empty", f"{names[place]!r} in it")
