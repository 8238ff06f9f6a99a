"""One line for whatever a task raises: what, its last cause, and the user's own line."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from proofs.errors import Misuse
from verifl.tasks.causes import let_go
from verifl.tasks.user_code import Abstain, ClientFailed, client_code, user_code

OWN = """
import json
from concurrent.futures import ThreadPoolExecutor

from torch.utils.data import DataLoader, Dataset

def in_a_library():
    json.loads("{broken")

def chained():
    try:
        in_a_library()
    except ValueError as error:
        raise RuntimeError("the site's data cannot be read") from error

def while_handling():
    try:
        {}["age"]
    except KeyError:
        raise TypeError("no age")

def suppressed():
    try:
        {}["age"]
    except KeyError:
        raise TypeError("no age") from None

def silent():
    raise ValueError

def endless():
    raise ValueError("x" * 10_000)

class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError

def unspeakable():
    raise Unspeakable

def group():
    raise ExceptionGroup("two", [ValueError("first"), KeyError("second")])

class Rows(Dataset):
    def __len__(self):
        return 2
    def __getitem__(self, index):
        raise KeyError("row") if index else ValueError("row 0 has\\nno label")

class Chained(Rows):
    def __getitem__(self, index):
        chained()

def worker(data=Rows):
    for batch in DataLoader(data(), num_workers=1, multiprocessing_context="fork"):
        pass

def worker_chained():
    worker(Chained)

def keyboard_as_exit():
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:
        exit(1)

def leaves():
    raise SystemExit(3)
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Callable[[], None]]:
    """A file as users write them, and where it is."""
    file = tmp_path_factory.mktemp("own") / "mine.py"
    file.write_text(OWN, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mine", file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def told(function: Callable[[], object]) -> str:
    with pytest.raises(Misuse) as excinfo, user_code("task: it failed"):
        function()
    let_go(excinfo.value)  # a loader that is left to the garbage collector waits five seconds for each of its workers
    return str(excinfo.value).removeprefix("task: it failed: ")


def line_of(text: str, nth: int = 0) -> int:
    return [number for number, line in enumerate(OWN.splitlines(), 1) if text in line][nth]


BROKEN = "JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
UNREADABLE = f"RuntimeError: the site's data cannot be read; caused by {BROKEN}"


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("in_a_library", BROKEN, 'json.loads("'),
        ("chained", UNREADABLE, 'json.loads("'),
        ("while_handling", "TypeError: no age; caused by KeyError: 'age'", '{}["age"]'),
        ("silent", "ValueError", "raise ValueError\n"),
        ("endless", f"ValueError: {'x' * 400}...", "10_000"),
        ("unspeakable", "Unspeakable: its text cannot be made", "raise Unspeakable"),
        ("group", "ExceptionGroup: two (2 sub-exceptions); caused by ValueError: first", "ExceptionGroup("),
        ("worker", "ValueError: row 0 has no label in DataLoader worker process 0", "row 0 has"),
        ("leaves", "SystemExit: 3", "SystemExit(3)"),
    ],
)
def test_what_why_and_where(own: dict[str, Callable[[], None]], name: str, text: str, line: str) -> None:
    file = own["__file__"]
    assert told(own[name]) == f"{text} (at {file}:{line_of(line.strip())})"


def test_a_cause_that_was_taken_away_is_not_told(own: dict[str, Callable[[], None]]) -> None:
    assert told(own["suppressed"]) == f"TypeError: no age (at {own['__file__']}:{line_of('no age', 1)})"


def test_a_chain_in_a_worker_has_its_last_cause_and_the_users_line(own: dict[str, Callable[[], None]]) -> None:
    where = " in DataLoader worker process 0"
    text = told(own["worker_chained"])
    assert text == (
        f"RuntimeError: the site's data cannot be read{where}; caused by json.decoder.{BROKEN}{where} "
        f"(at {own['__file__']}:{line_of('json.loads(')})"
    )


def fails_elsewhere() -> None:
    raise LookupError("no such patient")


def test_an_error_in_a_pool_of_processes() -> None:
    def pooled() -> None:
        with ProcessPoolExecutor(1, get_context("fork")) as pool:
            pool.submit(fails_elsewhere).result()

    text = told(pooled)
    number = fails_elsewhere.__code__.co_firstlineno + 1
    assert text == f"LookupError: no such patient (at {Path(__file__)}:{number})"


def test_what_a_framework_makes_of_an_interruption_is_one(own: dict[str, Callable[[], None]]) -> None:
    with pytest.raises(KeyboardInterrupt), user_code("task: it failed"):
        own["keyboard_as_exit"]()
    with pytest.raises(KeyboardInterrupt), client_code("a", "train"):
        own["keyboard_as_exit"]()


def test_a_clients_failure_is_its_own_and_its_exit_is_the_tasks() -> None:
    with pytest.raises(ClientFailed) as failed, client_code("a", "train"):
        raise ValueError("no rows")
    assert (failed.value.client, failed.value.abstained) == ("a", False)
    assert failed.value.reason.startswith("train() failed: ValueError: no rows (at ")
    with pytest.raises(ClientFailed) as misused, client_code("a", "data"):
        raise Misuse("clients: too few rows")
    assert str(misused.value) == "client a: data() failed: clients: too few rows"
    with pytest.raises(ClientFailed) as abstaining, client_code("a", "data"):
        raise Abstain("on battery\nhere")
    assert (str(abstaining.value), abstaining.value.abstained) == ("client a: abstains: on battery here", True)
    with pytest.raises(Misuse) as left, client_code("a", "train"):
        raise SystemExit(1)
    assert not isinstance(left.value, ClientFailed)


@pytest.mark.parametrize("status", [0, 1])
def test_a_child_does_not_come_back_from_the_users_code(status: int, capfd: pytest.CaptureFixture[str]) -> None:
    """It would be a second run, with the parties' secrets."""

    def forks() -> int:
        child = os.fork()
        if child == 0 and status:
            raise ValueError("in the child")
        return child

    with user_code("task: it failed"):
        child = forks()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == status
    assert ("ValueError: in the child" in capfd.readouterr().err) == bool(status)
