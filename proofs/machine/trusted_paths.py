"""A directory that nobody but its user and root can put anything into, or in the place of.

What sshd demands of authorized_keys: every directory from the root down to it belongs to root or the user, and none is
writable by others; a symbolic link is followed, its owner and every directory on both its sides held to the same. A
sticky directory such as /tmp may be writable by all, as others cannot take away in it what is the user's.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_LINKS = 40  # as many as Linux follows
_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def trusted_directory(path: Path) -> Path:
    """The directory without links that `path` stands for; what is missing is made, mode 0700.

    Raises PermissionError naming the directory or link by which somebody else could change what is there, and OSError
    for what is no directory or cannot be made. Where the system has no POSIX permissions nothing is checked.
    """
    if not path.is_absolute():
        raise OSError(errno.EINVAL, "expected an absolute path", str(path))
    if not hasattr(os, "getuid"):
        path.mkdir(parents=True, exist_ok=True)
        return path
    at, links = Path(path.anchor), 0
    _require_unshared(at, at.stat(), inner=path.parts[1:] != ())
    parts = list(reversed(path.parts[1:]))
    while parts:
        part = parts.pop()
        if part == "..":
            at = at.parent
            continue
        status = _made(at / part)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = (at / part).readlink()
            _require_owner(at / part, status)
            parts += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            at = Path(target.anchor) if target.is_absolute() else at
            continue
        at /= part
        _require_unshared(at, status, inner=bool(parts))
    return at


def require_unshared_file(path: Path, status: os.stat_result) -> None:
    """Raise OSError unless this is a regular file of the user's or root's that nobody else can write."""
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "expected a regular file", str(path))
    if hasattr(os, "getuid"):
        _require_owner(path, status)
        _require_private(path, status)


def _made(path: Path) -> os.stat_result:
    """What is at `path`, a new directory if nothing was."""
    try:
        return path.lstat()
    except FileNotFoundError:
        path.mkdir(mode=0o700, exist_ok=True)
        return path.lstat()


def _require_unshared(path: Path, status: os.stat_result, *, inner: bool) -> None:
    """`inner`: something below it is meant, so that it may be a sticky directory for all."""
    if not stat.S_ISDIR(status.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    _require_owner(path, status)
    if not (inner and status.st_mode & stat.S_ISVTX):
        _require_private(path, status)


def _require_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in (0, os.getuid()):
        raise PermissionError(errno.EPERM, f"belongs to user {status.st_uid}", str(path))


def _require_private(path: Path, status: os.stat_result) -> None:
    if status.st_mode & _BY_OTHERS:
        raise PermissionError(errno.EPERM, f"is writable by others, mode {status.st_mode & 0o7777:04o}", str(path))
