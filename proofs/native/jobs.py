"""Many pieces of work over rows, handed to the workers in one go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from proofs.arrays import Words
from proofs.machine.workers import map_items, worker_count

_WORTHWHILE = 2**14  # cells below which a second thread does not pay


@dataclass(frozen=True)
class Job:
    """run(start, stop) over any split of range(length); `width` says how many cells one index stands for."""

    run: Callable[[int, int], Words | None]
    length: int
    width: int


def run_all(jobs: Sequence[Job]) -> list[list[Words]]:
    """Per job what its pieces returned, in order; all pieces of all jobs share the workers."""
    cells = sum(job.length * job.width for job in jobs)
    share = max(_WORTHWHILE, cells // (2 * worker_count()))
    pieces = [(index, *bounds) for index, job in enumerate(jobs) for bounds in _split(job, share)]
    if cells < 2 * _WORTHWHILE:
        found = [jobs[index].run(start, stop) for index, start, stop in pieces]
    else:
        found = map_items(lambda piece: jobs[piece[0]].run(piece[1], piece[2]), pieces)
    results: list[list[Words]] = [[] for _ in jobs]
    for (index, _, _), words in zip(pieces, found, strict=True):
        if words is not None:
            results[index].append(words)
    return results


def _split(job: Job, share: int) -> Iterable[tuple[int, int]]:
    """Contiguous parts of about `share` cells at most."""
    parts = max(1, min(job.length, -(-job.length * job.width // share)))
    return pairwise(job.length * part // parts for part in range(parts + 1))
