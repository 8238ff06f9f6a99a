"""Bounds on single coordinates: one for all, others for slices of the vector (spec 5.3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from proofs.errors import Misuse

MAXIMUM_COORDINATE_BOUND = 2**20


@dataclass(frozen=True)
class CoordinateGroup:
    """Coordinates start <= i < stop, each of magnitude at most `bound` (0 to 2^20; 0 freezes them)."""

    start: int
    stop: int
    bound: int


def coordinate_segments(dimension: int, bound: int, groups: Sequence[CoordinateGroup]) -> tuple[CoordinateGroup, ...]:
    """Slices that cover [0, dimension) in order: the groups, and `bound` for the coordinates between them.

    Raises Misuse for a bound outside 0 .. 2^20, or groups that are empty, out of order, overlapping or beyond the end.
    """
    for value in (bound, *(group.bound for group in groups)):
        if not 0 <= value <= MAXIMUM_COORDINATE_BOUND:
            raise Misuse(f"coordinate bound: expected 0 <= beta <= {MAXIMUM_COORDINATE_BOUND}, found {value}")
    edges = [0, *(edge for group in groups for edge in (group.start, group.stop)), dimension]
    if any(low > high for low, high in pairwise(edges)) or any(group.start == group.stop for group in groups):
        raise Misuse(f"groups: expected non-empty ascending disjoint slices of [0, {dimension}), found {list(groups)}")
    return tuple(_filled(dimension, bound, groups))


def _filled(dimension: int, bound: int, groups: Sequence[CoordinateGroup]) -> Iterator[CoordinateGroup]:
    position = 0
    for group in (*groups, CoordinateGroup(dimension, dimension, bound)):
        if position < group.start:
            yield CoordinateGroup(position, group.start, bound)
        if group.start < group.stop:
            yield group
        position = group.stop
