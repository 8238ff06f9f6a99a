"""What a power cut can take from a simulated disk, and what it cannot."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from tests.network.disks import Crash, Disks, Machine, Process
from verifl.storage.stores import DirectoryStore, make_directory, replacing

TRIES = 40


class Bench:
    """One machine, made anew for each try."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def after(self, act: Callable[[Machine], None]) -> Iterator[dict[str, bytes]]:
        """The files that a power cut leaves after this, in as many ways as the disk finds in some tries."""
        for seed in range(TRIES):
            self._count += 1
            base = self._folder / str(self._count)
            base.mkdir()
            disks = Disks(base, lambda _: None)
            machine = disks.machine("m")
            with disks.mounted():
                act(machine)
                machine.lose_power(Random(seed))
            files = (path for path in machine.root.rglob("*") if path.is_file())
            yield {str(path.relative_to(machine.root)): path.read_bytes() for path in files}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def old_and_new(machine: Machine, last: Callable[[Path], None]) -> None:
    """A durable file of old contents, then something else."""
    (machine.root / "file").write_bytes(b"old")
    machine.settle()
    last(machine.root / "file")


def test_what_is_replaced_as_it_has_to_be_is_new(bench: Bench) -> None:
    def replace(path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"new contents")

    for left in bench.after(lambda machine: old_and_new(machine, replace)):
        assert left == {"file": b"new contents"}


def test_a_rename_that_is_not_synced_leaves_the_old_or_the_new(bench: Bench) -> None:
    def rename(path: Path) -> None:
        other = path.with_name("other")
        descriptor = os.open(other, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"new contents")
        os.fsync(descriptor)
        os.close(descriptor)
        other.rename(path)

    found = [tuple(left.items()) for left in bench.after(lambda machine: old_and_new(machine, rename))]
    assert set(found) == {
        (("file", b"old"),),
        (("file", b"new contents"),),
        (("file", b"old"), ("other", b"new contents")),
        (("other", b"new contents"), ("file", b"old")),
    } & set(found)
    assert {dict(each)["file"] for each in found} == {b"old", b"new contents"}


def test_contents_that_are_not_synced_are_lost_torn_or_zeros(bench: Bench) -> None:
    def append(path: Path) -> None:
        with path.open("ab") as stream:
            stream.write(b", and new contents")

    found = {left["file"] for left in bench.after(lambda machine: old_and_new(machine, append))}
    whole = b"old, and new contents"
    assert {b"old", whole, b"old" + bytes(len(whole) - 3)} <= found
    torn = found - {b"old", whole, b"old" + bytes(len(whole) - 3)}
    assert torn
    assert all(whole.startswith(each) for each in torn)


def test_a_new_directory_is_lost_unless_the_one_above_it_was_synced(bench: Bench) -> None:
    def store(machine: Machine, make: Callable[[Path], None]) -> None:
        make(machine.root / "d")
        with replacing(machine.root / "d" / "file") as temporary:
            temporary.write_bytes(b"new")

    assert {tuple(left) for left in bench.after(lambda machine: store(machine, Path.mkdir))} == {(), ("d/file",)}
    assert {tuple(left) for left in bench.after(lambda machine: store(machine, make_directory))} == {("d/file",)}


def test_what_was_removed_comes_back_unless_that_is_synced(bench: Bench) -> None:
    found = {tuple(left.items()) for left in bench.after(lambda machine: old_and_new(machine, Path.unlink))}
    assert found == {(), (("file", b"old"),)}


def test_a_process_dies_at_any_step_and_does_nothing_more(tmp_path: Path) -> None:
    deaths = []
    for steps in range(100):
        base = tmp_path / str(steps)
        base.mkdir()
        disks = Disks(base, lambda _: None)
        machine = disks.machine("m")
        process = Process(machine, steps)
        with disks.mounted(), disks.running(process):
            try:
                store = DirectoryStore(machine.root / "store")
                store.put("key", b"first")
                store.put("key", b"second")
                store.delete("key")
            except Crash as crash:
                deaths.append(str(crash))
                with pytest.raises(Crash):
                    (machine.root / "more").mkdir()
            else:
                break
        known = DirectoryStore(machine.root / "store").get("key")
        assert known in (None, b"first", b"second")
    assert len(deaths) > 10
    assert {each.split()[0] for each in deaths} == {"mkdir", "create", "sync", "rename", "remove"}


def test_a_full_disk_takes_no_new_file(tmp_path: Path) -> None:
    disks = Disks(tmp_path, lambda _: None)
    machine = disks.machine("m")
    with disks.mounted():
        store = DirectoryStore(machine.root / "store")
        store.put("key", b"first")
        machine.full = True
        with pytest.raises(OSError, match="No space") as error:
            store.put("key", b"second")
        assert error.value.errno == errno.ENOSPC
        machine.full = False
        assert store.get("key") == b"first"
