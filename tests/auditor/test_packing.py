"""A transcript as one file: audited in place, the same bytes for the same directory, and nothing but the one form."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from auditor import audit
from auditor.cli import main
from auditor.packing import pack, unpack
from auditor.reports.results import Outcome
from proofs.errors import Malformed, Misuse
from protocols.log import packed as packed_module
from protocols.log.files import Damaged, LocalDirectory
from protocols.log.packed import PackedDirectory, PackedFile, require_name, tail

FILES = {"a": b"", "a.b/c": b"one", "a0": b"two" * 20, "tile/0/000.p/7": bytes(range(40)), "tile/0/001": b"x"}
FOLDERS = ("blobs/ff", "checkpoints")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    for name in FOLDERS:
        (root / name).mkdir(parents=True)
    return root


@pytest.fixture
def archive(folder: Path) -> Path:
    pack(folder, folder.parent / "archive")
    return folder.parent / "archive"


def tree(root: Path) -> dict[str, bytes | None]:
    return {str(each.relative_to(root)): each.read_bytes() if each.is_file() else None for each in root.rglob("*")}


# ---- there and back --------------------------------------------------------------------------------------------------


def test_a_directory_comes_back(folder: Path, archive: Path, tmp_path: Path) -> None:
    assert unpack(archive, tmp_path / "back") == len(FILES)
    assert tree(tmp_path / "back") == tree(folder)


def test_the_same_directory_gives_the_same_bytes(folder: Path, archive: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for name in reversed([*FILES, *FOLDERS]):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if name in FILES:
            (copy / name).write_bytes(FILES[name])
            (copy / name).chmod(0o600)
        else:
            (copy / name).mkdir(parents=True)
    assert pack(copy, tmp_path / "second").hash == pack(folder, tmp_path / "third").hash
    assert (tmp_path / "second").read_bytes() == archive.read_bytes()


def test_others_read_it(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist() if not name.endswith("/")} == FILES
        assert [name for name in opened.namelist() if name.endswith("/")] == [f"{name}/" for name in FOLDERS]
    if shutil.which("unzip"):
        done = subprocess.run(["unzip", "-q", str(archive), "-d", str(tmp_path / "by")], check=False, timeout=60)
        assert done.returncode == 0
        assert {name: (tmp_path / "by" / name).read_bytes() for name in FILES} == FILES


def test_it_is_a_directory_like_any_other(folder: Path, archive: Path) -> None:
    ours, theirs = PackedDirectory(archive), LocalDirectory(folder)
    assert sorted(ours.walk()) == sorted(theirs.walk())
    assert sorted(ours.empty()) == sorted(theirs.empty())
    for path in ("tile", "tile/0", "tile/0/000.p", "a.b", "nothing", "blobs", "checkpoints", "a"):
        assert ours.names(path) == theirs.names(path)
        assert ours.occupied(path) == theirs.occupied(path)
        assert ours.has(path) == theirs.has(path)
    assert ours.numbered("tile/0/000.p", 9) == theirs.numbered("tile/0/000.p", 9) == [7]
    assert ours.numbered("tile/0/000.p", 6) == theirs.numbered("tile/0/000.p", 6) == []
    for path, data in FILES.items():
        assert ours.read(path, len(data)) == theirs.read(path, len(data)) == data
        assert ours.is_named(path, bytes(32)) is False
    for path, limit, check in (("nothing", 9, "file-missing"), ("tile", 9, "file-kind"), ("a0", 59, "file-size")):
        for directory in (ours, theirs):
            with pytest.raises(Damaged) as excinfo:
                directory.read(path, limit)
            assert excinfo.value.check == check


# ---- audits ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def transcript(simulations, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    made = tmp_path_factory.mktemp("packed")
    (made / "policy.cbor").write_bytes(simulations("quiet").policy_data)
    pack(simulations("quiet").path, made / "transcript.zip")
    return made / "transcript.zip", made / "policy.cbor"


def test_it_is_audited_in_place(simulations, transcript: tuple[Path, Path]) -> None:
    file, policy = transcript
    of_file, of_directory = audit(file, policy).to_dict(), audit(simulations("quiet").path, policy).to_dict()
    for report in (of_file, of_directory):
        del report["transcript"], report["seconds"]
    assert of_file == of_directory
    assert of_file["accepted"]


def test_the_commands_take_it(simulations, transcript: tuple[Path, Path], tmp_path: Path) -> None:
    file, policy = transcript
    directory = simulations("quiet").path
    assert run(file, "--policy", policy).exit_code == 0
    assert run(file, "--unpinned").exit_code == 0
    assert run("compare", file, directory, "--policy", policy).exit_code == 0
    assert run("compare", directory, file, "--policy", policy).exit_code == 0
    assert run("follow", file, "--policy", policy, "--once", "--state", tmp_path / "state").exit_code == 0
    made = run("pack", directory, tmp_path / "again.zip")
    assert (made.exit_code, made.stdout.strip()) == (0, sha256(file.read_bytes()).hexdigest())
    assert run("unpack", tmp_path / "again.zip", tmp_path / "back").exit_code == 0
    assert tree(tmp_path / "back") == tree(directory)


def test_damage_inside_is_damage(transcript: tuple[Path, Path], tmp_path: Path) -> None:
    file, policy = transcript
    with zipfile.ZipFile(file) as opened:
        infos = {info.filename: info for info in opened.infolist()}
    for name in ("checkpoint", next(name for name in infos if name.startswith("blobs"))):
        data = bytearray(file.read_bytes())
        data[infos[name].header_offset + 50 + len(name) + 3] ^= 1
        (tmp_path / "damaged").write_bytes(data)
        report = audit(tmp_path / "damaged", policy)
        assert report.outcome is Outcome.DAMAGED, name
        assert "archive-crc" in str(report)
        assert run("unpack", tmp_path / "damaged", tmp_path / "back").exit_code == 1
        assert not (tmp_path / "back").exists()


# ---- one form --------------------------------------------------------------------------------------------------------


def read_whole(archive: Path) -> dict[str, bytes]:
    opened = PackedDirectory(archive)
    return {path: opened.read(path, 1 << 20) for path in opened.walk()}


def test_every_changed_bit_is_noticed(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    seen = set[str]()
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << place % 8
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises((Misuse, Damaged)) as excinfo:
            read_whole(tmp_path / "changed")
        seen.add(excinfo.value.check if isinstance(excinfo.value, Damaged) else "misuse")
    assert seen == {"archive-header", "archive-crc", "misuse"}


def test_every_cut_and_every_addition_is_noticed(archive: Path, tmp_path: Path) -> None:
    data = archive.read_bytes()
    for changed in (*(data[:size] for size in range(0, len(data), 5)), data + b"\0", b"\0" + data, data + data):
        (tmp_path / "changed").write_bytes(changed)
        with pytest.raises(Misuse, match="is no transcript that `verifl-audit pack` made"):
            PackedDirectory(tmp_path / "changed")


def made_of(
    path: Path, files: list[tuple[bytes, bytes]], change: Callable[[PackedFile], PackedFile] = lambda x: x
) -> Path:
    """An archive of these files, as they come, whatever their names."""
    data, entries = b"", b""
    for name, content in files:
        file = PackedFile(name, len(content), zlib.crc32(content), len(data))
        data += file.header + content
        entries += change(file).entry
    path.write_bytes(data + entries + tail(len(files), len(data), len(entries)))
    return path


@pytest.mark.parametrize(
    "names",
    [
        [b"b", b"a"],
        [b"a", b"a"],
        [b"a", b"a/b"],
        [b"a", b"a.b", b"a/b"],
        [b"a/", b"a/ b"],
        [b"a", b"a/"],
        [b"/a"],
        [b"a//b"],
        [b"./a"],
        [b"a/../b"],
        [b".."],
        [b"a\\b"],
        [b"a\x00"],
        [b"a\nb"],
        [b"\xc3\xa9"],
        [b""],
        [b"/"],
        [b"x" * 1025],
        [b"/".join([b"x"] * 14)],
    ],
)
def test_names_that_no_directory_has(names: list[bytes], tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="is no transcript"):
        PackedDirectory(made_of(tmp_path / "made", [(name, b"") for name in names]))


def test_names_that_are_fine(tmp_path: Path) -> None:
    names = [b"a", b"a b", b"a.b/", b"a0", "/".join("x" * 13).encode(), b"y" * 1024]
    found = PackedDirectory(made_of(tmp_path / "made", [(name, b"") for name in names]))
    assert list(found.walk()) == [name.decode() for name in names if not name.endswith(b"/")]
    assert list(found.empty()) == ["a.b"]


def test_a_directory_with_content(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="an empty directory"):
        PackedDirectory(made_of(tmp_path / "made", [(b"a/", b"content")]))


@pytest.mark.parametrize("size", [0, 2, 4, 1 << 40, 1 << 62, (1 << 64) - 1])
def test_sizes_that_do_not_add_up(size: int, tmp_path: Path) -> None:
    def lie(file: PackedFile) -> PackedFile:
        return PackedFile(file.name, size, file.crc, file.start)

    with pytest.raises(Misuse, match="is no transcript"):
        PackedDirectory(made_of(tmp_path / "made", [(b"a", b"one")], lie))


def test_files_that_overlap(tmp_path: Path) -> None:
    """Two names for the same bytes: a small archive of a large directory."""

    def first(file: PackedFile) -> PackedFile:
        return PackedFile(file.name, file.size, file.crc, 0)

    with pytest.raises(Misuse, match="an entry of the one form"):
        PackedDirectory(made_of(tmp_path / "made", [(b"a", b"one"), (b"b", b"one")], first))


@pytest.mark.parametrize(("count", "length"), [(1 << 40, 0), (2**64 - 1, 0), (0, 2**64 - 1), (5, 0), (0, 5)])
def test_counts_that_are_lies(count: int, length: int, tmp_path: Path) -> None:
    (tmp_path / "made").write_bytes(tail(count, 0, length))
    with pytest.raises(Misuse, match="is no transcript"):
        PackedDirectory(tmp_path / "made")


def test_an_index_that_is_too_long(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    length = struct.unpack_from("<Q", archive.read_bytes(), archive.stat().st_size - 98 + 40)[0]
    monkeypatch.setattr(packed_module, "INDEX_LIMIT", length)
    PackedDirectory(archive)
    monkeypatch.setattr(packed_module, "INDEX_LIMIT", length - 1)
    with pytest.raises(Misuse, match="central directory"):
        PackedDirectory(archive)


def test_an_archive_that_shrinks_while_it_is_open(archive: Path) -> None:
    opened = PackedDirectory(archive)
    os.truncate(archive, archive.stat().st_size // 3)
    with pytest.raises(Damaged) as excinfo:
        opened.read("tile/0/001", 1 << 20)
    assert excinfo.value.check == "archive-header"


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes(data: bytes) -> None:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as place:
        for content in (data, b"PK\x03\x04" + data, data + tail(1, len(data), 0), data + tail(1, 0, len(data))):
            (Path(place) / "x").write_bytes(content)
            with pytest.raises(Misuse):
                PackedDirectory(Path(place) / "x")


# ---- usage -----------------------------------------------------------------------------------------------------------


def test_what_cannot_be_packed(folder: Path, tmp_path: Path) -> None:
    (folder / "link").symlink_to("a")
    with pytest.raises(Misuse, match="link: is no regular file"):
        pack(folder, tmp_path / "out")
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(Misuse, match="pipe: is no regular file"):
        pack(folder, tmp_path / "out")
    (folder / "pipe").unlink()
    (folder / "\u00e9").touch()
    with pytest.raises(Misuse, match="printable ASCII"):
        pack(folder, tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder"]


def test_nothing_is_overwritten_and_nothing_left(folder: Path, archive: Path, tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="exists, and is not overwritten"):
        pack(folder, archive)
    with pytest.raises(Misuse, match="lies inside the transcript"):
        pack(folder, folder / "archive")
    with pytest.raises(Misuse, match="exists; choose another name"):
        unpack(archive, folder)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["archive", "folder"]


def test_a_file_that_grows_while_it_is_packed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = PackedFile.header.fget

    def grow(file: PackedFile) -> bytes:
        if file.name == b"a0":
            (folder / "a0").write_bytes(b"longer" * 1000)
        return header(file)

    monkeypatch.setattr(PackedFile, "header", property(grow))
    with pytest.raises(Misuse, match="changes while it is packed"):
        pack(folder, tmp_path / "out")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder"]


def test_usage_of_the_commands(folder: Path, archive: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (["pack", folder, archive], "exists, and is not overwritten"),
        (["pack", archive, tmp_path / "x"], "is a file; give the directory"),
        (["pack", tmp_path / "nothing", tmp_path / "x"], "cannot read"),
        (["unpack", folder / "a0", tmp_path / "x"], "is no transcript that `verifl-audit pack` made"),
        (["unpack", tmp_path / "nothing", tmp_path / "x"], "cannot read"),
        ([folder / "a0", "--unpinned"], "a transcript is a directory"),
    ):
        result = run(*arguments)
        assert (result.exit_code, words in result.stderr, result.stderr.count("\n")) == (2, True, 1), result.stderr


@pytest.mark.parametrize("name", ["a/b", "a", "x y", "a/"])
def test_names_of_an_archive(name: str) -> None:
    assert require_name(name) == name.encode()


@pytest.mark.parametrize("name", ["", "/", "a//", "../a", "a\\b", "a\tb", "\x7f"])
def test_no_names_of_an_archive(name: str) -> None:
    with pytest.raises(Malformed):
        require_name(name)
