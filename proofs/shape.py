"""How a vector of d coordinates lies in rows (spec 5.1). Coordinate i is cell (i // C, i mod C)."""

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
        """Rows that carry coordinates: ceil(d / C)."""
        return -(-self.dimension // self.columns)

    @cached_property
    def rows(self) -> int:
        """The data rows and the private row behind them."""
        return self.data_rows + 1

    @cached_property
    def data_cells(self) -> int:
        """Cells of the data rows, padding included."""
        return self.data_rows * self.columns

    @cached_property
    def cells(self) -> int:
        """Cells of the data rows and the private row."""
        return self.rows * self.columns

    @cached_property
    def filled_columns(self) -> int:
        """How many cells of the last data row carry a coordinate, 1 to C; the rest are proved zero."""
        return self.dimension - (self.data_rows - 1) * self.columns
