"""Many histories, on several processors."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor

from proofs.machine.workers import set_workers
from tests.network.history import play
from tests.network.scenario import draw


def problems_of(seed: int) -> tuple[int, list[str]]:
    """The seed, and what is wrong with its history."""
    return seed, play(draw(seed)).problems


def play_all(seeds: Iterable[int], processes: int) -> Iterator[tuple[int, list[str]]]:
    """For each seed, in order, what is wrong with its history."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=quietly) as pool:
        yield from pool.map(problems_of, seeds, chunksize=4)


def quietly() -> None:
    """Nothing is logged, and one thread is used: histories are played side by side."""
    logging.disable(logging.CRITICAL)
    set_workers(1)
