"""SIGTERM: once is enough, and more of it does no harm."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from verifl.carriers.exchange.stopping import Stopped, stopping_on_sigterm


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_process_that_was_asked_to_stop_is_not_killed_while_it_clears_up() -> None:
    with stopping_on_sigterm() as stop:
        terminate()
        terminate()
        with pytest.raises(Stopped):
            stop.pause(60)
    terminate()  # ends this process, were it not ignored
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_process_that_was_not_asked_is_as_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_sigterm() as stop:
        stop.pause(0)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_child_of_the_task_is_not_kept_alive() -> None:
    reading, writing = os.pipe()
    with stopping_on_sigterm() as stop:
        child = os.fork()
        if child == 0:
            os.write(writing, b".")  # what comes while it is made, Python forgets
            for _ in range(6000):
                time.sleep(0.01)
            os._exit(0)
        assert os.read(reading, 1) == b"."
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGTERM
        assert not stop.asked
    for end in (reading, writing):
        os.close(end)


# A party's command that is asked to stop as soon as it begins to import, and one behind whose turn that comes.
EARLY = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "verifl.commands.root":
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
sys.argv = ["verifl", *{words}]
from verifl.__main__ import main
main()
"""
LATE = """
import os, signal, sys
from proofs.machine.interrupts import stop_before_anything
stop_before_anything()
from verifl.carriers.exchange.stopping import stopping_on_sigterm
with stopping_on_sigterm():
    pass
os.kill(os.getpid(), signal.SIGTERM)
sys.exit(7)
"""


def status(code: str) -> int:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60).returncode


def test_a_party_that_has_done_nothing_yet_is_stopped_with_status_0() -> None:
    assert status(EARLY.format(words=["--debug", "trustee", "run", "--public", "nowhere"])) == 0
    assert status(EARLY.format(words=["coordinator", "change", "file"])) == -signal.SIGTERM  # it may have been too late


def test_a_party_that_has_ended_by_itself_has_its_own_status() -> None:
    assert status(LATE) == 7
