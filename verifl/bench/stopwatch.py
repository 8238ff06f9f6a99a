"""Wall and processor seconds of named phases, over repetitions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any


class Stopwatch:
    """Samples by phase, in the order in which phases were first measured."""

    def __init__(self) -> None:
        self._samples: dict[str, list[tuple[float, float]]] = {}

    @contextmanager
    def phase(self, name: str, among: int = 1) -> Iterator[None]:
        """Measure the block as one sample of `name`; of work done for `among` at once, the share of one."""
        samples = self._samples.setdefault(name, [])
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        samples.append((wall / among, cpu / among))

    def add(self, name: str, wall: float, cpu: float) -> None:
        """One sample that was measured elsewhere, in seconds."""
        self._samples.setdefault(name, []).append((wall, cpu))

    def clear(self) -> None:
        """Forget every sample, as after a warm-up."""
        self._samples.clear()

    def phases(self) -> list[dict[str, Any]]:
        """For each phase: median, min and max of the wall seconds, the median of the processor seconds, and runs."""
        return [
            {
                "phase": name,
                "median": _rounded(median(wall for wall, _ in samples)),
                "min": _rounded(min(wall for wall, _ in samples)),
                "max": _rounded(max(wall for wall, _ in samples)),
                "cpu": _rounded(median(cpu for _, cpu in samples)),
                "runs": len(samples),
            }
            for name, samples in self._samples.items()
        ]


def _rounded(seconds: float) -> float:
    return round(seconds, 7)
