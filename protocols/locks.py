"""Lock files: one process at a time, and no child of it.

The lock is flock's (BSD): it belongs to the open file, which fork shares, so that a child would keep it when the parent
is killed, and keep it from the parent itself. So whoever took it lets go of it expressly, and a forked child (a worker
of a data loader) closes its copy of the descriptor at once. A process that is executed never has it (O_CLOEXEC).

The alternative, a record lock (fcntl), is not inherited, but is lost as soon as the process that holds it closes any
other descriptor of the file, as a copy of the directory does. On NFS Linux turns flock into such a lock on the server.
"""

from __future__ import annotations

import fcntl
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proofs.errors import Misuse


class InUse(Misuse):
    """Another process, or another lock of this one, holds the lock: it is a matter of waiting."""


class FileLock:
    """Held from the moment it is made, until `release` or the end of this process."""

    def __init__(self, path: Path, refusal: str) -> None:
        """Take the lock file at `path`, mode 0600, made if needed; raises InUse with `refusal` where another process,
        or another lock of this one, holds it."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor: int | None = os.open(path, flags, 0o600)
        _TAKEN.add(self)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise InUse(refusal) from None
        except BaseException:
            self._close()
            raise

    @property
    def held(self) -> bool:
        """Whether this process holds it; never in a child of the one that took it."""
        return self._descriptor is not None

    def release(self) -> None:
        """Let go of it, whichever children still have a copy of the descriptor; a second time changes nothing."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Hold a `FileLock` for the block."""
    lock = FileLock(path, refusal)
    try:
        yield
    finally:
        lock.release()


_TAKEN: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _close_copies() -> None:
    """In a child: closing a copy leaves the lock with the parent."""
    for lock in list(_TAKEN):
        lock._close()


os.register_at_fork(after_in_child=_close_copies)
