"""SIGTERM: once is enough, and more of it does no harm."""

from __future__ import annotations

import os
import signal
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
