"""What the argument asks of an arithmetic engine (spec 5.2).

Engines share no arithmetic: `proofs.native` (numba) and `proofs.reference` (plain Python over py_ecc). Everything of
the size of a row, a column or a proof is a list of Python integers; only what grows with the dimension or with
(projections x rows) is handed to the engine. Scalars are integers in [0, ORDER); points are 33-byte SEC1 compressed;
tables are int64 arrays of shape (rows, columns).

Generators: G_0, G_1, ... and H of `proofs.generators`, the same for both engines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]
Signs = NDArray[np.int8]
Points = Any  # an engine's own form of a decoded, validated sequence of points


@dataclass(frozen=True, eq=False, repr=False)  # secret but for `encoded`
class KnownRows:
    """A table, the blindings of its rows, and what `Engine.commit_rows` gave for them."""

    table: Table
    blindings: Sequence[int]
    encoded: bytes


@dataclass(frozen=True, eq=False, repr=False)  # secret: stays out of messages
class Block:
    """One table of a sumcheck, at the top left of the cube: the rows and columns it lacks are zero.

    table: int64 (rows_b, columns_b) with rows_b >= 1 and entries of at most 2^40 in magnitude. row_signs: int8
    (k, rows_b) with entries -1, 0, 1. plain: whether its squares count in `RoundSums.square`. weights: which of the
    sumcheck's column weights its squares take in `RoundSums.weighted`, None for no part in it.
    """

    table: Table
    row_signs: Signs
    plain: bool
    weights: int | None


@dataclass(frozen=True, eq=False, repr=False)  # the signs are public; what they are for is not
class SignedProduct:
    """The product of two blocks of one size, cell by cell, with weights of public signs, row_point the sumcheck's:

    W(r, c) = signs[r, c] (factor + eq(row_point, r) weights[c])

    left, right: which blocks. signs: int8 (rows, columns) with entries -1 and 1. weights: one scalar for each column;
    None for zeros.
    """

    left: int
    right: int
    signs: Signs
    factor: int
    weights: Sequence[int] | None


@dataclass(frozen=True)
class SignedSums:
    """Sums over the rest of the cube for a `SignedProduct`, W as a multilinear polynomial.

    product: of W v_left v_right at X = 0, 1, 2, 3. left, right: of W v_left and of W v_right at X = 0, 1, 2.
    """

    product: tuple[int, int, int, int]
    left: tuple[int, int, int]
    right: tuple[int, int, int]


@dataclass(frozen=True)
class RoundSums:
    """One row round, as sums over all blocks b and over the rest of the cube, evaluated at the round's X = 0, 1, 2.

    square: of factor_b v_b(X, .)^2 over the plain blocks. weighted: of eq(row_point[i + 1:], row) weight[column]
    v_b(X, .)^2 over the blocks with weights, i the round. cross: of sum_j left_bj(X, .) W_bj(X, .) + linear_b(X, .)
    v_b(X, .). signed: where there is a `SignedProduct`.
    """

    square: tuple[int, int, int]
    weighted: tuple[int, int, int]
    cross: tuple[int, int, int]
    signed: SignedSums | None = None


class RowSumcheck(Protocol):
    """The row rounds of one sumcheck, least significant row bit first; absent rows are zero."""

    def sums(self) -> RoundSums:
        """Sums of the current round."""
        ...

    def bind(self, challenge: int) -> None:
        """Fix the current variable; of n rows of a block, ceil(n / 2) are left, the next round's."""
        ...

    def rows(self) -> list[list[int]]:
        """The single row of every block once every row variable is bound: one scalar per column of its own."""
        ...


class Projection(Protocol):
    """The tables with their signs, before the weights of a sumcheck are known."""

    def values(self) -> list[int]:
        """k exact integers: sum_b sum_r row_signs_b[j, r] W_bj[r]."""
        ...

    def row_sumcheck(
        self,
        projection_weights: Sequence[int],
        column_weights: Sequence[Sequence[int]],
        row_point: Sequence[int],
        linear: Mapping[int, Sequence[int]],
        factors: Mapping[int, int] | None = None,
        signed: SignedProduct | None = None,
    ) -> RowSumcheck:
        """A sumcheck of len(row_point) row rounds; every block has at most 2^len(row_point) rows. At most one each.

        projection_weights: k scalars; left_bj[r] = projection_weights[j] row_signs_b[j, r]. column_weights: lists of
        as many scalars as the blocks that name them have columns. linear: by a block's index a dense linear form of
        rows_b * columns_b scalars, row after row, for small blocks. factors: by a block's index, of its plain squares;
        1 where there is none.
        """
        ...


class Engine(Protocol):
    """Bulk arithmetic over the scalar field and the group. Total on its stated domain, deterministic."""

    name: str

    def commit_rows(self, table: Table, blindings: Sequence[int], known: KnownRows | None = None) -> bytes:
        """rows * 33 bytes: D_r = sum_c table[r, c] G_c + blindings[r] H.

        known: of a table of the same shape, from which an engine may start where that is less work; the bytes are the
        same.
        """
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

    def project(self, blocks: Sequence[Block], column_signs: Signs) -> Projection:
        """column_signs (k, C), C a power of two and at least every block's columns.

        W_bj[r] = sum_c column_signs[j, c] table_b[r, c], over the columns the block has.
        """
        ...

    def residue_combinations(
        self, residues: Table, row_weights: Table, column_weights: Table, modulus: int
    ) -> list[int]:
        """One integer in [0, modulus) per s: sum over cells of row_weights[s, r] column_weights[s, c] residues[r, c].

        residues (rows, columns) in [0, modulus); weights (S, rows) and (S, columns) in [0, 2^52); modulus odd, below
        2^62.
        """
        ...

    def adjoint_combinations(
        self, elements: Table, row_weights: Table, column_weights: Table, modulus: int
    ) -> NDArray[np.int64]:
        """(S, N) in [0, modulus): the functional k -> sum over cells of weight times cell of a k, by coefficient of k.

        elements (chunks, N): a_0, a_1, ... in Z_q[X] / (X^N + 1), coefficients in [0, modulus), N a power of two >= 4.
        Cell (r, c) has weight row_weights[s, r] column_weights[s, c] and is, with x = r * columns + c, coefficient
        x mod N of a_j k, j = x div N; chunks = ceil(rows * columns / N), columns a power of two. Entry i is the sum
        over cells of the weight times (a_j[m - i] for i <= m, -a_j[N + m - i] for i > m), m = x mod N.
        """
        ...

    def decode_points(self, encoded: bytes) -> Points:
        """Whole multiple of 33 bytes; raises Malformed with the index of the first bad point (off the curve,
        x >= p, bad prefix, wrong length)."""
        ...

    def point_count(self, points: Points) -> int:
        """How many points a decoded sequence has."""
        ...

    def concatenate(self, parts: Sequence[Points]) -> Points:
        """The points of all parts, in order; empty for no parts."""
        ...

    def combination_is_zero(
        self, points: Points, scalars: Sequence[int], generator_scalars: Sequence[int], blinding_scalar: int
    ) -> bool:
        """Whether sum_i scalars[i] points[i] + sum_i generator_scalars[i] G_i + blinding_scalar H is the identity."""
        ...
