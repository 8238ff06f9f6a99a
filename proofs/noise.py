"""Groups of noise cells and the slack that fills the squares of each up to E^2 (spec 5.8).

The columns of a noise table (errors, or the key) are cut into groups of G; four squares of slack belong to each. The
slack of the groups of row r stands in row r mod 2^m of the slack table, where the high bits of r choose the columns:
cell 4 ((r >> m) g + j) + i for square i of group j, g groups a row. So slack takes a sixteenth of the rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proofs.encryption import GROUP_SIZE
from proofs.engine import Table
from proofs.wiping import wipe

SQUARES = 4


@dataclass(frozen=True)
class NoiseGroups:
    """Groups of a table of `rows` >= 1 rows and `columns` columns, a power of two >= 4."""

    rows: int
    columns: int

    @cached_property
    def size(self) -> int:
        """G: cells of a group."""
        return min(GROUP_SIZE, self.columns)

    @cached_property
    def per_row(self) -> int:
        """g: groups of a row."""
        return self.columns // self.size

    @cached_property
    def count(self) -> int:
        """Groups of the table."""
        return self.rows * self.per_row

    @cached_property
    def row_variables(self) -> int:
        """Bits of a row's index."""
        return (self.rows - 1).bit_length()

    @cached_property
    def kept_variables(self) -> int:
        """m: low bits of a row's index that remain the row of its slack."""
        return max(0, self.row_variables - (self.size // SQUARES).bit_length() + 1)

    @cached_property
    def slack_rows(self) -> int:
        """Rows of the slack table."""
        return min(self.rows, 1 << self.kept_variables)

    @cached_property
    def slack_columns(self) -> int:
        """Columns of the slack table, a power of two, at most those of the table."""
        return SQUARES * self.per_row << (self.row_variables - self.kept_variables)

    def square_sums(self, table: Table) -> NDArray[np.int64]:
        """(rows, per_row): each group's sum of squares, for entries below 2^28 in magnitude."""
        squares = table * table
        sums: NDArray[np.int64] = squares.reshape(self.rows, self.per_row, self.size).sum(axis=2)
        wipe(squares)
        return sums

    def slack_table(self, slack: NDArray[np.int64]) -> Table:
        """(slack_rows, slack_columns) from the squares of every group, (rows, per_row, 4)."""
        table = np.zeros((self.slack_rows, self.slack_columns), dtype=np.int64)
        width = SQUARES * self.per_row
        for high, start in enumerate(range(0, self.rows, 1 << self.kept_variables)):
            block = slack[start : start + (1 << self.kept_variables)].reshape(-1, width)
            table[: len(block), high * width : (high + 1) * width] = block
        return table
