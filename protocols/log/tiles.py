"""How a log lies on disk: C2SP tlog-tiles, and where the other files of a transcript are (spec 3.2).

A tile is a run of up to 256 hashes of one level, level 0 being leaf hashes and a hash of level L + 1 the root of a
full tile of level L. An entry bundle is the run of entries under a tile of level 0. What a log consists of is a
function of the sizes of its checkpoints: of the latest all, of the others the partial tiles and bundles that are not
full yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from proofs.errors import Malformed, Misuse
from protocols.encoding import ENTRY_LIMIT
from protocols.log.merkle import HASH_BYTES, root

TILE_WIDTH = 256
BUNDLE_LIMIT = TILE_WIDTH * (2 + ENTRY_LIMIT)

CHECKPOINT = "checkpoint"
POLICY = "policy.cbor"
TEMPORARY = ".tmp"  # ends the name of a file that is being written
WRITTEN = re.compile(  # every path that a writer may make, finished or not
    r"(checkpoint|policy\.cbor|checkpoints/[0-9]+|blobs/[0-9a-f]{2}/[0-9a-f]{64}"
    r"|tile/([0-9]+|entries)/(x[0-9]{3}/)*[0-9]{3}(\.p/[0-9]+)?)(\.tmp)?"
)

STRAY = re.compile(  # names of files that desktops and editors leave, and that no rule could mean
    r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|.*~|\..*\.sw[a-p]|#.*#", re.DOTALL
)


@dataclass(frozen=True)
class Tile:
    """Hashes 256 * index up to 256 * index + width of a level; 1 <= width <= 256, partial if below 256."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """Relative to the transcript, e.g. tile/0/x001/234.p/17."""
        return f"tile/{self.level}/{_numbered(self.index, self.width)}"

    @property
    def full(self) -> Tile:
        """The full tile that a partial one grows into."""
        return Tile(self.level, self.index, TILE_WIDTH)

    def is_full_at(self, size: int) -> bool:
        """Whether a log of `size` entries has the full tile."""
        return size >> 8 * (self.level + 1) > self.index


@dataclass(frozen=True)
class Bundle:
    """Entries 256 * index up to 256 * index + width."""

    index: int
    width: int

    @property
    def path(self) -> str:
        """Relative to the transcript, e.g. tile/entries/x001/234.p/17."""
        return f"tile/entries/{_numbered(self.index, self.width)}"

    @property
    def full(self) -> Bundle:
        """The full bundle that a partial one grows into."""
        return Bundle(self.index, TILE_WIDTH)

    def is_full_at(self, size: int) -> bool:
        """Whether a log of `size` entries has the full bundle."""
        return size // TILE_WIDTH > self.index

    @property
    def start(self) -> int:
        """The log index of its first entry."""
        return self.index * TILE_WIDTH


Piece = Tile | Bundle


def tiles(size: int) -> Iterator[Tile]:
    """Every tile of a log of `size` entries, by level, then index."""
    level, count = 0, size
    while count:
        for bundle in bundles(count):
            yield Tile(level, bundle.index, bundle.width)
        level, count = level + 1, count // TILE_WIDTH


def bundles(size: int) -> Iterator[Bundle]:
    """Every entry bundle of a log of `size` entries, in order; only the last may be partial."""
    for index in range(size // TILE_WIDTH):
        yield Bundle(index, TILE_WIDTH)
    if size % TILE_WIDTH:
        yield Bundle(size // TILE_WIDTH, size % TILE_WIDTH)


def tree_paths(size: int) -> Iterator[str]:
    """The files that hold the tree of `size` entries: bundles, then tiles."""
    for bundle in bundles(size):
        yield bundle.path
    for tile in tiles(size):
        yield tile.path


def partial_pieces(size: int) -> Iterator[Piece]:
    """The partial bundle and tiles of a log of `size` entries."""
    if size % TILE_WIDTH:
        yield Bundle(size // TILE_WIDTH, size % TILE_WIDTH)
    level, count = 0, size
    while count:
        if count % TILE_WIDTH:
            yield Tile(level, count // TILE_WIDTH, count % TILE_WIDTH)
        level, count = level + 1, count // TILE_WIDTH


def earlier_pieces(sizes: Iterable[int], latest: int) -> Iterator[tuple[int, Piece]]:
    """What checkpoints of these sizes need and a log of `latest` entries does not have, nor the full one: partial tiles
    and bundles, each once, with the smallest size that needs it. Sizes from `latest` on are passed over."""
    seen = {piece.path for piece in partial_pieces(latest)}
    for size in sorted(set(sizes)):
        for piece in partial_pieces(size) if size < latest else ():
            if piece.path not in seen and not piece.is_full_at(latest):
                seen.add(piece.path)
                yield size, piece


def bundle_of(index: int, size: int) -> Bundle:
    """The bundle that holds entry `index` in a log of `size` entries; index < size."""
    return Bundle(index // TILE_WIDTH, min(TILE_WIDTH, size - index // TILE_WIDTH * TILE_WIDTH))


def note_path(size: int) -> str:
    """Where the checkpoint of a size is kept."""
    return f"checkpoints/{size}"


def blob_path(name: bytes) -> str:
    """Where the blob with this SHA-256 is kept."""
    return f"blobs/{name.hex()[:2]}/{name.hex()}"


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each after its length as two bytes, big-endian. Raises Misuse on an entry that does not fit."""
    for entry in entries:
        if len(entry) > ENTRY_LIMIT:
            raise Misuse(f"entry: expected at most {ENTRY_LIMIT} bytes, found {len(entry)}")
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes, bundle: Bundle) -> list[bytes]:
    """The entries of a bundle. Raises Malformed unless `data` is exactly `bundle.width` of them."""
    entries = split_bundle(data, bundle.width)
    if len(entries) < bundle.width:
        raise Malformed(bundle.path, f"{bundle.width} entries", f"the end of the file in entry {len(entries)}")
    after = len(data) - sum(2 + len(entry) for entry in entries)
    if after:
        raise Malformed(bundle.path, f"{bundle.width} entries", f"{after} bytes after them")
    return entries


def split_bundle(data: bytes, width: int) -> list[bytes]:
    """The first `width` entries of a bundle; fewer where its bytes end before."""
    entries, position = list[bytes](), 0
    while len(entries) < width:
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if start > len(data) or position > len(data):
            break
        entries.append(data[start:position])
    return entries


class TileStack:
    """The right edge of a growing tree, level by level: gives the tiles of the tree as they become complete."""

    __slots__ = ("_edges", "_full")

    def __init__(self) -> None:
        self._edges: list[list[bytes]] = []  # hashes of each level's unfinished tile, fewer than 256
        self._full: list[int] = []  # number of full tiles of each level

    def append(self, hashed: bytes) -> list[tuple[Tile, bytes]]:
        """Add a leaf hash; return the full tiles that it completes, each with its bytes, lowest level first."""
        completed = []
        for level in range(len(self._edges) + 1):
            if level == len(self._edges):
                self._edges.append([])
                self._full.append(0)
            edge = self._edges[level]
            edge.append(hashed)
            if len(edge) < TILE_WIDTH:
                break
            completed.append((Tile(level, self._full[level], TILE_WIDTH), b"".join(edge)))
            hashed = root(edge)
            self._full[level] += 1
            edge.clear()
        return completed

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The partial tiles of the tree as it is, each with its bytes, lowest level first."""
        return [
            (Tile(level, full, len(edge)), b"".join(edge))
            for level, (edge, full) in enumerate(zip(self._edges, self._full, strict=True))
            if edge
        ]

    def copy(self) -> TileStack:
        """An independent stack of the same tree."""
        twin = TileStack()
        twin._edges, twin._full = [list(edge) for edge in self._edges], list(self._full)
        return twin


def tile_bytes(width: int) -> int:
    """The exact size of a tile's file."""
    return width * HASH_BYTES


def _numbered(index: int, width: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups)) + ("" if width == TILE_WIDTH else f".p/{width}")
