"""Reading a transcript that somebody else published (spec 3.5).

Total: whatever the directory holds, only Malformed and Rejected come out (Damaged where the copy may be at fault), and
OSError for a failing disk. Every size is checked before bytes are read; at most one entry bundle or one blob is in
memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.encoding import POLICY_LIMIT
from protocols.hashes import sha256
from protocols.log.checkpoint import NOTE_LIMIT, Checkpoint, parse_note
from protocols.log.connection import Remote
from protocols.log.files import NUMBER, Damaged, Directory, LocalDirectory, Missized
from protocols.log.merkle import Frontier, leaf_hash
from protocols.log.packed import PackedDirectory
from protocols.log.remote import RemoteDirectory
from protocols.log.tiles import (
    BUNDLE_LIMIT,
    CHECKPOINT,
    POLICY,
    STRAY,
    Bundle,
    Piece,
    Tile,
    TileStack,
    blob_path,
    bundle_of,
    bundles,
    decode_bundle,
    earlier_pieces,
    note_path,
    split_bundle,
    tile_bytes,
    tree_paths,
)


def _directory(place: Path | str | Remote | Directory) -> Directory:
    if isinstance(place, Remote):
        return RemoteDirectory(place)
    if not isinstance(place, Path | str):
        return place
    path = Path(place)
    return PackedDirectory(path) if path.is_file() else LocalDirectory(path)


class TranscriptReader:
    """A snapshot of a transcript directory: the checkpoint that is the latest when it is first asked for.

    Checks that a tree matches itself, not who signed it: signatures are for `check_note`. A directory on a web server
    has no listing: of the checkpoints those up to the latest are found by asking, of other files none.
    """

    def __init__(self, place: Path | str | Remote | Directory) -> None:
        self._directory: Directory = _directory(place)
        self._sizes: list[int] | None = None  # of checkpoints, where they had to be asked for
        self._latest: bytes | None = None
        self._bundle: tuple[Bundle, list[bytes]] | None = None
        self._some: tuple[Bundle, Sequence[bytes | None]] | None = None

    def latest(self) -> bytes:
        """The latest checkpoint, a signed note of at most NOTE_LIMIT bytes, not parsed."""
        if self._latest is None:
            self._latest = self._directory.read(CHECKPOINT, NOTE_LIMIT)
        return self._latest

    def as_of(self, size: int) -> None:
        """Take the checkpoint of this size for the latest, whatever `checkpoint` is. Raises Rejected("file-*")."""
        self._latest, self._bundle = self.note(size), None

    def head(self) -> Checkpoint:
        """The tree head of the latest checkpoint. Raises Malformed."""
        return parse_note(self.latest()).checkpoint

    @property
    def size(self) -> int:
        """Number of entries, as the latest checkpoint says. Raises Malformed."""
        return self.head().size

    def policy(self) -> bytes:
        """The signed policy file, at most POLICY_LIMIT bytes."""
        return self._directory.read(POLICY, POLICY_LIMIT)

    @property
    def lists(self) -> bool:
        """Whether the directory says which files there are; else files that nothing names are not seen."""
        return self._directory.lists

    def checkpoints(self) -> list[int]:
        """The sizes that have a file under checkpoints/, ascending; also those beyond the latest, if any."""
        if not self._directory.lists:
            return self._asked()
        return sorted(int(name) for name in self._directory.names("checkpoints") if NUMBER.fullmatch(name))

    def all_checkpoints(self) -> list[int]:
        """The sizes of all of them, whatever the latest says; ascending."""
        return TranscriptReader.checkpoints(self)

    def _asked(self) -> list[int]:
        if self._sizes is None:
            try:
                size = self.size
            except (Malformed, Rejected):
                size = 0
            self._sizes = self._directory.numbered("checkpoints", size)
        return self._sizes

    def note(self, size: int) -> bytes:
        """The checkpoint of a size, not parsed."""
        return self._directory.read(note_path(size), NOTE_LIMIT)

    def entries(self, start: int, stop: int) -> list[bytes]:
        """Entries start .. stop - 1, as the bundles have them; `replay` checks them against the tree.

        Raises Misuse unless 0 <= start <= stop <= size; Rejected("file-*") and Malformed for the bundles.
        """
        return list(self.stream(start, stop))

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        """The same, with one bundle in memory at a time; each step raises as `entries`."""
        size = self.size
        if not 0 <= start <= stop <= size:
            raise Misuse(f"entries: expected a range within 0 .. {size}, found {start} .. {stop}")
        while start < stop:
            bundle = bundle_of(start, size)
            inside = self._entries_of(bundle)[start - bundle.start : stop - bundle.start]
            yield from inside
            start += len(inside)

    def some_entries(self, bundle: Bundle) -> Sequence[bytes | None]:
        """The entries of a bundle, as many as can be had; None for each of the others."""
        if self._some is None or self._some[0] != bundle:
            self._some = None
            try:
                data = self._directory.read(bundle.path, BUNDLE_LIMIT)
            except Rejected:
                data = b""
            found = split_bundle(data, bundle.width)
            self._some = (bundle, [*found, *[None] * (bundle.width - len(found))])
        return self._some[1]

    def replay(self, tiles: bool = True) -> Iterator[list[bytes]]:
        """Yield the entries of each bundle in order, and check the whole tree on the way (spec 3.5).

        1. every bundle splits into its number of entries: Malformed;
        2. every tile is what the entries hash to: Rejected("tile-mismatch"); unless `tiles` is false: for who reads
           entries alone;
        3. the root is that of the latest checkpoint: Rejected("checkpoint-root").
        The checks are complete when the iterator is exhausted.
        """
        head, stack, frontier = self.head(), TileStack(), Frontier()
        for bundle in bundles(head.size):
            entries = self._entries_of(bundle)
            for entry in entries:
                hashed = leaf_hash(entry)
                frontier.append(hashed)
                for tile, expected in stack.append(hashed) if tiles else ():
                    self._check_tile(tile, expected)
            yield entries
        for tile, expected in stack.partial():
            self._check_tile(tile, expected)
        if frontier.root() != head.root:
            raise Damaged("checkpoint-root", f"{head.root.hex()} at size {head.size}", frontier.root().hex())

    def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """Replay the tree, and return its root at each of these sizes (Misuse beyond the latest checkpoint's)."""
        wanted, frontier = set(sizes), Frontier()
        if wanted and not 0 <= min(wanted) <= max(wanted) <= self.size:
            raise Misuse(f"sizes: expected 0 .. {self.size}, found {sorted(wanted)[0]} .. {sorted(wanted)[-1]}")
        found = {0: frontier.root()} if 0 in wanted else {}
        for entries in self.replay():
            for entry in entries:
                frontier.append(leaf_hash(entry))
                if frontier.size in wanted:
                    found[frontier.size] = frontier.root()
        return found

    def tile(self, tile: Tile) -> bytes:
        """The hashes of a tile as the file has them; raises Rejected("file-*")."""
        return self._directory.read(tile.path, tile_bytes(tile.width))

    def earlier(self) -> Iterator[tuple[int, Piece]]:
        """What checkpoints before the latest need beyond its tree: `earlier_pieces` of the sizes under checkpoints/."""
        return earlier_pieces(self.checkpoints(), self.size)

    def earlier_piece(self, piece: Piece, limit: int) -> bytes | None:
        """The bytes of a partial tile or bundle, at most `limit`; None where the full one has taken its place, which a
        writer at work may have done since the latest checkpoint was read. Raises Rejected("file-*")."""
        try:
            return self._directory.read(piece.path, limit)
        except Rejected as error:
            if error.check == "file-missing" and self._directory.has(piece.full.path):
                return None
            raise

    def blob(self, name: bytes, max_size: int) -> bytes:
        """The blob with SHA-256 `name`, at most `max_size` bytes.

        Raises Damaged("blob-missing"), ("blob-kind"), ("blob-size"), ("blob-hash"); and Missized("blob-size") where the
        file has this very hash, so that it was named with this size.
        """
        try:
            data = self._directory.read(blob_path(name), max_size)
        except Damaged as error:
            meant = error.check == "file-size" and self._directory.is_named(blob_path(name), name)
            kind = Missized if meant else Damaged
            raise kind(error.check.replace("file-", "blob-"), error.expected, error.found) from None
        found = sha256(data)
        if found != name:
            raise Damaged("blob-hash", name.hex(), found.hex())
        return data

    def holds(self, name: bytes) -> bool | None:
        """Whether the blob's file has the SHA-256 `name`; None where there is no such file."""
        try:
            return self._directory.is_named(blob_path(name), name)
        except Damaged as error:
            return None if error.check == "file-missing" else False

    def occupies(self, name: bytes) -> bool:
        """Whether anything is where the blob would be, a symlink for one."""
        return self._directory.occupied(blob_path(name))

    def has_blob(self, name: bytes) -> bool:
        """Whether the blob's file is there (not pruned); its contents are not read."""
        return self._directory.has(blob_path(name))

    def is_regular(self, path: str) -> bool:
        """Whether there is a regular file at this path, reached without symlinks."""
        return self._directory.has(path)

    def files(self) -> Iterator[str]:
        """Every path in the directory that is not itself a directory, in a fixed order, but for `strays`."""
        return (path for path in self._directory.walk() if not self._is_stray(path))

    def strays(self) -> Iterator[str]:
        """Regular files that a desktop or an editor left, which are in no transcript and in none of `files`."""
        return filter(self._is_stray, self._directory.walk())

    def empty_directories(self) -> Iterator[str]:
        """Every directory with nothing in it, in a fixed order."""
        return self._directory.empty()

    def expected_files(self, size: int, blob_hashes: Iterable[bytes]) -> set[str]:
        """What a transcript of `size` entries consists of (spec 3.5): every other file is a finding.

        Of the blobs, missing ones were pruned; of the rest, all must be there. Files under checkpoints/ up to `size`
        are expected as they are found: each is then a checkpoint to be verified, and has partial tiles. Raises
        Rejected("file-missing") at the first tile or bundle of the latest tree that is not there, so a size that is not
        true costs no memory.
        """
        for path in tree_paths(size):
            if not self._directory.has(path):
                raise Damaged("file-missing", path, "no such file")
        return self.known_files(size, blob_hashes)

    def known_files(self, size: int, blob_hashes: Iterable[bytes]) -> set[str]:
        """The same, whether they are there or not; for a size that is known to be true, as all entries were read."""
        expected = {CHECKPOINT, POLICY, note_path(size)}
        sizes = [each for each in self.checkpoints() if each <= size]
        expected.update(note_path(each) for each in sizes)
        expected.update(piece.path for _, piece in earlier_pieces(sizes, size))
        expected.update(blob_path(name) for name in blob_hashes)
        expected.update(tree_paths(size))
        return expected

    def _is_stray(self, path: str) -> bool:
        return STRAY.fullmatch(path.rpartition("/")[2]) is not None and self._directory.has(path)

    def _entries_of(self, bundle: Bundle) -> list[bytes]:
        if self._bundle is None or self._bundle[0] != bundle:
            self._bundle = None
            data = self._directory.read(bundle.path, BUNDLE_LIMIT)
            self._bundle = (bundle, decode_bundle(data, bundle))
        return self._bundle[1]

    def _check_tile(self, tile: Tile, expected: bytes) -> None:
        if self.tile(tile) != expected:
            raise Damaged("tile-mismatch", f"{tile.path} to hold the hashes of its entries", "other bytes")
