from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator

import pytest

from proofs.errors import Misuse
from proofs.machine.workers import chunks, map_chunks, map_items, set_workers, worker_count


@pytest.fixture(autouse=True)
def default_workers() -> Iterator[None]:
    yield
    set_workers(None)


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(("total", "smallest"), [(0, 1), (1, 1), (2, 1), (7, 3), (100, 1), (100, 40), (3, 0)])
def test_chunks_cover_the_range_in_order(workers: int, total: int, smallest: int) -> None:
    set_workers(workers)
    bounds = chunks(total, smallest)
    assert [index for start, stop in bounds for index in range(start, stop)] == list(range(total))
    assert len(bounds) <= workers
    assert len(bounds) < 2 or all(stop - start >= smallest for start, stop in bounds)


def test_results_keep_their_order() -> None:
    set_workers(4)
    assert map_items(lambda item: item * item, range(50)) == [item * item for item in range(50)]
    assert map_chunks(lambda start, stop: sum(range(start, stop)), 0) == []
    assert sum(map_chunks(lambda start, stop: sum(range(start, stop)), 1000)) == sum(range(1000))


def test_the_first_failure_by_order_is_raised() -> None:
    set_workers(3)

    def fail_on_odd(item: int) -> int:
        if item % 2:
            raise ValueError(item)
        return item

    with pytest.raises(ValueError, match="1"):
        map_items(fail_on_odd, range(9))
    assert map_items(fail_on_odd, [0, 2]) == [0, 2]


def test_calls_from_inside_do_not_wait_for_the_full_pool() -> None:
    set_workers(2)
    nested = map_items(lambda item: map_items(lambda other: item * other, range(5)), range(6))
    assert nested == [[item * other for other in range(5)] for item in range(6)]


def test_one_worker_is_the_callers_thread() -> None:
    set_workers(1)
    caller = threading.get_ident()
    assert set(map_items(lambda _: threading.get_ident(), range(5))) == {caller}


@pytest.mark.parametrize("count", [0, -1])
def test_at_least_one_worker(count: int) -> None:
    with pytest.raises(Misuse):
        set_workers(count)


def test_the_default_is_the_number_of_processors() -> None:
    set_workers(3)
    assert worker_count() == 3
    set_workers(None)
    assert 1 <= worker_count() <= 32


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_its_own_pool() -> None:
    set_workers(2)
    map_items(abs, range(8))  # the parent's threads exist, the child will not have them
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if map_items(abs, range(8)) == list(range(8)) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
