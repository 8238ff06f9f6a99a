"""Who may change a directory, or put another in its place."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from proofs.machine import trusted_paths
from proofs.machine.trusted_paths import require_unshared_file, trusted_directory

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no POSIX permissions")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_missing_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = trusted_directory(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)
    assert path == tmp_path.resolve() / "a" / "b" / "c"
    assert [mode(path), mode(path.parent), mode(path.parent.parent)] == [0o700] * 3


def test_links_are_followed_and_the_real_place_is_given(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("real/../real/inner")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative")
    assert trusted_directory(tmp_path / "absolute" / ".." / "new") == tmp_path.resolve() / "real" / "new"
    assert trusted_directory(tmp_path / "absolute") == (tmp_path / "real" / "inner").resolve()


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("place", ["a", "a/b", "a/b/c", "side", "side/target"])
def test_any_directory_on_the_way_that_others_can_write(tmp_path: Path, place: str, bits: int) -> None:
    """Above, below, and on both sides of a link."""
    (tmp_path / "side" / "target" / "c").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").symlink_to(tmp_path / "side" / "target")
    path = tmp_path / "a" / "b" / "c"
    assert trusted_directory(path) == (tmp_path / "side" / "target" / "c").resolve()
    (tmp_path / place).chmod(bits)
    with pytest.raises(PermissionError, match=f"is writable by others, mode 0{bits:o}") as caught:
        trusted_directory(path)
    assert Path(caught.value.filename).samefile(tmp_path / place)


def test_a_sticky_directory_may_be_on_the_way_and_not_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "shared" / "own").mkdir(parents=True)
    (tmp_path / "shared").chmod(0o1777)
    assert trusted_directory(tmp_path / "shared" / "own") == tmp_path.resolve() / "shared" / "own"
    with pytest.raises(PermissionError, match="mode 1777"):
        trusted_directory(tmp_path / "shared")
    (tmp_path / "shared" / "own").chmod(0o1777)
    with pytest.raises(PermissionError, match="mode 1777"):
        trusted_directory(tmp_path / "shared" / "own")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("foreign", ["shared", "shared/own", "shared/own/inner", "shared/link"])
def test_what_belongs_to_others(tmp_path: Path, foreign: str) -> None:
    (tmp_path / "shared" / "own" / "inner").mkdir(parents=True)
    (tmp_path / "shared" / "link").symlink_to("own")
    (tmp_path / "shared").chmod(0o1777)
    path = tmp_path / "shared" / "link" / "inner"
    assert trusted_directory(path) == tmp_path.resolve() / "shared" / "own" / "inner"
    os.chown(tmp_path / foreign, 4242, -1, follow_symlinks=False)
    with pytest.raises(PermissionError, match="belongs to user 4242"):
        trusted_directory(path)


def test_no_directories(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for path, error in (
        (tmp_path / "file", "Not a directory"),
        (tmp_path / "file" / "below", "Not a directory"),
        (tmp_path / "loop", "Too many levels"),
        (Path("relative"), "expected an absolute path"),
    ):
        with pytest.raises(OSError, match=error):
            trusted_directory(path)


def test_a_file_that_others_could_have_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch(mode=0o644)
    require_unshared_file(file, file.stat())
    for bits in (0o664, 0o646):
        file.chmod(bits)
        with pytest.raises(PermissionError, match="writable by others"):
            require_unshared_file(file, file.stat())
    file.chmod(0o600)
    with pytest.raises(OSError, match="expected a regular file"):
        require_unshared_file(tmp_path, tmp_path.stat())
    owner = file.stat().st_uid
    monkeypatch.setattr(trusted_paths.os, "getuid", lambda: owner + 1)
    if owner:
        with pytest.raises(PermissionError, match=f"belongs to user {owner}"):
            require_unshared_file(file, file.stat())
