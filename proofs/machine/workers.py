"""A thread pool for kernels that release the GIL.

Results never depend on the number of workers: callers combine the chunks' results by exact arithmetic, in order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

from proofs.errors import Misuse

MOST_WORKERS = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Pool:
    """The process's pool and its size; a forked child starts without the parent's threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.chosen: int | None = None
        self.executor: ThreadPoolExecutor | None = None
        self.inside = threading.local()

    def forget(self) -> None:
        self.lock = threading.Lock()
        self.executor = None
        self.inside = threading.local()

    def get(self) -> ThreadPoolExecutor:
        with self.lock:
            if self.executor is None:
                self.executor = ThreadPoolExecutor(max_workers=worker_count(), thread_name_prefix="kernel")
            return self.executor


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.forget)


def worker_count() -> int:
    """How many threads `map_items` and `map_chunks` use: `set_workers`' number, else the processors we may run on."""
    if _pool.chosen is not None:
        return _pool.chosen
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(available, MOST_WORKERS))


def set_workers(count: int | None) -> None:
    """Use `count` threads from now on, None for the default; raises Misuse below 1. Not while kernels run."""
    if count is not None and count < 1:
        raise Misuse(f"workers must be at least 1, not {count}")
    with _pool.lock:
        _pool.chosen = count
        executor, _pool.executor = _pool.executor, None
    if executor is not None:
        executor.shutdown(wait=True)


def map_items(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """[function(item) for item in items], on the pool; the first exception, in order of items, is raised.

    Called from inside a pooled function it runs in the caller's thread: a full pool must not wait for itself.
    """
    work = list(items)
    if len(work) < 2 or worker_count() == 1 or getattr(_pool.inside, "active", False):
        return [function(item) for item in work]

    def marked(item: Item) -> Result:
        _pool.inside.active = True
        try:
            return function(item)
        finally:
            _pool.inside.active = False

    return list(_pool.get().map(marked, work))


def chunks(total: int, smallest: int = 1) -> list[tuple[int, int]]:
    """Contiguous (start, stop) covering range(total): one a worker, fewer where they would be below `smallest`."""
    count = max(1, min(worker_count(), total // max(1, smallest)))
    edges = [total * index // count for index in range(count + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def map_chunks(function: Callable[[int, int], Result], total: int, smallest: int = 1) -> list[Result]:
    """function(start, stop) over `chunks(total, smallest)`, in order; [] for an empty range."""
    return map_items(lambda bounds: function(*bounds), chunks(total, smallest))
