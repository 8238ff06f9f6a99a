"""The forms of the relations, each against its definition: sums over tables that are small enough to write out."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq_table
from proofs.ranges import CoordinateGroup
from proofs.relations import ColumnWeights, column_weights, combine, pad_at, public_sum
from proofs.transcript import CellWeights, RelationWeights
from tests.proofs.arguments import RING, WeakParameters, honest, native

SCALARS = st.integers(0, ORDER - 1)
EVERYTHING = WeakParameters(40, 500, 4, 100, (CoordinateGroup(3, 9, 0),), RING)


def drawn(parameters: ArgumentParameters, seed: int) -> RelationWeights:
    """Weights as large as challenges are."""
    rng, layout = np.random.default_rng(seed), parameters.layout
    scalars = [int.from_bytes(rng.bytes(32), "big") % ORDER for _ in range(6 + layout.variables)]
    padding, bounds, error, key, packing, base, *point = scalars
    rows, columns = point[: layout.row_variables], point[layout.row_variables :]
    return RelationWeights([1] * 4, padding, rows, columns, bounds, error, key, packing, base, [1] * 4)


@given(SCALARS)
def test_pads_vanish_on_the_cube_only(x: int) -> None:
    assert pad_at(x) == (x - x * x) % ORDER
    assert (pad_at(x) == 0) == (x in {0, 1})


@settings(max_examples=30)
@given(SCALARS, st.integers(0, 2), st.lists(SCALARS, max_size=2), st.lists(SCALARS, min_size=5, max_size=5))
@example(ORDER - 1, 2, [ORDER - 1], [2] * 5)
def test_column_weights(factor: int, free: int, point: list[int], columns: list[int]) -> None:
    """Alike for the columns that differ in the lowest variables only, zero beyond those of the point."""
    weights = ColumnWeights(factor, free, point)
    table = weights.table()
    assert table == [factor * eq_table(point)[c >> free] % ORDER for c in range(1 << free + len(point))]
    assert weights.total() == sum(table) % ORDER
    assert weights.at(columns) == dot(table, eq_table(columns)[: len(table)])


def test_public_sum_is_what_full_groups_sum_to() -> None:
    """B^2; the bound of every coordinate, weighted; E^2 of every group, with the weight of any of its cells."""
    weights = drawn(EVERYTHING, 1)
    rows, columns = eq_table(weights.row_point), eq_table(weights.column_point)
    classes = column_weights(EVERYTHING, weights)
    expected = 500**2
    for i in range(40):
        expected += weights.range * (0 if 3 <= i < 9 else 100) ** 2 * rows[i // 16] * columns[i % 16]
    for name, count in (("error", 3), ("key", 1)):
        table = classes[name].table()  # one group of 16 in a row
        assert len(set(table)) == 1
        expected += 128**2 * table[0] * sum(rows[:count])
    assert public_sum(EVERYTHING, weights) == expected % ORDER


def test_no_combinations_without_encryption() -> None:
    statement = honest(native(), EVERYTHING).claim.encryption
    assert statement is not None
    none = np.zeros((0, 3), dtype=np.int64)
    assert combine(native(), WeakParameters(40, 500, 4), CellWeights(none, none), statement) is None
