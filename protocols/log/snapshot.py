"""A transcript as of one checkpoint, while its writer goes on (spec 3.5 and 9.12).

A running writer has files in the directory that no checkpoint covers yet, and takes away partial tiles when full ones
replace them. A snapshot keeps in memory what may be taken away, and does not list what is not covered yet. It is what
somebody has who fetches a checkpoint and then all that it needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from proofs.errors import Malformed, Rejected
from protocols.envelopes import entry_blobs
from protocols.log.checkpoint import NOTE_LIMIT, parse_note
from protocols.log.connection import Remote
from protocols.log.files import Damaged, Directory
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import BUNDLE_LIMIT, CHECKPOINT, WRITTEN, partial_pieces

ATTEMPTS = 1000  # publications that may come between before a snapshot is given up


class SnapshotReader(TranscriptReader):
    """`TranscriptReader` of the checkpoint that is the latest now. A directory that is at rest reads the same, but for
    files that a writer made and no checkpoint covers: these are left out of `files`."""

    def __init__(self, path: Path | str | Remote) -> None:
        super().__init__(path)
        for _ in range(ATTEMPTS):
            if self._take():
                return
        raise Rejected("snapshot", "a checkpoint that stays until its files are read", "one that does not")

    def checkpoints(self) -> list[int]:
        """The sizes of checkpoints up to the latest, ascending."""
        return [size for size in super().checkpoints() if size <= self.size]

    def files(self) -> Iterator[str]:
        """Every path but those that a writer may have made and this checkpoint does not cover."""
        covered = self._covered if self.lists else frozenset()
        yield from (path for path in self._listed() if path in covered or WRITTEN.fullmatch(path) is None)

    def _take(self) -> bool:
        """Read the checkpoint and what may go when the next one comes; False if that happened meanwhile."""
        directory, kept = self._directory, dict[str, bytes]()
        try:
            latest = directory.read(CHECKPOINT, NOTE_LIMIT)
            size = parse_note(latest).checkpoint.size
        except (Malformed, Rejected):
            return True  # the reader's to say
        try:
            for piece in partial_pieces(size):
                kept[piece.path] = directory.read(piece.path, BUNDLE_LIMIT)
        except Rejected:
            if directory.read(CHECKPOINT, NOTE_LIMIT) != latest:
                return False
        self._latest, self._directory = latest, _Overlay(directory, kept)
        return True

    def _listed(self) -> list[str]:
        for _ in range(ATTEMPTS):
            try:
                return list(super().files())
            except FileNotFoundError:  # a directory of partial tiles went while it was listed
                continue
        raise Rejected("snapshot", "a directory that can be listed", "one that changes all the time")

    @cached_property
    def _covered(self) -> frozenset[str]:
        named = [name for entry in self.entries(0, self.size) for name in named_blobs(entry)]
        return frozenset(self.known_files(self.size, named))


class _Overlay:
    """A directory some of whose files are kept in memory."""

    def __init__(self, below: Directory, kept: dict[str, bytes]) -> None:
        self._below, self._kept = below, kept
        self.lists, self.is_named, self.occupied = below.lists, below.is_named, below.occupied
        self.numbered, self.names, self.walk, self.empty = below.numbered, below.names, below.walk, below.empty

    def read(self, path: str, limit: int) -> bytes:
        """As `Directory.read`."""
        data = self._kept.get(path)
        if data is None:
            return self._below.read(path, limit)
        if len(data) > limit:
            raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{len(data)} bytes")
        return data

    def has(self, path: str) -> bool:
        """As `Directory.has`."""
        return path in self._kept or self._below.has(path)


def named_blobs(entry: bytes) -> tuple[bytes, ...]:
    """The blobs that an entry names; none for one that does not decode, which is the audit's to say."""
    try:
        return entry_blobs(entry)
    except Malformed:
        return ()
