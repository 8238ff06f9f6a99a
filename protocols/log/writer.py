"""Writing a transcript so that a kill at any instant leaves the old or the new state (spec 3.4).

The state is the file `checkpoint` and what it needs. A publication writes, in this order, blobs, tiles, entry
bundles, checkpoints/<size> and `checkpoint`, each by writing a temporary file, syncing it, renaming it and syncing
its directory; then it removes the partial tiles that have become full. Opening a directory removes
what the latest checkpoint does not need, so it is the old or the new state exactly.

POSIX only (flock, fsync of directories).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from proofs.errors import Misuse, Rejected
from protocols.blobs import blob_hash
from protocols.envelopes import entry_blobs
from protocols.locks import FileLock
from protocols.log.checkpoint import Checkpoint, parse_note
from protocols.log.merkle import Frontier, leaf_hash
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import (
    CHECKPOINT,
    POLICY,
    TEMPORARY,
    WRITTEN,
    Piece,
    TileStack,
    blob_path,
    bundles,
    encode_bundle,
    note_path,
    partial_pieces,
)

References = Callable[[bytes], Iterable[bytes]]
DiskWatch = Callable[[str], None]  # told before each change on disk; it exists to test crashes


class Appendable(Protocol):
    """An entry that was decoded, as `protocols.envelopes.Entry` is."""

    @property
    def data(self) -> bytes:
        """Its bytes."""
        ...

    @property
    def blobs(self) -> Sequence[bytes]:
        """Hashes of the blobs that it names."""
        ...


class TranscriptWriter:
    """The one writer of a transcript directory; a second one is refused while the first is open.

    Entries wait in memory from `append` to the `publish` of a checkpoint that covers them; blobs are on disk from
    `put_blob` on, but those that no published entry names are removed when the directory is opened again. Whoever
    appends keeps its own copy until `publish` has returned. After an OSError (a full disk) the same call can be
    repeated.

    `keep`: entries that are about to be appended again, since trustees may have seen them; their blobs stay.
    `references` gives the blobs that an entry names which is read back. `watch` is called
    with a description before each change to the directory; it exists to test crashes.
    """

    def __init__(
        self,
        path: Path | str,
        references: References = entry_blobs,
        watch: DiskWatch | None = None,
        keep: Iterable[bytes] = (),
    ) -> None:
        self._path = Path(path).absolute()
        self._references = references
        self._watch = watch
        self._pending: list[Appendable] = []
        self._frontier, self._stack = Frontier(), TileStack()  # of the latest checkpoint
        self._unsynced: dict[Path, None] = {}  # directories whose renames may not be durable
        self._partial: dict[str, Piece] = {}  # by path, partial tiles and bundles that some checkpoint needs
        self._stale: set[str] = set()  # those that have become full since
        self._lock = _lock(self._path)
        try:
            self._make_directory(self._path)
            self._recover(keep)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> TranscriptWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another writer open the directory; pending entries are dropped."""
        self._lock.release()

    @property
    def size(self) -> int:
        """Number of entries, pending ones included."""
        return self._ahead.size

    @property
    def published_size(self) -> int:
        """Number of entries under the latest checkpoint; 0 where there is none."""
        return self._frontier.size

    def root(self) -> bytes:
        """The root hash over all entries, pending ones included: what the next checkpoint signs."""
        return self._ahead.root()

    def append(self, entries: Sequence[Appendable]) -> int:
        """Add entries; return the index of the first."""
        first = self.size
        for entry in entries:
            self._ahead.append(leaf_hash(entry.data))
            self._pending.append(entry)
        return first

    def put_blob(self, data: bytes) -> bytes:
        """Keep a blob under its hash, and return the hash. Writing the same bytes again changes nothing."""
        self._check_open()
        name = blob_hash(data)
        try:
            TranscriptReader(self._path).blob(name, len(data))
        except Rejected:
            self._write(blob_path(name), data)
        return name

    def put_policy(self, data: bytes) -> bytes:
        """Keep the signed policy, as `policy.cbor` and as the blob that Genesis names; return its hash.

        Raises Misuse where the transcript has another policy.
        """
        self._check_open()
        name = self.put_blob(data)
        try:
            if TranscriptReader(self._path).policy() != data:
                raise Misuse(f"{self._path}: this transcript has another policy")
        except Rejected:
            self._write(POLICY, data)
        return name

    def sync(self) -> None:
        """Make every blob put so far durable: before anybody is asked to cosign the entries that name them."""
        self._check_open()
        self._sync()

    def publish(self, note: bytes) -> None:
        """Make a checkpoint the latest one; durable on return. The same note again changes nothing.

        Raises Malformed where `note` is no checkpoint, Misuse where its size or root is not that of this log, or a
        blob that it covers is missing.
        """
        self._check_open()
        head = parse_note(note).checkpoint
        if 0 < head.size == self.published_size and TranscriptReader(self._path).latest() == note:
            self._remove_stale()
            return
        covered, frontier, stack, tree = self._grow(head)
        for path, data in (*tree, *self._bundles([entry.data for entry in covered], head.size)):
            self._write(path, data)
        self._sync()
        for path in (note_path(head.size), CHECKPOINT):
            self._write(path, note)
            self._sync()
        self._stale |= {path for path, piece in self._partial.items() if piece.is_full_at(head.size)}
        self._partial |= {piece.path: piece for piece in partial_pieces(head.size)}
        self._partial = {path: piece for path, piece in self._partial.items() if path not in self._stale}
        self._frontier, self._stack = frontier, stack
        del self._pending[: len(covered)]
        self._remove_stale()

    def _grow(self, head: Checkpoint) -> tuple[list[Appendable], Frontier, TileStack, list[tuple[str, bytes]]]:
        """The pending entries under a new tree head, the tree with them, and the tiles to write."""
        if not self.published_size < head.size <= self.size:
            expected = f"{self.published_size + 1} .. {self.size}"
            raise Misuse(f"checkpoint: expected a size in {expected}, found {head.size}")
        covered = self._pending[: head.size - self.published_size]
        frontier, stack = self._frontier.copy(), self._stack.copy()
        written = []
        for entry in covered:
            hashed = leaf_hash(entry.data)
            frontier.append(hashed)
            written += stack.append(hashed)
        if frontier.root() != head.root:
            raise Misuse(f"checkpoint: expected the root {frontier.root().hex()}, found {head.root.hex()}")
        self._check_blobs(covered)
        written += [(tile, data) for tile, data in stack.partial() if tile.path not in self._partial]
        return covered, frontier, stack, [(tile.path, data) for tile, data in written]

    def _bundles(self, covered: Sequence[bytes], size: int) -> Iterable[tuple[str, bytes]]:
        """The entry bundles that change: the unfinished one, with its entries read back, and those after it."""
        old = self.published_size
        first = old - old % 256
        kept = TranscriptReader(self._path).entries(first, old) if old else []
        entries = [*kept, *covered]
        for bundle in bundles(size):
            if bundle.start >= first:
                start = bundle.start - first
                yield bundle.path, encode_bundle(entries[start : start + bundle.width])

    def _check_blobs(self, entries: Iterable[Appendable]) -> None:
        reader = TranscriptReader(self._path)
        for entry in entries:
            for name in entry.blobs:
                if not reader.has_blob(name):
                    raise Misuse(f"blob {name.hex()}: an entry names it, and put_blob was not called with it")

    def _recover(self, keep: Iterable[bytes]) -> None:
        """Read the log back, check it, and remove what neither its latest checkpoint nor `keep` needs."""
        reader = TranscriptReader(self._path)
        blobs: set[bytes] = set()
        expected: set[str] = set()
        if os.path.lexists(self._path / CHECKPOINT):
            for entries in reader.replay():
                for entry in entries:
                    self._frontier.append(leaf_hash(entry))
                    self._stack.append(leaf_hash(entry))
                    blobs.update(self._references(entry))
            expected = reader.expected_files(reader.size, blobs)
            kept = [*partial_pieces(reader.size), *(piece for _, piece in reader.earlier())]
            self._partial = {piece.path: piece for piece in kept}
        elif len(reader.checkpoints()) > 1:  # of the first publication there can be one without `checkpoint`
            raise Rejected("file-missing", str(self._path / CHECKPOINT), "no such file, but other checkpoints")
        self._ahead = self._frontier.copy()
        expected |= {blob_path(name) for entry in keep for name in self._references(entry)}
        self._distrust_renames()
        for path in [path for path in reader.files() if path not in expected and WRITTEN.fullmatch(path)]:
            self._remove(path)

    def _distrust_renames(self) -> None:
        """Whoever wrote what is there may have been killed before its names were durable."""
        folders = (Path(folder) for folder, _, _ in os.walk(self._path))
        self._unsynced = dict.fromkeys((self._path.parent, *folders))

    def _check_open(self) -> None:
        if not self._lock.held:
            raise Misuse("this writer is closed")

    def _write(self, path: str, data: bytes) -> None:
        """Replace a file: after a crash it has its old contents or `data`; its directory is synced by `_sync`."""
        target = self._path / path
        self._make_directory(target.parent)
        temporary = target.with_name(target.name + TEMPORARY)
        self._step(f"write {path}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(temporary, flags, 0o644), "wb") as file:
            os.fchmod(file.fileno(), 0o644)  # as for directories
            file.write(data)
            file.flush()
            self._step(f"sync {path}")
            os.fsync(file.fileno())
        self._step(f"rename {path}")
        temporary.rename(target)
        self._unsynced[target.parent] = None

    def _make_directory(self, directory: Path) -> None:
        if directory.is_dir():
            return
        if directory != self._path:
            self._make_directory(directory.parent)
        self._step(f"mkdir {directory.name}")
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)  # whatever the umask: the directory is for publishing
        self._unsynced[directory.parent] = None

    def _sync(self) -> None:
        """Make every rename since the last call durable."""
        for directory in list(self._unsynced):
            self._step(f"sync directory {directory.name}")
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            del self._unsynced[directory]

    def _remove_stale(self) -> None:
        for path in sorted(self._stale):
            self._remove(path)
        self._stale.clear()

    def _remove(self, path: str) -> None:
        target = self._path / path
        self._step(f"remove {path}")
        target.unlink(missing_ok=True)
        if target.parent.name.endswith(".p") and target.parent.is_dir() and not any(target.parent.iterdir()):
            self._step(f"rmdir {target.parent.name}")
            target.parent.rmdir()
            self._unsynced.pop(target.parent, None)

    def _step(self, description: str) -> None:
        if self._watch is not None:
            self._watch(description)


def _lock(path: Path) -> FileLock:
    """Take the lock file beside the directory `path`: inside, it would be published. Held until closed or killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path.with_name(path.name + ".lock"), f"{path}: another writer has this transcript open")
