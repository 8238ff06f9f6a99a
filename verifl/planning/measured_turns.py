"""Turns as they are measured, and into which slices statistics are cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from protocols.policy import STATISTIC
from protocols.steps.doubles import Doubles
from verifl.planning.measured import MeasuredTensor, MeasuredTurn, Measurement, usual
from verifl.training.tensors import TensorLayout
from verifl.training.update import l2_norm

RANGE = 16.0  # of coordinates of one statistic: those of a wider one are measured in slices
MOST_SLICES = 2048  # of all statistics together, of the 4096 that a policy can have
_EXPONENT = 2  # bits: in a slice movements are of one power of four


class Turns:
    """Collects turns of one layout. Of parameters norms are kept, of statistics every coordinate, until all are in."""

    def __init__(self, layout: TensorLayout) -> None:
        self._slices = list(layout.slices())
        self._turns: list[tuple[int, str, list[Doubles], list[tuple[float, float]]]] = []
        self.weights: list[int | None] = []  # of the turns

    def add(self, number: int, client: str, delta: Doubles, weight: int | None = None) -> None:
        """One client's update of a round, float64 (d,), and by what it counts in the mean."""
        self.weights.append(weight)
        kept = [delta[where if spec.role == STATISTIC else slice(0)].copy() for spec, where in self._slices]
        self._turns.append((number, client, kept, [_measures(delta[where]) for _, where in self._slices]))

    def measurement(self, initial: Mapping[str, float], reached: Mapping[str, float]) -> Measurement:
        """Of all turns, with the metrics before the first round and after the last."""
        cuts = self._cuts()
        tensors = tuple(
            MeasuredTensor(spec.name, stop - start, spec.role == STATISTIC, start, where.stop - where.start)
            for (spec, where), ranges in zip(self._slices, cuts, strict=True)
            for start, stop in ranges
        )
        turns = []
        for (number, client, kept, measures), weight in zip(self._turns, self.weights, strict=True):
            found = [
                _measures(values[start:stop]) if spec.role == STATISTIC else whole
                for (spec, _), values, whole, ranges in zip(self._slices, kept, measures, cuts, strict=True)
                for start, stop in ranges
            ]
            norms, peaks = zip(*found, strict=True)
            turns.append(MeasuredTurn(number, client, norms, peaks, weight))
        return Measurement(tensors, tuple(turns), initial, reached)

    def _cuts(self) -> list[list[tuple[int, int]]]:
        """By tensor its slices: all of it, but of statistics that move by very different lengths; those of the widest
        range first, as long as there are few enough."""
        whole = [[(0, where.stop - where.start)] for _, where in self._slices]
        wide = {}
        for place in range(len(self._slices)):
            movement = usual(np.abs([kept[place] for _, _, kept, _ in self._turns]))
            moving = movement[movement > 0]
            if moving.size and moving.max() > RANGE * moving.min():
                wide[place] = (float(moving.max() / moving.min()), _runs(movement))
        room = MOST_SLICES
        for place, (_, runs) in sorted(wide.items(), key=lambda item: -item[1][0]):
            if len(runs) <= room:
                whole[place], room = runs, room - len(runs)
        return whole


def _runs(movement: Doubles) -> list[tuple[int, int]]:
    """Neighbours that move by one power of four; what does not move goes with what is before it."""
    exponents = np.floor(np.log2(np.where(movement > 0, movement, 1.0)) / _EXPONENT)
    for place in np.flatnonzero(movement == 0):
        exponents[place] = exponents[place - 1] if place else exponents[np.argmax(movement > 0)]
    return _ranges(exponents.tolist())


def _ranges(values: Sequence[float]) -> list[tuple[int, int]]:
    found, start = [], 0
    for _, run in groupby(values):
        stop = start + len(list(run))
        found.append((start, stop))
        start = stop
    return found


def _measures(values: Doubles) -> tuple[float, float]:
    """The L2 norm, and the largest magnitude."""
    return l2_norm(values), float(np.abs(values).max(initial=0.0))
