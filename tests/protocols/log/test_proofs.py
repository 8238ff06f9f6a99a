"""Proofs from the tiles of a log: those of its leaf hashes, of which only some tiles are read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from proofs.errors import Misuse, Rejected
from protocols.log.merkle import consistency_proof, inclusion_proof, leaf_hash
from protocols.log.proofs import consistency_with, inclusion_of
from protocols.log.tiles import Tile, TileStack


class Tree:
    """The tiles of a log of so many entries, and how many were read."""

    def __init__(self, size: int) -> None:
        self.size, self.read = size, list[str]()
        self.hashes = [leaf_hash(b"%d" % index) for index in range(size)]
        stack, self.tiles = TileStack(), dict[str, bytes]()
        for hashed in self.hashes:
            self.tiles |= {tile.path: data for tile, data in stack.append(hashed)}
        self.tiles |= {tile.path: data for tile, data in stack.partial()}

    def latest(self) -> bytes:
        pytest.fail("the checkpoint was read")

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        pytest.fail(f"entries {start} to {stop} were read")

    def tile(self, tile: Tile) -> bytes:
        self.read.append(tile.path)
        return self.tiles[tile.path]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 255, 256, 257, 511, 65_536 + 256 + 3])
def test_they_are_those_of_the_leaves(size: int) -> None:
    tree = Tree(size)
    places = sorted({0, 1, size // 3, size // 2, 254, 255, 256, 65_535, 65_536, size - 2, size - 1})
    for place in (each for each in places if 0 <= each < size):
        tree.read.clear()
        if size < 1000 or place in (255, size - 1):  # the other way is slow
            assert inclusion_of(tree, place) == inclusion_proof(tree.hashes, place)
            assert consistency_with(tree, place) == consistency_proof(tree.hashes, place)
        assert len(inclusion_of(tree, place)) <= size.bit_length()
        assert len(set(tree.read)) <= 2 * (1 + size.bit_length() // 8), "two of each level at most"
    assert consistency_with(tree, size) == []


def test_misuse_and_a_tile_of_another_length() -> None:
    tree = Tree(300)
    for index in (-1, 300):
        with pytest.raises(Misuse, match=r"index: expected 0 \.\. 299"):
            inclusion_of(tree, index)
    with pytest.raises(Misuse, match=r"old: expected 0 \.\. 300"):
        consistency_with(tree, 301)
    tree.tiles["tile/0/000"] = tree.tiles["tile/0/000"][:-1]
    with pytest.raises(Rejected) as refused:
        inclusion_of(tree, 5)
    assert (refused.value.check, refused.value.found) == ("tile-mismatch", "8191 bytes")
