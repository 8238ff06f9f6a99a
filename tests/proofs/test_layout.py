"""The tables of an argument by name, size and class of weights, as spec 5.1 and 5.8 list them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from proofs.encryption import EncryptionParameters
from proofs.errors import Misuse
from proofs.layout import Layout, TableLayout
from proofs.noise import NoiseGroups
from proofs.ranges import CoordinateGroup
from proofs.relations.norm import Norm
from proofs.relations.range import Range
from proofs.relations.relation import OwnTable
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


def test_tables_of_a_hidden_weight() -> None:
    layout = WeakParameters(40, 500, 4, 100, (), RING, hidden_weight=3).layout
    assert layout.tables[5:7] == (
        TableLayout("weight-roots", 1, 8, plain=False, weights="weight-roots"),
        TableLayout("weight-squares", 1, 8, plain=False, weights=None),
    )
    assert layout.classes == ("range", "weight-roots", "error", "error-slack", "key", "key-slack")
    assert layout.families["weight-commitments"] == 2


def test_families_and_rows_apart_of_the_norm_alone() -> None:
    layout = WeakParameters(40, 500, 4).layout
    assert (layout.families, layout.apart, layout.classes) == ({"commitments": 4}, (), ())


class OtherRange(Range):
    """With other names, of which a test may take one back."""

    name = "other"
    commitments = "other-commitments"
    table = "other"

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        return (OwnTable(self.table, 3, 16),)

    @property
    def classes(self) -> Mapping[str, str]:
        return {self.table: "other"}


class OtherName(OtherRange):
    name = "range"


class OtherTable(OtherRange):
    table = "range-b"


class OtherLabel(OtherRange):
    commitments = "range-commitments"


class NoLabel(OtherRange):
    commitments = ""


class OtherClass(OtherRange):
    @property
    def classes(self) -> Mapping[str, str]:
        return {"update": "other"}


class NoWeight(OtherRange):
    scalars = 0  # type: ignore[assignment]  # a constant for a property


class OpenedApart(OtherRange):
    apart = ("other", "range-a")  # type: ignore[assignment]  # a constant for a property


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (OtherName, "names of relations, found range 2 times"),
        (OtherTable, "names of tables, found range-b 2 times"),
        (OtherLabel, "labels of commitments, found range-commitments 2 times"),
        (OtherClass, "tables with weights, found update 2 times"),
        (NoLabel, "a label for the commitments of every table"),
        (NoWeight, "a weight in all but one, found none in norm, other"),
        (OpenedApart, "both in one relation or in none, found other"),
    ],
)
def test_relations_that_do_not_go_together(kind: type[OtherRange], found: str) -> None:
    """Two that share weights, or one without a factor of its own, could make up for each other."""
    shape, segments = TableShape(40), (CoordinateGroup(0, 40, 9),)
    others = (Norm(shape, 50), Range(shape, segments))
    assert len(Layout(shape, (*others, OtherRange(shape, segments))).tables) == 2 + 3 + 1
    with pytest.raises(Misuse, match=found):
        Layout(shape, (*others, kind(shape, segments)))


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
