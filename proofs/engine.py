"""What the argument asks of an arithmetic engine (spec 5.2).

Engines share no arithmetic: `proofs.native` (numba) and `proofs.reference` (plain Python over py_ecc). Everything of
the size of a row, a column or a proof is a list of Python integers; only what grows with the dimension or with
(projections x rows) is handed to the engine. Scalars are integers in [0, ORDER); points are 33-byte SEC1 compressed;
tables are int64 arrays of shape (rows, columns).

Generators: G_0, G_1, ... and H of `proofs.generators`, the same for both engines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]
Signs = NDArray[np.int8]
Points = Any  # an engine's own form of a decoded, validated sequence of points


@dataclass(frozen=True)
class RoundSums:
    """One row round, as sums over the rest of the cube, evaluated at the round's variable X.

    square: of v(X, .)^2 at X = 0, 1, 2; cross: of sum_j left_j(X, .) W_j(X, .) at X = 0, 1, 2;
    total: of v(X, .) at X = 0, 1 (it is linear in X).
    """

    square: tuple[int, int, int]
    cross: tuple[int, int, int]
    total: tuple[int, int]


class RowSumcheck(Protocol):
    """The row rounds of one sumcheck, least significant row bit first; absent rows are zero."""

    def sums(self) -> RoundSums:
        """Sums of the current round."""
        ...

    def bind(self, challenge: int) -> None:
        """Fix the current variable; the table of ceil(rows / 2) rows that is left is the next round's."""
        ...

    def row(self) -> list[int]:
        """The single row left once every row variable is bound: one scalar per column."""
        ...


class Engine(Protocol):
    """Bulk arithmetic over the scalar field and the group. Total on its stated domain, deterministic."""

    name: str

    def commit_rows(self, table: Table, blindings: Sequence[int]) -> bytes:
        """rows * 33 bytes: D_r = sum_c table[r, c] G_c + blindings[r] H."""
        ...

    def commit(self, scalars: Sequence[int], blinding: int) -> bytes:
        """33 bytes: sum_i scalars[i] G_i + blinding H; raises Misuse for the identity, which has no encoding."""
        ...

    def weighted_columns(self, table: Table, weights: Sequence[int]) -> list[int]:
        """One scalar per column: sum_r weights[r] table[r, c]."""
        ...

    def weighted_rows(self, table: Table, weights: Sequence[int]) -> list[int]:
        """One scalar per row: sum_c table[r, c] weights[c]."""
        ...

    def ternary_products(self, signs: Signs, vector: Sequence[int]) -> list[int]:
        """signs (k, n) with entries -1, 0, 1; one scalar per j: sum_i signs[j, i] vector[i]."""
        ...

    def ternary_combination(self, signs: Signs, weights: Sequence[int]) -> list[int]:
        """signs (k, n); one scalar per i: sum_j weights[j] signs[j, i]."""
        ...

    def row_sumcheck(
        self,
        table: Table,
        row_signs: Signs,
        column_signs: Signs,
        weights: Sequence[int],
        extra_left: Sequence[int],
        extra_right: Sequence[int],
    ) -> RowSumcheck:
        """Sum over the cube of v^2 + sum_j left_j(row) right_j(column) v(row, column).

        row_signs (k, rows), column_signs (k, columns), weights k scalars: left_j[r] = weights[j] row_signs[j, r],
        right_j = column_signs[j]; one more pair is given by the scalars extra_left (rows), extra_right (columns).
        W_j[r] = sum_c right_j[c] v[r, c].
        """
        ...

    def decode_points(self, encoded: bytes) -> Points:
        """Whole multiple of 33 bytes; raises Malformed with the index of the first bad point (off the curve,
        x >= p, bad prefix, wrong length)."""
        ...

    def point_count(self, points: Points) -> int: ...

    def concatenate(self, parts: Sequence[Points]) -> Points: ...

    def combination_is_zero(
        self, points: Points, scalars: Sequence[int], generator_scalars: Sequence[int], blinding_scalar: int
    ) -> bool:
        """Whether sum_i scalars[i] points[i] + sum_i generator_scalars[i] G_i + blinding_scalar H is the identity."""
        ...
