"""Reading transcripts that somebody else wrote: every file is checked, and nothing makes the reader fall over."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.merkle import leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import BUNDLE_LIMIT, Bundle, Piece, TileStack, blob_path, encode_bundle
from tests.protocols.log.transcripts import LOG, ORIGIN, POLICY, blob, blob_hashes, build, contents, entry

SIZE = 300
BLOBS = blob_hashes(SIZE)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "transcript"
    build(path, 5, 256, 280, SIZE)
    return path


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "transcript"))


def account(path: Path) -> None:
    """What an auditor does with the files of a transcript, signatures aside."""
    reader = TranscriptReader(path)
    if reader.note(reader.size) != reader.latest():
        raise Rejected("checkpoint", "the latest under its size", "another")
    roots = reader.roots([size for size in reader.checkpoints() if size <= reader.size])
    for size, expected in roots.items():
        assert reader.note(size) == sign_checkpoint(Checkpoint(ORIGIN, size, expected), ORIGIN, LOG)
    known = reader.expected_files(reader.size, BLOBS)
    for name in reader.files():
        if name not in known:
            raise Rejected("file-unknown", "known files", name)
    for size, piece in reader.earlier():
        if reader.earlier_piece(piece, 2**16) != expected_piece(size, piece):
            raise Rejected("earlier", "what it was", "another")
    for hashed in BLOBS:
        reader.blob(hashed, 1000)
    if hashlib.sha256(reader.policy()).digest() not in BLOBS:
        raise Rejected("policy", "the policy", "another")


def expected_piece(size: int, piece: Piece) -> bytes:
    if isinstance(piece, Bundle):
        return encode_bundle([entry(number) for number in range(piece.start, piece.start + piece.width)])
    stack = TileStack()
    for number in range(size):
        stack.append(leaf_hash(entry(number)))
    return dict(stack.partial())[piece]


def test_everything_can_be_read(original: Path) -> None:
    reader = TranscriptReader(original)
    assert reader.size == SIZE
    assert reader.checkpoints() == [5, 256, 280, SIZE]
    assert reader.note(SIZE) == reader.latest()
    assert reader.policy() == POLICY
    assert reader.entries(250, 260) == [entry(number) for number in range(250, 260)]
    assert reader.entries(7, 7) == []
    assert reader.entries(0, SIZE) == [one for entries in reader.replay() for one in entries]
    assert reader.has_blob(BLOBS[3])
    assert reader.blob(BLOBS[3], 1000) == blob(100)
    account(original)


def test_roots_at_any_size(original: Path) -> None:
    hashes = [leaf_hash(entry(number)) for number in range(SIZE)]
    found = TranscriptReader(original).roots([0, 1, 5, 255, 256, 257, SIZE])
    assert found == {size: root(hashes[:size]) for size in (0, 1, 5, 255, 256, 257, SIZE)}
    for bad in (-1, SIZE + 1):
        with pytest.raises(Misuse, match="sizes"):
            TranscriptReader(original).roots([bad])
    for start, stop in ((-1, 3), (3, 2), (0, SIZE + 1)):
        with pytest.raises(Misuse, match="entries"):
            TranscriptReader(original).entries(start, stop)


def test_expected_files_account_for_every_file(original: Path) -> None:
    reader = TranscriptReader(original)
    assert reader.expected_files(SIZE, BLOBS) == set(reader.files()) == set(contents(original))


@pytest.mark.parametrize("change", ["flip", "cut", "extend", "remove"])
def test_a_change_to_any_file_is_found(original: Path, copy: Path, change: str) -> None:
    for name, data in contents(original).items():
        file = copy / name
        match change:
            case "flip":
                file.write_bytes(
                    data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
                )
            case "cut":
                file.write_bytes(data[:-1])
            case "extend":
                file.write_bytes(data + b"\x00")
            case "remove":
                file.unlink()
        try:
            if change == "remove" and name in ("checkpoints/5", "checkpoints/256"):
                account(copy)  # an older checkpoint may be missing; nothing of the tree is for it alone
            else:
                with pytest.raises((Rejected, Malformed, AssertionError)):
                    account(copy)
        finally:
            file.write_bytes(data)
    account(copy)


ADDITIONS = [
    "notes.txt",
    "checkpoint.tmp",
    "checkpoints/301",
    "checkpoints/05",
    "checkpoints/x",
    "tile/0/001.p/43",
    "tile/0/000.p/5",
    "tile/2/000.p/1",
    "tile/entries/002",
    "blobs/00/" + "00" * 32,
    "blobs/" + BLOBS[2].hex(),
    ".hidden",
    "deep/" * 30 + "file",
]


@pytest.mark.parametrize("name", ADDITIONS)
def test_an_added_file_is_found(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(parents=True, exist_ok=True)
    (copy / name).write_bytes(b"more")
    with pytest.raises(Rejected) as caught:
        account(copy)
    assert caught.value.check == "file-unknown"


def test_a_name_that_is_not_utf_8_is_found(copy: Path) -> None:
    Path(os.fsdecode(bytes(copy) + b"/\xff\xfe")).write_bytes(b"")
    assert "\\xff\\xfe" in set(TranscriptReader(copy).files())


def replace_by_symlink(file: Path) -> None:
    file.rename(file.with_name("moved"))
    file.symlink_to(file.with_name("moved"))


def replace_by_fifo(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def replace_by_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


def replace_parent_by_symlink(file: Path) -> None:
    shutil.move(file.parent, file.parent.with_name("moved"))
    file.parent.symlink_to(file.parent.with_name("moved"))


def replace_parent_by_file(file: Path) -> None:
    shutil.rmtree(file.parent)
    file.parent.write_bytes(b"")


@pytest.mark.parametrize(
    "replace",
    [replace_by_symlink, replace_by_fifo, replace_by_directory, replace_parent_by_symlink, replace_parent_by_file],
)
@pytest.mark.parametrize("name", ["tile/entries/000", "tile/0/001.p/44", "checkpoints/300", blob_path(BLOBS[2])])
def test_only_regular_files_are_read(copy: Path, name: str, replace: Callable[[Path], None]) -> None:
    reader = TranscriptReader(copy)
    replace(copy / name)
    read = {"tile": lambda: list(reader.replay()), "checkpoints": lambda: reader.note(SIZE)}
    with pytest.raises(Rejected) as caught:
        read.get(name.partition("/")[0], lambda: reader.blob(BLOBS[2], 1000))()
    assert caught.value.check == ("blob-kind" if name.startswith("blobs") else "file-kind")
    assert not (name.startswith("blobs") and reader.has_blob(BLOBS[2]))


def test_directories_that_lead_outside_are_not_followed(copy: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    (copy / "linked").symlink_to(outside)
    assert "linked" in set(TranscriptReader(copy).files())
    shutil.rmtree(copy / "checkpoints")
    (copy / "checkpoints").symlink_to(outside)
    assert TranscriptReader(copy).checkpoints() == []


def test_blobs(copy: Path) -> None:
    reader = TranscriptReader(copy)
    path = copy / "blobs" / BLOBS[2].hex()[:2] / BLOBS[2].hex()
    assert reader.blob(BLOBS[2], len(blob(50))) == blob(50)
    for contents_now, check in ((blob(50) + b"x", "blob-size"), (blob(50)[:-1], "blob-hash"), (b"", "blob-hash")):
        path.write_bytes(contents_now)
        with pytest.raises(Rejected) as caught:
            reader.blob(BLOBS[2], len(blob(50)))
        assert caught.value.check == check
        assert reader.has_blob(BLOBS[2])
    path.unlink()
    with pytest.raises(Rejected) as caught:
        reader.blob(BLOBS[2], 1000)
    assert caught.value.check == "blob-missing"
    assert not reader.has_blob(BLOBS[2])


def test_sizes_are_checked_before_reading(copy: Path) -> None:
    for name, size in (
        ("tile/entries/000", BUNDLE_LIMIT + 1),
        ("tile/0/000", 8193),
        ("checkpoint", 1 << 40),
        ("policy.cbor", 1 << 40),
    ):
        os.truncate(copy / name, size)  # sparse
    reader = TranscriptReader(copy)
    for read in (reader.latest, reader.policy):
        with pytest.raises(Rejected) as caught:
            read()
        assert caught.value.check == "file-size"
    shutil.copy(copy / "checkpoints" / "300", copy / "checkpoint")
    for _ in range(2):
        with pytest.raises(Rejected, match="tile/entries/000") as caught:
            list(reader.replay())
        assert caught.value.check == "file-size"


def test_a_checkpoint_of_a_size_that_is_not_true(copy: Path) -> None:
    for size in (301, 557, 10**6, 2**63 - 1):
        (copy / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, size, bytes(32)), ORIGIN, LOG))
        reader = TranscriptReader(copy)
        for call in (lambda: list(reader.replay()), lambda: reader.expected_files(size, [])):  # noqa: B023
            with pytest.raises(Rejected) as caught:
                call()
            assert caught.value.check == "file-missing"


def test_a_checkpoint_of_another_root(copy: Path) -> None:
    (copy / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, SIZE, bytes(32)), ORIGIN, LOG))
    with pytest.raises(Rejected) as caught:
        list(TranscriptReader(copy).replay())
    assert caught.value.check == "checkpoint-root"


def test_an_empty_directory(tmp_path: Path) -> None:
    reader = TranscriptReader(tmp_path)
    assert list(reader.files()) == reader.checkpoints() == []
    with pytest.raises(Rejected) as caught:
        list(reader.replay())
    assert caught.value.check == "file-missing"
    with pytest.raises(FileNotFoundError):
        TranscriptReader(tmp_path / "nowhere").latest()


@given(st.binary(max_size=200), st.sampled_from(["checkpoint", "tile/entries/001.p/44", "tile/1/000.p/1"]))
@settings(max_examples=60, deadline=None)
def test_reading_is_total(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / "total" / "transcript"
    if not path.exists():
        build(path, SIZE)
    saved = (path / name).read_bytes()
    (path / name).write_bytes(data)
    try:
        with pytest.raises((Malformed, Rejected)):
            list(TranscriptReader(path).replay())
    finally:
        (path / name).write_bytes(saved)
