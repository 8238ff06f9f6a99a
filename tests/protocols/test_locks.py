"""Lock files and the children of the process that holds one."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.locks import FileLock, locked
from protocols.log.writer import TranscriptWriter

ROOT = Path(__file__).parents[2]
HOLDER = """
import os, sys, time
from pathlib import Path
from protocols.log.writer import TranscriptWriter
writer = TranscriptWriter(Path(sys.argv[1]))
if os.fork() == 0:
    print(os.getpid(), flush=True)
time.sleep(600)
"""


@contextmanager
def forked(run: Callable[[], bool]) -> Iterator[Callable[[], bool]]:
    """A child that does something, says so, and lives until the block ends; the block gets what it found."""
    said, tell = os.pipe()
    wait, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        os.write(tell, bytes([run()]))
        os.read(wait, 1)
        os._exit(0)
    try:
        yield lambda: os.read(said, 1) == b"\x01"
    finally:
        os.close(end)
        os.waitpid(child, 0)
        for each in (said, tell, wait):
            os.close(each)


def test_a_lock_is_free_once_it_is_released_whatever_children_live(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock", "taken")
    with forked(lambda: lock.held) as held_in_child:
        assert not held_in_child()
        assert lock.held
        lock.release()
        FileLock(tmp_path / "lock", "taken").release()
        lock.release()


def test_a_child_takes_nothing_from_its_parent(tmp_path: Path) -> None:
    def let_go() -> bool:
        lock.release()
        with pytest.raises(Misuse, match="taken"):
            FileLock(tmp_path / "lock", "taken")
        return True

    lock = FileLock(tmp_path / "lock", "taken")
    with forked(let_go) as refused_in_child:
        assert refused_in_child()
        with pytest.raises(Misuse, match="taken"):
            FileLock(tmp_path / "lock", "taken")
    lock.release()


def test_a_child_cannot_write_into_the_transcript(tmp_path: Path) -> None:
    def refused() -> bool:
        with pytest.raises(Misuse, match="this writer is closed"):
            writer.put_blob(b"of the child")
        return True

    with TranscriptWriter(tmp_path / "transcript") as writer, forked(refused) as refused_in_child:
        assert refused_in_child()
        writer.put_blob(b"of the parent")


def test_a_killed_writer_keeps_nobody_out_though_its_children_live(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "transcript")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        try:
            with pytest.raises(Misuse, match="another writer"):
                TranscriptWriter(tmp_path / "transcript")
            holder.kill()
            holder.wait()
            TranscriptWriter(tmp_path / "transcript").close()
            os.kill(child, 0)  # it lives
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_copy_of_the_directory_does_not_lose_the_lock(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with locked(tmp_path / "run" / "lock", "taken"):
        shutil.copytree(tmp_path / "run", tmp_path / "copy")
        with pytest.raises(Misuse, match="taken"), locked(tmp_path / "run" / "lock", "taken"):
            pass
        with locked(tmp_path / "copy" / "lock", "taken"):
            pass
    with locked(tmp_path / "run" / "lock", "taken"):
        pass


def test_a_link_is_no_lock_file(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        FileLock(tmp_path / "lock", "taken")
