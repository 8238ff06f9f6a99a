"""Machines and their disks: what a process that dies there leaves, and what a power cut leaves of that.

The files are real ones. The calls by which the product changes them (`os.open`, `os.mkdir`, `os.rename`, `os.replace`,
`os.unlink`, `os.rmdir`, `os.fsync`) are watched while a world is mounted: before each of them the process can die, and
each says what the machine's disk has for certain.

A process that is killed loses nothing that was written: the system has it. A power cut loses, at the disk's choice:

- of a file, what was written since it was last synced: all, some (a torn file) or nothing of it, or there are zeros
  where it would be, as with delayed allocation;
- of a directory, the changes since it was last synced, from some change on. Changes of one directory become durable in
  their order, and a rename is one change, as a journal has it (ext4, XFS); of two directories either may be behind,
  and a new directory is there only once the one above it was synced. POSIX promises no more than that, and Pillai et
  al. (OSDI 2014) found file systems and programs that rely on what it does not promise.

What was synced is kept: disks that lie about that, or rot, are not simulated.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock


class Crash(BaseException):
    """In place of what a process would have done next: it is gone."""


@dataclass
class Process:
    """A process on a machine. steps_left, answers_left: so many steps on disk it lives, so many answers it sends; None
    for all. others: lets others go on before a step, now and then."""

    machine: Machine
    steps_left: int | None = None
    answers_left: int | None = None
    others: Callable[[], None] = lambda: None
    dead: bool = False
    last_step: str = ""

    def step(self, description: str) -> None:
        """Before a change on disk; raises Crash where it dies, and in all that it tries afterwards."""
        if not self.dead:
            self.others()
        if self.dead:
            raise Crash(self.last_step)
        self.last_step = description
        if self.steps_left is None:
            return
        if self.steps_left == 0:
            self.dead = True
            raise Crash(description)
        self.steps_left -= 1

    def sent(self) -> None:
        """After an answer was sent, whether it arrives or not; raises Crash where it dies."""
        if self.answers_left is None or self.dead:
            return
        self.answers_left -= 1
        if self.answers_left == 0:
            self.dead = True
            raise Crash("its answer is sent")


@dataclass(frozen=True)
class Node:
    """A file or directory, whatever its name."""

    inode: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


Change = dict[str, Node | None]  # of a directory, by name: all of it or nothing


@dataclass
class Machine:
    """One machine: a directory `root`, and what of it would outlive a power cut."""

    name: str
    root: Path
    up: bool = True
    full: bool = False
    listings: dict[int, dict[str, Node]] = field(default_factory=dict)  # of directories, as they were last synced
    changes: dict[int, list[Change]] = field(default_factory=dict)  # since
    synced: dict[int, bytes] = field(default_factory=dict)  # files, as they were last synced
    removed: dict[int, bytes] = field(default_factory=dict)  # files without a name that a power cut could bring back

    def settle(self) -> None:
        """All that is there is durable."""
        self.listings, self.changes, self.synced, self.removed = {}, {}, {}, {}
        for folder, names, files in os.walk(self.root):
            inode = Path(folder).stat().st_ino
            self.listings[inode] = _listing(Path(folder))
            for name in files:
                path = Path(folder, name)
                self.synced[path.stat().st_ino] = path.read_bytes()
            names.sort()

    def changed(self, folder: Path, change: Change) -> None:
        """A directory was changed."""
        self.changes.setdefault(folder.stat().st_ino, []).append(change)

    def forget_name(self, path: Path) -> None:
        """A file is about to lose its name."""
        try:
            status = path.lstat()
        except FileNotFoundError:
            return
        if stat.S_ISREG(status.st_mode):
            self.removed[status.st_ino] = path.read_bytes()

    def sync(self, path: Path) -> None:
        """A file or directory is durable now."""
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            self.listings[status.st_ino] = _listing(path)
            self.changes.pop(status.st_ino, None)
        else:
            self.synced[status.st_ino] = path.read_bytes()

    def lose_power(self, rng: Random) -> list[str]:
        """Take away what was not durable, as far as the disk likes; what was lost, in words."""
        paths = {self.root.stat().st_ino: self.root}
        for folder, names, files in os.walk(self.root):
            paths |= {Path(folder, name).lstat().st_ino: Path(folder, name) for name in sorted((*names, *files))}
        lost: list[str] = []
        root = Node(self.root.stat().st_ino, self.root.stat().st_mode)
        image = list(_Survivors(self, paths, rng, lost).walk(root, Path()))
        self._replace(image)
        return lost

    @contextmanager
    def roomy(self) -> Iterator[None]:
        """For the block there is room on the disk."""
        full, self.full = self.full, False
        try:
            yield
        finally:
            self.full = full

    def _replace(self, image: list[tuple[Path, Node, bytes | None]]) -> None:
        """Have these directories and files, and nothing else."""
        with self.roomy():
            for path in self.root.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            for path, node, data in image:
                target = self.root / path
                if data is None:
                    target.mkdir(exist_ok=True)
                else:
                    target.write_bytes(data)
                target.chmod(stat.S_IMODE(node.mode))
        self.settle()


@dataclass
class _Survivors:
    """What a power cut leaves of a machine's disk. paths: of what has a name now, by inode."""

    machine: Machine
    paths: dict[int, Path]
    rng: Random
    lost: list[str]

    def walk(self, node: Node, at: Path) -> Iterator[tuple[Path, Node, bytes | None]]:
        yield at, node, None
        for name, child in sorted(self._listing(node.inode, at).items()):
            if child.is_directory:
                yield from self.walk(child, at / name)
            else:
                yield at / name, child, self._content(child.inode, at / name)

    def _listing(self, inode: int, at: Path) -> dict[str, Node]:
        """Of a directory: as it was synced, and some of the changes since, from the first on."""
        known = dict(self.machine.listings.get(inode, {}))
        changes = [*self.machine.changes.get(inode, []), *self._unwatched(inode)]
        kept = self.rng.choice((0, len(changes), self.rng.randint(0, len(changes))))
        for change in changes[:kept]:
            for name, child in change.items():
                if child is None:
                    known.pop(name, None)
                else:
                    known[name] = child
        self.lost += [f"{at / name}" for change in changes[kept:] for name, child in change.items() if child]
        return known

    def _unwatched(self, inode: int) -> Iterator[Change]:
        """Changes that nobody was told of: files that were made by other calls than the watched ones."""
        if inode not in self.paths or not self.paths[inode].is_dir():
            return
        known = dict(self.machine.listings.get(inode, {}))
        for change in self.machine.changes.get(inode, []):
            known.update({name: child for name, child in change.items() if child})
        for name, child in _listing(self.paths[inode]).items():
            if name not in known:
                yield {name: child}

    def _content(self, inode: int, at: Path) -> bytes:
        synced = self.machine.synced.get(inode)
        written = self.paths[inode].read_bytes() if inode in self.paths else self.machine.removed.get(inode, b"")
        if written == synced:
            return written
        known = synced or b""
        first = len(known) if written.startswith(known) else 0
        torn = written[: self.rng.randint(first, len(written))]
        found = self.rng.choice((written, known, torn, known + bytes(max(0, len(written) - len(known)))))
        if found != written:
            self.lost.append(f"{len(written)} bytes of {at}")
        return found


def _listing(folder: Path) -> dict[str, Node]:
    with os.scandir(folder) as found:
        return {each.name: _node(each.stat(follow_symlinks=False)) for each in found}


def _node(status: os.stat_result) -> Node:
    return Node(status.st_ino, status.st_mode)


class Disks:
    """All machines, below one directory, and which process is running now."""

    def __init__(self, base: Path, renamed: Callable[[Path], None]) -> None:
        """renamed: told of each path under which a rename has just put a file, or removed one."""
        self._base, self._prefix, self._renamed = base, f"{base}/", renamed
        self.machines: dict[str, Machine] = {}
        self._running: list[Process] = []

    def machine(self, name: str) -> Machine:
        """A new machine, with an empty disk."""
        root = self._base / name
        root.mkdir(mode=0o700)
        self.machines[name] = Machine(name, root)
        self.machines[name].settle()
        return self.machines[name]

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """What is done in the block is done by this process."""
        self._running.append(process)
        try:
            yield
        finally:
            self._running.pop()

    @contextmanager
    def by_hand(self) -> Iterator[None]:
        """What is done in the block is done by whoever runs a machine, whatever its processes are at."""
        running, self._running = self._running, []
        try:
            yield
        finally:
            self._running = running

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """Watch the calls for the block."""
        calls = ("open", "mkdir", "rename", "replace", "unlink", "remove", "rmdir", "fsync")
        originals = {name: getattr(os, name) for name in calls}
        watch = _Watch(self, originals)
        with mock.patch.multiple(os, **{name: getattr(watch, name) for name in calls}):
            yield

    @property
    def active(self) -> str:
        """The machine of the process that is running; empty for none."""
        return self._running[-1].machine.name if self._running else ""

    def owner(self, path: str) -> Machine | None:
        """Whose disk a path is on."""
        if not path.startswith(self._prefix):
            return None
        return self.machines.get(path[len(self._prefix) :].split("/", 1)[0])

    def step(self, machine: Machine, what: str, path: str) -> None:
        """A change is about to be made on a machine's disk."""
        if self._running and self._running[-1].machine is machine:
            self._running[-1].step(f"{what} {path[len(str(machine.root)) + 1 :]}")

    def told(self, path: Path) -> None:
        """A path has other contents, or none."""
        self._renamed(path)


class _Watch:
    """The calls, as the product makes them."""

    def __init__(self, disks: Disks, originals: dict[str, Callable[..., Any]]) -> None:
        self._disks, self._do = disks, originals

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        where = self._where(path, dir_fd) if flags & os.O_CREAT else None
        if where is None or os.path.lexists(where[1]):
            return self._do["open"](path, flags, mode, dir_fd=dir_fd)
        machine, name = where
        self._room(machine, "create", name)
        descriptor: int = self._do["open"](path, flags, mode, dir_fd=dir_fd)
        self._appeared(machine, Path(name))
        return descriptor

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        where = self._where(path, dir_fd)
        if where is None or os.path.lexists(where[1]):
            return self._do["mkdir"](path, mode, dir_fd=dir_fd)
        self._room(where[0], "mkdir", where[1])
        self._do["mkdir"](path, mode, dir_fd=dir_fd)
        self._appeared(where[0], Path(where[1]))
        return None

    def rename(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self._move("rename", src, dst, src_dir_fd, dst_dir_fd)

    def replace(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self._move("replace", src, dst, src_dir_fd, dst_dir_fd)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._take("unlink", path, dir_fd)

    def remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._take("remove", path, dir_fd)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._take("rmdir", path, dir_fd)

    def fsync(self, descriptor: int) -> None:
        where = self._where(".", descriptor) if stat.S_ISDIR(os.fstat(descriptor).st_mode) else self._of(descriptor)
        if where is None:
            return
        machine, path = where
        self._disks.step(machine, "sync", path)
        if machine.full and Path(path).is_file():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        if os.path.lexists(path):
            machine.sync(Path(path))

    def _move(self, call: str, src: Any, dst: Any, src_fd: int | None, dst_fd: int | None) -> None:
        source, target = self._where(src, src_fd), self._where(dst, dst_fd)
        if source is None or target is None:
            return self._do[call](src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
        machine, old, new = source[0], Path(source[1]), Path(target[1])
        self._disks.step(machine, "rename", target[1])
        machine.forget_name(new)
        self._do[call](src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
        node = _node(new.lstat())
        if old.parent == new.parent:
            machine.changed(new.parent, {old.name: None, new.name: node})
        else:
            machine.changed(new.parent, {new.name: node})
            machine.changed(old.parent, {old.name: None})
        self._disks.told(new)
        return None

    def _take(self, call: str, path: Any, dir_fd: int | None) -> None:
        where = self._where(path, dir_fd)
        if where is None or not os.path.lexists(where[1]):
            return self._do[call](path, dir_fd=dir_fd)
        machine, name = where
        self._disks.step(machine, "remove", name)
        machine.forget_name(Path(name))
        self._do[call](path, dir_fd=dir_fd)
        machine.changed(Path(name).parent, {Path(name).name: None})
        self._disks.told(Path(name))
        return None

    def _room(self, machine: Machine, what: str, path: str) -> None:
        self._disks.step(machine, what, path)
        if machine.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    def _appeared(self, machine: Machine, path: Path) -> None:
        machine.changed(path.parent, {path.name: _node(path.lstat())})

    def _where(self, path: Any, dir_fd: int | None) -> tuple[Machine, str] | None:
        """The machine whose disk a path is on, and the whole path."""
        name = os.fspath(path)
        if not isinstance(name, str):
            return None
        if dir_fd is not None and not name.startswith("/"):
            folder = str(Path(f"/proc/self/fd/{dir_fd}").readlink())
            name = folder if name == "." else f"{folder}/{name}"
        machine = self._disks.owner(name)
        return None if machine is None else (machine, name)

    def _of(self, descriptor: int) -> tuple[Machine, str] | None:
        return self._where(Path(f"/proc/self/fd/{descriptor}").readlink(), None)
