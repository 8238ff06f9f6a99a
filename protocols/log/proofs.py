"""Proofs in the tree of a published log, from its tiles alone: some hashes of 32 bytes are read for each, and no entry.

Nothing that is read is believed: whoever is given a proof verifies it against the root that a checkpoint signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from protocols.log.files import Damaged
from protocols.log.merkle import HASH_BYTES, consistency_ranges, inclusion_ranges, node_hash, root
from protocols.log.tiles import TILE_WIDTH, Tile, tile_bytes

_LEVELS = 8  # of the tree, in one of tiles


class PublishedTree(Protocol):
    """A log as of one checkpoint, some bytes at a time: a `TranscriptReader`, and raises as one."""

    @property
    def size(self) -> int:
        """Number of entries."""
        ...

    def latest(self) -> bytes:
        """The checkpoint, a signed note."""
        ...

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        """Entries start .. stop - 1, a bundle of them in memory."""
        ...

    def tile(self, tile: Tile) -> bytes:
        """The hashes of a tile."""
        ...


def inclusion_of(tree: PublishedTree, index: int) -> list[bytes]:
    """The audit path of entry `index`, leaf side first; raises Misuse if out of range."""
    return [_root_over(tree, *span) for span in inclusion_ranges(tree.size, index)]


def consistency_with(tree: PublishedTree, old: int) -> list[bytes]:
    """The proof that the tree of the first `old` entries is a prefix; empty for none and for all of them. Raises Misuse
    if out of range."""
    return [_root_over(tree, *span) for span in consistency_ranges(tree.size, old)]


def _root_over(tree: PublishedTree, low: int, high: int) -> bytes:
    """The root over leaves low .. high - 1, a subtree of the whole tree: complete ones are in one tile, and one at the
    right edge falls into at most 63 of these."""
    node = b""
    while high > low:
        width = (high - low) & (low - high)  # the lowest bit
        hashed = _complete(tree, high - width, width)
        node = node_hash(hashed, node) if node else hashed
        high -= width
    return node


def _complete(tree: PublishedTree, low: int, width: int) -> bytes:
    """The root over `width` leaves from `low` on: a power of two, of which `low` is a multiple."""
    level = (width.bit_length() - 1) // _LEVELS
    first, count = low >> _LEVELS * level, width >> _LEVELS * level
    index, all_of_level = first // TILE_WIDTH, tree.size >> _LEVELS * level
    tile = Tile(level, index, min(TILE_WIDTH, all_of_level - index * TILE_WIDTH))
    data, start = tree.tile(tile), first - index * TILE_WIDTH
    if len(data) != tile_bytes(tile.width):
        raise Damaged("tile-mismatch", f"{tile.path} of {tile_bytes(tile.width)} bytes", f"{len(data)} bytes")
    return root([data[HASH_BYTES * each : HASH_BYTES * (each + 1)] for each in range(start, start + count)])
