"""Files that hold secrets: whose they may be, and how they are opened so that nothing is swapped on the way.

A directory of secrets is opened once for each use, without following a link in its own place, and what was opened is
checked; files in it are opened relative to it. So whoever can rename a directory above it can make a party stop, and
cannot make it read or write elsewhere.
"""

from __future__ import annotations

import errno
import os
import secrets
import shlex
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from proofs.errors import Misuse

_BY_OTHERS = 0o077


@contextmanager
def private_directory(path: Path) -> Iterator[int]:
    """A descriptor of the directory for the block.

    Raises Misuse for a symbolic link, a directory of somebody else, or one that others may enter; FileNotFoundError and
    NotADirectoryError as the system says.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if path.is_symlink():
            raise Misuse(f"{path}: holds secrets but is a symbolic link; put the directory itself there") from None
        raise
    try:
        require_private(path, os.fstat(descriptor), 0o700)
        yield descriptor
    finally:
        os.close(descriptor)


def require_private(path: Path, status: os.stat_result, mode: int) -> None:
    """Raise Misuse where a file or directory of secrets is somebody else's, or can be read or written by others."""
    user, quoted = os.geteuid(), shlex.quote(str(path))
    if status.st_uid != user:
        found = f"belongs to user {status.st_uid}, and this process runs as user {user}"
        raise Misuse(f"{path}: holds secrets but {found}; run as its owner, or have root `chown {user} {quoted}`")
    found_mode = stat.S_IMODE(status.st_mode)
    if found_mode & _BY_OTHERS:
        raise Misuse(
            f"{path}: holds secrets but has mode {found_mode:03o}, expected {mode:03o}; run `chmod {mode:03o} {quoted}`"
        )


def read_private(path: Path, folder: int, damaged: str) -> bytes | None:
    """The bytes of `path.name` in an open directory, or None. `damaged`: what to say of what is no file."""
    try:
        descriptor = _opened(path, os.O_RDONLY, folder, damaged)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def replace_private(path: Path, data: bytes, folder: int, suffix: str, before_rename: Callable[[], None]) -> None:
    """Put `data` in the place of `path.name` in an open directory, mode 0600: a crash leaves the old or the new."""
    replace_in(folder, path, data, suffix, 0o600, before_rename)


def replace_in(
    folder: int, path: Path, data: bytes, suffix: str, mode: int, before_rename: Callable[[], None] = lambda: None
) -> None:
    """The same with another mode. What is written goes to the file that was made here: whoever else can write into the
    directory may spoil the answer, and has nothing written elsewhere."""
    temporary = _temporary(path, suffix)
    try:
        with os.fdopen(_open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, folder, mode), "wb") as file:
            file.write(data)
            before_rename()
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary.name, dir_fd=folder)
        raise
    os.fsync(folder)


def erase_private(path: Path, folder: int, damaged: str, suffix: str, before_unlink: Callable[[], None]) -> None:
    """Overwrite a file in an open directory with zeros, and remove it; nothing happens where there is none.

    It has a temporary name, with `suffix`, before its first byte is overwritten: a crash leaves it whole or leaves
    what is erased again, and never zeros under its own name.
    """
    try:
        descriptor = _opened(path, os.O_RDWR, folder, damaged)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "r+b") as file:
        if not path.name.endswith(suffix):
            path = _renamed(path, folder, suffix)
        file.write(bytes(os.fstat(descriptor).st_size))
        file.flush()
        os.fsync(descriptor)
    before_unlink()
    with suppress(FileNotFoundError):
        os.unlink(path.name, dir_fd=folder)
    os.fsync(folder)


def _temporary(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{suffix}")


def _renamed(path: Path, folder: int, suffix: str) -> Path:
    temporary = _temporary(path, suffix)
    os.rename(path.name, temporary.name, src_dir_fd=folder, dst_dir_fd=folder)
    os.fsync(folder)
    return temporary


def _opened(path: Path, flags: int, folder: int, damaged: str) -> int:
    """A descriptor of an existing file, which is private and a regular one."""
    try:
        descriptor = _open(path, flags, folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Misuse(f"{path}: expected a state file, found a symbolic link: {damaged}") from None
        if error.errno == errno.EISDIR:
            raise Misuse(f"{path}: expected a state file, found a directory: {damaged}") from None
        raise
    try:
        _require_file(path, os.fstat(descriptor), damaged)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(path: Path, status: os.stat_result, damaged: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        found = "a directory" if stat.S_ISDIR(status.st_mode) else "another kind of file"
        raise Misuse(f"{path}: expected a state file, found {found}: {damaged}")
    require_private(path, status, 0o600)


def _open(path: Path, flags: int, folder: int, mode: int = 0o600) -> int:
    """Relative to the directory; what the system refuses names the whole path."""
    try:
        return os.open(path.name, flags | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=folder)
    except OSError as error:
        error.filename = str(path)
        raise
