"""The tables of one argument and their places in the cube of its sumcheck (spec 5.1).

Cell (r, c) of a table is the point (bits of r, then bits of c) of the cube, each least significant bit first; rows and
columns that a table lacks are zero and exist nowhere. The commitments of the rows of all tables stand in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from proofs.encryption import EncryptionParameters
from proofs.noise import NoiseGroups
from proofs.shape import TableShape

UPDATE, PRIVATE = "update", "private"
RANGE_TABLES = ("range-a", "range-b", "range-c")
ERROR, ERROR_SLACK, KEY, KEY_SLACK = "error", "error-slack", "key", "key-slack"
NOISE_TABLES = (ERROR, ERROR_SLACK, KEY, KEY_SLACK)
RANGE = "range"  # the class of weights of the update and the range tables; every noise table is its own


@dataclass(frozen=True)
class TableLayout:
    """One table. plain: its squares count in the norm; weights: the class of weights its squares take elsewhere."""

    name: str
    rows: int
    columns: int
    plain: bool
    weights: str | None


@dataclass(frozen=True)
class Layout:
    """All tables, in order: update, private row; range tables; noise tables, as the relations in force want them."""

    shape: TableShape
    with_range: bool
    encryption: EncryptionParameters | None

    @cached_property
    def tables(self) -> tuple[TableLayout, ...]:
        rows, columns = self.shape.data_rows, self.shape.columns
        range_class = RANGE if self.with_range else None
        return (
            TableLayout(UPDATE, rows, columns, plain=True, weights=range_class),
            TableLayout(PRIVATE, 1, columns, plain=True, weights=None),
            *(TableLayout(name, rows, columns, plain=False, weights=RANGE) for name in RANGE_TABLES if self.with_range),
            *self._noise_tables(),
        )

    def _noise_tables(self) -> Sequence[TableLayout]:
        if self.encryption is None:
            return ()
        sizes = []
        for groups in (self.error_groups, self.key_groups):
            sizes += [(groups.rows, groups.columns), (groups.slack_rows, groups.slack_columns)]
        return [
            TableLayout(name, *size, plain=False, weights=name) for name, size in zip(NOISE_TABLES, sizes, strict=True)
        ]

    @cached_property
    def error_groups(self) -> NoiseGroups:
        """Errors have the cells of the data rows, padding included: the ciphertext covers them."""
        return NoiseGroups(self.shape.data_rows, self.shape.columns)

    @cached_property
    def key_groups(self) -> NoiseGroups:
        """The key's N coefficients, row after row of min(C, N) columns."""
        degree = self.encryption.degree if self.encryption else self.shape.columns
        columns = min(self.shape.columns, degree)
        return NoiseGroups(degree // columns, columns)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of weights in force, in the order of the tables."""
        return tuple(dict.fromkeys(table.weights for table in self.tables if table.weights is not None))

    def index(self, name: str) -> int:
        """Position of a table that is there."""
        return [table.name for table in self.tables].index(name)

    @cached_property
    def total_rows(self) -> int:
        """Rows of all tables: as many commitments."""
        return sum(table.rows for table in self.tables)

    @cached_property
    def total_cells(self) -> int:
        """Cells of all tables."""
        return sum(table.rows * table.columns for table in self.tables)

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Where each table's rows stand among all rows."""
        stops = list(accumulate(table.rows for table in self.tables))
        return tuple(slice(stop - table.rows, stop) for stop, table in zip(stops, self.tables, strict=True))

    @cached_property
    def row_variables(self) -> int:
        """lr: ceil(log2 of the rows of the tallest table), at least 1."""
        return max(1, (max(table.rows for table in self.tables) - 1).bit_length())

    @cached_property
    def column_variables(self) -> int:
        """lc."""
        return self.shape.column_variables

    @cached_property
    def variables(self) -> int:
        """l, the dimension of the cube."""
        return self.row_variables + self.column_variables
