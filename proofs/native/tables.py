"""The generators and their multiples, computed once a process: 8 KiB a generator, in the thread that asks first.

No worker is asked to help while the lock is held: a pool full of threads that wait for it would never answer.
"""

from __future__ import annotations

import functools
import threading

import numpy as np

from proofs.arrays import Words
from proofs.curve import POINT_SIZE
from proofs.domains import BLINDING_GENERATOR, GENERATOR
from proofs.generators import candidate
from proofs.native.points import MULTIPLES, add_points, decompress

BLINDING_WINDOWS = 33  # signed eight-bit digits of a scalar below 2^256, and the carry


class GeneratorTables:
    """Coordinates and multiples of G_0, G_1, ... (as many as were asked for so far) and of H."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._points = np.empty((0, 8), np.uint64)
        self._multiples = np.empty((0, 8), np.uint64)

    def points(self, count: int) -> Words:
        """(count, 8): G_0 .. G_(count - 1)."""
        with self._lock:
            return self._grown_points(count)[:count]

    def multiples(self, count: int) -> Words:
        """(count * MULTIPLES, 8): 1 G_0, 2 G_0, .. MULTIPLES G_0, 1 G_1, .."""
        with self._lock:
            known = len(self._multiples) // MULTIPLES
            if known < count:
                fresh = _multiples(self._grown_points(count)[known:count])
                self._multiples = np.concatenate([self._multiples, fresh])
            return self._multiples[: count * MULTIPLES]

    @functools.cached_property
    def blinding(self) -> Words:
        """(1, 8): H."""
        return _lifted(BLINDING_GENERATOR, 0, 1)

    @functools.cached_property
    def blinding_multiples(self) -> Words:
        """(BLINDING_WINDOWS * MULTIPLES, 8): the multiples of H, of 2^8 H, of 2^16 H, .."""
        bases = np.repeat(self.blinding, BLINDING_WINDOWS, axis=0)
        for window in range(1, BLINDING_WINDOWS):
            rest = np.arange(window, BLINDING_WINDOWS)
            add_points(bases, rest, bases, rest, 8)
        return _multiples(bases)

    def _grown_points(self, count: int) -> Words:
        known = len(self._points)
        if known < count:
            self._points = np.concatenate([self._points, _lifted(GENERATOR, known, count)])
        return self._points


@functools.cache
def generator_tables() -> GeneratorTables:
    """The process's tables."""
    return GeneratorTables()


def _lifted(tag: bytes, first: int, stop: int) -> Words:
    """(stop - first, 8): `proofs.generators` in bulk. Decompression stops at an x without a point: try its next x."""
    encoded = bytearray().join(b"\x02" + candidate(tag, index, 0) for index in range(first, stop))
    rows = np.frombuffer(encoded, np.uint8).reshape(-1, POINT_SIZE)
    points = np.empty((len(rows), 8), np.uint64)
    done, failures = 0, 0
    while True:
        lifted = int(decompress(rows[done:], points[done:]))
        failures = failures + 1 if lifted == 0 else 1
        done += lifted
        if done == len(rows):
            return points
        rows[done, 1:] = np.frombuffer(candidate(tag, first + done, failures), np.uint8)


def _multiples(points: Words) -> Words:
    table = np.zeros((len(points), MULTIPLES, 8), np.uint64)
    table[:, 0] = points
    flat = table.reshape(-1, 8)
    firsts = np.arange(len(table))[:, None] * MULTIPLES
    known = 1
    while known < MULTIPLES:  # from 1 .. k times a point to k + 1 .. 2k times, by adding k times it to each
        table[:, known : 2 * known] = table[:, :known]
        targets = firsts + known + np.arange(known)
        add_points(flat, targets.ravel(), flat, np.repeat(firsts.ravel() + known - 1, known), 1)
        known *= 2
    return flat
