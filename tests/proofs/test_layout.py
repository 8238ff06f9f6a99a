"""The tables of an argument by name, size and class of weights, as spec 5.1 and 5.8 list them."""

from __future__ import annotations

import numpy as np
import pytest

from proofs.encryption import EncryptionParameters
from proofs.errors import Misuse
from proofs.layout import Layout, TableLayout
from proofs.noise import NoiseGroups
from proofs.ranges import CoordinateGroup
from proofs.relations.norm import Norm
from proofs.relations.range import Range
from proofs.shape import TableShape
from tests.proofs.arguments import MODULUS, RING, WeakParameters

LARGE = EncryptionParameters(4096, MODULUS, 2**20)


def test_tables_of_everything() -> None:
    layout = WeakParameters(40, 500, 4, 100, (), RING).layout
    assert layout.tables == (
        TableLayout("update", 3, 16, plain=True, weights="range"),
        TableLayout("private", 1, 16, plain=True, weights=None),
        TableLayout("range-a", 3, 16, plain=False, weights="range"),
        TableLayout("range-b", 3, 16, plain=False, weights="range"),
        TableLayout("range-c", 3, 16, plain=False, weights="range"),
        TableLayout("error", 3, 16, plain=False, weights="error"),
        TableLayout("error-slack", 1, 16, plain=False, weights="error-slack"),
        TableLayout("key", 1, 16, plain=False, weights="key"),
        TableLayout("key-slack", 1, 4, plain=False, weights="key-slack"),
    )
    assert layout.classes == ("range", "error", "error-slack", "key", "key-slack")
    assert (layout.total_rows, layout.total_cells) == (19, 4 * 16 + 9 * 16 + 3 * 16 + 16 + 16 + 4)
    stops = [3, 4, 7, 10, 13, 16, 17, 18, 19]
    assert layout.spans == tuple(slice(start, stop) for start, stop in zip([0, *stops], stops, strict=False))
    assert (layout.row_variables, layout.column_variables, layout.variables) == (2, 4, 6)
    assert layout.families == {"commitments": 4, "range-commitments": 9, "encryption-commitments": 6}
    assert layout.apart == (0,)


def test_families_and_rows_apart_of_the_norm_alone() -> None:
    layout = WeakParameters(40, 500, 4).layout
    assert (layout.families, layout.apart, layout.classes) == ({"commitments": 4}, (), ())


def test_two_relations_cannot_weigh_one_table() -> None:
    shape, segments = TableShape(40), (CoordinateGroup(0, 40, 9),)
    with pytest.raises(Misuse, match="one class of weights for table update"):
        _ = Layout(shape, (Norm(shape, 50), Range(shape, segments), Range(shape, segments))).tables


def test_tables_of_a_million_coordinates() -> None:
    layout = WeakParameters(2**20, 500, 4, None, (), LARGE).layout
    sizes = {table.name: (table.rows, table.columns) for table in layout.tables}
    assert sizes == {
        "update": (1024, 1024),
        "private": (1, 1024),
        "error": (1024, 1024),
        "error-slack": (64, 1024),
        "key": (4, 1024),
        "key-slack": (1, 256),
    }
    assert layout.tables[0].weights is None
    assert (layout.row_variables, layout.column_variables) == (10, 10)


@pytest.mark.parametrize(
    ("rows", "columns", "size", "per_row", "slack"),
    [
        (1, 4, 4, 1, (1, 4)),
        (3, 16, 16, 1, (1, 16)),
        (5, 16, 16, 1, (2, 16)),
        (4, 64, 64, 1, (1, 16)),
        (33, 64, 64, 1, (4, 64)),
        (600, 1024, 64, 16, (64, 1024)),
        (1024, 1024, 64, 16, (64, 1024)),
        (4, 1024, 64, 16, (1, 256)),
    ],
)
def test_groups_by_hand(rows: int, columns: int, size: int, per_row: int, slack: tuple[int, int]) -> None:
    groups = NoiseGroups(rows, columns)
    assert (groups.size, groups.per_row, groups.count) == (size, per_row, rows * per_row)
    assert (groups.slack_rows, groups.slack_columns) == slack


def test_slack_stands_where_its_row_says() -> None:
    """Square i of group j of row r: row r mod 2^m, column 4 ((r >> m) g + j) + i."""
    groups = NoiseGroups(37, 128)
    squares = np.arange(1, 37 * 2 * 4 + 1).reshape(37, 2, 4)
    table = groups.slack_table(squares)
    assert table.shape == (4, 4 * 2 * 16)
    for (row, group, square), value in np.ndenumerate(squares):
        assert table[row % 4, 4 * ((row >> 2) * 2 + group) + square] == value
    assert np.count_nonzero(table) == squares.size
