"""How a vector of d coordinates lies in a table, and the table in the cube of the sumcheck (spec 5.1).

Coordinate i is cell (i // C, i mod C). Cell (r, c) is the point (bits of r, then bits of c) of the cube, each least
significant bit first. The private row is the last one; rows from `rows` up to 2^row_variables are zero and exist
nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from proofs.errors import Misuse

MAXIMUM_DIMENSION = 2**32
MINIMUM_COLUMNS = 16


@dataclass(frozen=True)
class TableShape:
    """Table of a vector of `dimension` coordinates, 1 to 2^32; raises Misuse outside that range."""

    dimension: int

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= MAXIMUM_DIMENSION:
            raise Misuse(f"dimension: expected 1 <= d <= {MAXIMUM_DIMENSION}, found {self.dimension}")

    @cached_property
    def column_variables(self) -> int:
        """log2 of the columns: the smallest n >= 4 with 4^n >= d."""
        return max(MINIMUM_COLUMNS.bit_length() - 1, ((self.dimension - 1).bit_length() + 1) // 2)

    @cached_property
    def columns(self) -> int:
        """C, a power of two, about the square root of d."""
        return 1 << self.column_variables

    @cached_property
    def data_rows(self) -> int:
        """Rows that carry coordinates: ceil(d / C). Also the index of the private row."""
        return -(-self.dimension // self.columns)

    @cached_property
    def rows(self) -> int:
        """R: the data rows and the private row."""
        return self.data_rows + 1

    @cached_property
    def row_variables(self) -> int:
        """ceil(log2 R), at least 1."""
        return (self.rows - 1).bit_length()

    @cached_property
    def variables(self) -> int:
        """l, the dimension of the cube."""
        return self.row_variables + self.column_variables

    @cached_property
    def cells(self) -> int:
        """R C, private row included."""
        return self.rows * self.columns

    @cached_property
    def filled_columns(self) -> int:
        """How many cells of the last data row carry a coordinate, 1 to C; the rest are proved zero."""
        return self.dimension - (self.data_rows - 1) * self.columns
