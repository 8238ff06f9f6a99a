"""A client of a static file server, written from C2SP tlog-tiles: it can go on from whatever checkpoint it holds."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.log.tiles import Tile, earlier_pieces, partial_pieces
from tests.protocols.log.transcripts import build, extend, open_writer

Fetch = Callable[[str], bytes | None]
GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("*/transcript"))


def served(root: Path) -> Fetch:
    """What the files of a directory are to a client: bytes, or status 404."""
    return lambda path: (root / path).read_bytes() if (root / path).is_file() else None


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def subtree(hashes: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, over hashes that are all there."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << (len(hashes) - 1).bit_length() - 1
    return node(subtree(hashes[:split]), subtree(hashes[split:]))


def tile_path(level: str, index: int, width: int) -> str:
    assert index < 1000
    return f"tile/{level}/{index:03d}" + ("" if width == 256 else f".p/{width}")


def fetch_tile(fetch: Fetch, level: str, index: int, width: int) -> bytes:
    """The tile that a checkpoint requires; where it is gone, the full one in its place, which is all a log may do."""
    data = fetch(tile_path(level, index, width))
    full = fetch(tile_path(level, index, 256)) if data is None else data
    assert full is not None, f"{tile_path(level, index, width)}: neither this nor the full one is served"
    return full


def hashes_of(fetch: Fetch, level: int, size: int) -> list[bytes]:
    count, found = size >> 8 * level, list[bytes]()
    for index in range(-(-count // 256)):
        width = min(256, count - 256 * index)
        data = fetch_tile(fetch, str(level), index, width)
        found += [data[32 * place : 32 * place + 32] for place in range(width)]
    return found


def entries_of(fetch: Fetch, size: int) -> list[bytes]:
    found = list[bytes]()
    for index in range(-(-size // 256)):
        width, position = min(256, size - 256 * index), 0
        data = fetch_tile(fetch, "entries", index, width)
        for _ in range(width):
            length = int.from_bytes(data[position : position + 2], "big")
            found.append(data[position + 2 : position + 2 + length])
            position += 2 + length
    return found


def go_on_from(fetch: Fetch, note: bytes) -> int:
    """All entries and tiles of a checkpoint, and that they are what its root stands for; its size."""
    _, size, root, *_ = note.decode().split("\n")
    leaves = hashes_of(fetch, 0, int(size))
    assert [hashlib.sha256(b"\0" + entry).digest() for entry in entries_of(fetch, int(size))] == leaves
    assert subtree(leaves) == base64.b64decode(root)
    level, below = 1, leaves
    while len(below) >= 256:
        above = hashes_of(fetch, level, int(size))
        assert above == [subtree(below[256 * place : 256 * place + 256]) for place in range(len(below) // 256)]
        level, below = level + 1, above
    return int(size)


def test_every_published_checkpoint_after_every_publication(tmp_path: Path) -> None:
    fetch, held = served(tmp_path / "log"), list[bytes]()
    sizes = [1, 3, 12, 255, 256, 257, 300, 511, 512, 513, 770]
    with open_writer(tmp_path / "log") as writer:
        for number, size in enumerate(sizes):
            extend(writer, size)
            note = fetch("checkpoint")
            assert note is not None
            held.append(note)
            assert [go_on_from(fetch, each) for each in held] == sizes[: number + 1]
    notes = [fetch(f"checkpoints/{size}") for size in sizes]
    assert notes == held


def test_what_is_full_is_not_kept_twice(tmp_path: Path) -> None:
    build(tmp_path / "log", 3, 12, 255, 256, 257, 300)
    partial = {path.relative_to(tmp_path / "log").as_posix() for path in tmp_path.rglob("*.p/*")}
    assert partial == {
        "tile/0/001.p/1",
        "tile/0/001.p/44",
        "tile/1/000.p/1",
        "tile/entries/001.p/1",
        "tile/entries/001.p/44",
    }


@pytest.mark.parametrize("transcript", GOLDEN, ids=lambda path: path.parent.name)
def test_every_published_checkpoint_of_a_federation(transcript: Path) -> None:
    notes = sorted((transcript / "checkpoints").iterdir(), key=lambda path: int(path.name))
    assert len(notes) >= 5
    for path in notes:
        assert go_on_from(served(transcript), path.read_bytes()) == int(path.name)


SIZES = st.integers(1, 2**10) | st.integers(1, 2**17) | st.integers(1, 2**40)


@given(st.lists(SIZES, min_size=1, max_size=8), SIZES)
def test_every_size_keeps_what_it_needs(sizes: list[int], latest: int) -> None:
    """At sizes that nobody can write out in a test: by the edge, where alone something can be missing."""
    kept = {piece.path for piece in partial_pieces(latest)} | {piece.path for _, piece in earlier_pieces(sizes, latest)}
    for size in sizes:
        for piece in partial_pieces(size) if size <= latest else ():
            level = piece.level if isinstance(piece, Tile) else 0
            full = (latest >> 8 * level) // 256 > piece.index
            assert piece.is_full_at(latest) == full
            assert (piece.path in kept) != full or piece.path in {each.path for each in partial_pieces(latest)}
