"""The directory itself: any byte, any missing or extra file, any link, and the place is named."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor import Outcome, Report, audit
from protocols.log.files import DEPTH_LIMIT
from tests.auditor.conftest import failed, last_bundle


@pytest.fixture(scope="module")
def transcript(simulations, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    simulation = simulations("quiet")
    return Path(shutil.copytree(simulation.path, tmp_path_factory.mktemp("files") / "t")), simulation.policy_data


@pytest.fixture
def restored(transcript: tuple[Path, bytes]) -> Iterator[tuple[Path, bytes]]:
    """The transcript, put back as it was when the test is over."""
    path, policy = transcript
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    yield path, policy
    for each in path.rglob("*"):
        if (each.is_file() or each.is_symlink()) and (each not in before or each.is_symlink()):
            each.unlink()
    for each in sorted(path.rglob("*"), reverse=True):
        if each.is_dir() and not any(each.iterdir()):
            each.rmdir()
    for each, data in before.items():
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_bytes(data)


def files(path: Path) -> list[Path]:
    return sorted(each for each in path.rglob("*") if each.is_file())


def names(report: Report, path: Path, file: Path) -> bool:
    """Whether a finding names the file."""
    relative = file.relative_to(path).as_posix()
    places = [finding.where for result in report.checks for finding in result.findings]
    return any(relative in where or file.name in where for where in places)


def test_a_flipped_bit_in_any_file_is_found_and_named(restored: tuple[Path, bytes]) -> None:
    path, policy = restored
    rand = random.Random(1)
    for file in files(path):
        data = bytearray(file.read_bytes())
        data[rand.randrange(len(data))] ^= 1 << rand.randrange(8)
        honest = file.read_bytes()
        file.write_bytes(data)
        report = audit(path, policy)
        file.write_bytes(honest)
        assert report.outcome is Outcome.DAMAGED, file
        assert names(report, path, file), file
    assert audit(path, policy).accepted


def test_a_flipped_bit_in_any_entry_is_found_and_named(restored: tuple[Path, bytes]) -> None:
    path, policy = restored
    bundle = last_bundle(path)
    honest = bundle.read_bytes()
    rand = random.Random(2)
    for position in sorted(rand.sample(range(len(honest)), 20)):
        data = bytearray(honest)
        data[position] ^= 1 << rand.randrange(8)
        bundle.write_bytes(data)
        report = audit(path, policy)
        assert report.outcome is Outcome.DAMAGED
        assert "I1" in failed(report)
        assert names(report, path, bundle)


@pytest.mark.parametrize("change", ["delete", "truncate", "extend", "empty", "link", "directory"])
def test_files_that_are_not_what_they_should_be(restored: tuple[Path, bytes], change: str) -> None:
    path, policy = restored
    everything = files(path)
    chosen = [file for file in everything if file.parent.parent.name != "blobs"] + everything[::9]
    if change == "delete":  # a checkpoint that no rule needs is not missed
        chosen = [file for file in chosen if file.parent.name != "checkpoints"]
    for file in dict.fromkeys(chosen):
        honest = file.read_bytes()
        file.unlink()
        if change == "truncate":
            file.write_bytes(honest[:-1])
        elif change == "extend":
            file.write_bytes(honest + b"\0")
        elif change == "empty":
            file.write_bytes(b"")
        elif change == "link":
            target = path.parent / "elsewhere"
            target.write_bytes(honest)
            file.symlink_to(target)
        elif change == "directory":
            file.mkdir()
        report = audit(path, policy, required=["I9"])
        file.rmdir() if change == "directory" else file.unlink(missing_ok=True)
        file.write_bytes(honest)
        if change == "delete" and report.check("I1").notes == ("1 ciphertext pruned",):
            assert failed(report) <= {"I9"}  # none if it is the sum, which can be had again
        else:
            assert report.outcome is Outcome.DAMAGED, (change, file)
            assert names(report, path, file), (change, file)


@pytest.mark.parametrize(
    ("name", "checks"),
    [
        ("notes.txt", {"I1"}),
        ("checkpoint.tmp", {"I1"}),
        ("checkpoints/2", {"I1"}),
        ("checkpoints/007", {"I1"}),
        ("tile/0/001", {"I1"}),
        ("tile/entries/000.p/3", {"I1"}),
        ("blobs/zz/" + "z" * 64, {"I1"}),
        ("blobs/00/" + "0" * 64, {"I12", "P7"}),
        ("blobs/01/" + "0" * 64, {"I1"}),
        ("blobs/00/" + "0" * 64 + "/x", {"I1"}),
        ("a/b/c/d/e/f/g/h/i/j/k/l/m/n/o", {"I1"}),
    ],
)
def test_files_that_nobody_asked_for(restored: tuple[Path, bytes], name: str, checks: set[str]) -> None:
    path, policy = restored
    extra = path / name
    extra.parent.mkdir(parents=True, exist_ok=True)
    extra.write_bytes(b"hello")
    report = audit(path, policy)
    assert (failed(report), report.outcome) == (checks, Outcome.DAMAGED)


STRAYS = (".DS_Store", "Thumbs.db", "desktop.ini", "._checkpoint", "checkpoint~", ".checkpoint.swp", "#checkpoint#")


@pytest.mark.parametrize("folder", ["", "tile", "blobs/00", "checkpoints", "new/folder"])
def test_what_desktops_and_editors_leave_is_a_warning_with_the_command(
    restored: tuple[Path, bytes], folder: str
) -> None:
    path, policy = restored
    before = set(path.rglob("*"))
    (path / folder).mkdir(parents=True, exist_ok=True)
    for name in STRAYS:
        (path / folder / name).write_bytes(b"hello")
    report = audit(path, policy)
    assert report.accepted
    (warning,) = report.check("I1").warnings
    said, command = warning.split(": ", 1)
    assert said == f"{len(STRAYS)} files of a desktop or an editor"
    subprocess.run(["bash", "-c", command], check=True)
    assert {each for each in path.rglob("*") if each.is_file()} == {each for each in before if each.is_file()}
    assert audit(path, policy).accepted


@pytest.mark.parametrize("name", ["DS_Store", "checkpoint.bak", "x.orig", ".x.swq", "thumbs.db", "#x"])
def test_other_files_are_findings(restored: tuple[Path, bytes], name: str) -> None:
    path, policy = restored
    (path / name).touch()
    assert failed(audit(path, policy)) == {"I1"}


def test_a_link_is_never_what_an_editor_left(restored: tuple[Path, bytes]) -> None:
    path, policy = restored
    (path / ".DS_Store").symlink_to("checkpoint")
    assert failed(audit(path, policy)) == {"I1"}


def test_an_empty_directory_is_a_warning_with_the_command(restored: tuple[Path, bytes]) -> None:
    path, policy = restored
    (path / "lost" / "found").mkdir(parents=True)
    report = audit(path, policy)
    assert report.accepted
    (warning,) = report.check("I1").warnings
    assert warning.startswith("1 empty directory, lost/found first: find ")
    subprocess.run(["bash", "-c", warning.split(": ", 1)[1]], check=True)
    assert not (path / "lost").exists()
    assert audit(path, policy).check("I1").warnings == ()


def test_directories_below_each_other_without_end(restored: tuple[Path, bytes]) -> None:
    """More than a path can name: a finding, no fault of the machine."""
    path, policy = restored
    place = path
    for _ in range(DEPTH_LIMIT + 3):
        place /= "d" * 200
    place.mkdir(parents=True)
    assert failed(audit(path, policy)) == {"I1"}
    shutil.rmtree(path / ("d" * 200))


def test_a_file_whose_name_is_no_text(restored: tuple[Path, bytes]) -> None:
    path, policy = restored
    (path / os.fsdecode(b"\xff\x1b[31m")).touch()
    report = audit(path, policy)
    assert failed(report) == {"I1"}
    assert "\x1b" not in report.check("I1").findings[0].where


def test_a_linked_directory_is_not_entered(restored: tuple[Path, bytes]) -> None:
    path, policy = restored
    (path / "blobs").rename(path.parent / "real")
    (path / "blobs").symlink_to(path.parent / "real")
    report = audit(path, policy)
    (path / "blobs").unlink()
    (path.parent / "real").rename(path / "blobs")
    assert "I1" in failed(report)
    assert not report.accepted


def test_the_transcript_itself_may_be_reached_by_a_link(transcript: tuple[Path, bytes], tmp_path: Path) -> None:
    path, policy = transcript
    (tmp_path / "link").symlink_to(path)
    assert audit(tmp_path / "link", policy).accepted
