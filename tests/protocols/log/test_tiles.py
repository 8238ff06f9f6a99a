"""The tlog-tiles layout: paths, which tiles a size has, entry bundles."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse
from protocols.log.merkle import leaf_hash, root
from protocols.log.tiles import (
    Bundle,
    Tile,
    TileStack,
    blob_path,
    bundle_of,
    bundles,
    decode_bundle,
    encode_bundle,
    note_path,
    partial_pieces,
    tiles,
    tree_paths,
)


def test_paths() -> None:
    assert Tile(0, 1234067, 256).path == "tile/0/x001/x234/067"
    assert Tile(3, 67, 256).path == "tile/3/067"
    assert Tile(1, 999, 1).path == "tile/1/999.p/1"
    assert Tile(1, 1000, 255).path == "tile/1/x001/000.p/255"
    assert Bundle(1234067, 256).path == "tile/entries/x001/x234/067"
    assert Bundle(0, 9).path == "tile/entries/000.p/9"
    assert note_path(12) == "checkpoints/12"
    assert blob_path(b"\xab" * 32) == "blobs/ab/" + "ab" * 32


def test_tiles_of_the_sizes_in_the_specification() -> None:
    """C2SP tlog-tiles: 70,000 entries, and 256."""
    found = list(tiles(70000))
    assert [tile for tile in found if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert sum(tile.level == 0 and tile.width == 256 for tile in found) == 273
    assert sum(tile.level == 1 and tile.width == 256 for tile in found) == 1
    assert len(found) == 273 + 1 + 3
    assert list(tiles(256)) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert list(tiles(0)) == list(bundles(0)) == list(tree_paths(0)) == []


@pytest.mark.parametrize("size", [1, 255, 256, 257, 511, 512, 65535, 65536, 65537])
def test_bundles_cover_the_log(size: int) -> None:
    found = list(bundles(size))
    assert sum(bundle.width for bundle in found) == size
    assert all(bundle.start == 256 * position for position, bundle in enumerate(found))
    for index in {0, size - 1, size // 2}:
        assert bundle_of(index, size) == found[index // 256]
    assert len(set(tree_paths(size))) == len(list(tree_paths(size))) == len(found) + len(list(tiles(size)))


def test_a_stack_gives_the_tiles_of_every_size() -> None:
    hashes = [leaf_hash(number.to_bytes(4, "big")) for number in range(66000)]
    by_path: dict[str, bytes] = {}
    stack = TileStack()
    for size, hashed in enumerate(hashes, 1):
        by_path |= {tile.path: data for tile, data in stack.append(hashed)}
        if size in (1, 255, 256, 257, 65535, 65536, 65537, 66000):
            now = by_path | {tile.path: data for tile, data in stack.partial()}
            assert set(now) == {tile.path for tile in tiles(size)}
            assert all(len(now[tile.path]) == 32 * tile.width for tile in tiles(size))
    assert by_path["tile/0/001"] == b"".join(hashes[256:512])
    assert by_path["tile/1/000"][32:64] == root(hashes[256:512])
    final = {tile.path: data for tile, data in stack.partial()}
    assert final["tile/2/000.p/1"] == root(hashes[:65536])
    twin = stack.copy()
    twin.append(hashes[0])
    assert {tile.path: data for tile, data in stack.partial()} == final


@given(st.lists(st.binary(max_size=300), max_size=8))
@settings(max_examples=50, deadline=None)
def test_bundle_round_trip(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), Bundle(0, len(entries))) == entries


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x01", b"\x00\x01a", b"\x00\x01a\x00", b"\x00\x01a\x00\x02b", b"\x00\x00\x00\x00\x00"]
)
def test_bundles_of_another_number_of_entries_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        decode_bundle(data, Bundle(3, 2))
    assert caught.value.where == "tile/entries/003.p/2"


def test_entries_have_at_most_65535_bytes() -> None:
    assert decode_bundle(encode_bundle([bytes(65535)]), Bundle(0, 1)) == [bytes(65535)]
    with pytest.raises(Misuse, match="65535"):
        encode_bundle([bytes(65536)])


@given(st.one_of(st.integers(0, 1 << 17), st.sampled_from([256, 257, 65536, 65537, 1 << 17])))
@settings(max_examples=40)
def test_partial_pieces_are_those_of_the_tree(size: int) -> None:
    assert [piece.path for piece in partial_pieces(size)] == [path for path in tree_paths(size) if ".p/" in path]


def test_partial_pieces_of_the_largest_tree() -> None:
    """One a level, found at once."""
    assert len(list(partial_pieces((1 << 63) - 1))) == 9
