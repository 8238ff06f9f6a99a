"""The native engine: checks what comes in, then hands it to the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.curve import FIELD, ORDER, POINT_SIZE
from proofs.engine import RowSumcheck, Signs, Table
from proofs.errors import Malformed, Misuse
from proofs.native.multiplication import LARGEST_ENTRY, commit_table, multiply_points
from proofs.native.points import decompress
from proofs.native.scalars import signed_products
from proofs.native.sumcheck import IntegerTables, NativeRowSumcheck
from proofs.native.tables import generator_tables
from proofs.native.words import Words, check_scalars, encode_points, reduced, to_words
from proofs.workers import map_chunks

_COLUMN_BLOCK = 64  # columns transposed at once


@dataclass(frozen=True, eq=False)
class NativePoints:
    """Points of the curve, none the identity: (n, 8) words."""

    words: Words


class NativeEngine:
    """`proofs.engine.Engine` on compiled kernels and all workers.

    Tables to commit to or to prove hold entries of at most 2^40 in absolute value, weighted ones any int64.
    """

    name = "native"

    def commit_rows(self, table: Table, blindings: Sequence[int]) -> bytes:
        """See `Engine`; raises Misuse for a row that commits to the identity."""
        table = _checked_table(table)
        check_scalars("blindings", blindings, len(table))
        if len(table) == 0:
            return b""
        return encode_points(commit_table(table, blindings))

    def commit(self, scalars: Sequence[int], blinding: int) -> bytes:
        """See `Engine`."""
        check_scalars("scalars", scalars)
        check_scalars("blinding", [blinding])
        tables = generator_tables()
        points = np.concatenate([tables.points(len(scalars)), tables.blinding])
        return encode_points(multiply_points(points, [*scalars, blinding])[None])

    def weighted_columns(self, table: Table, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        table = _checked_table(table, 2**63)
        check_scalars("weights", weights, len(table))
        return _column_products(table, weights)

    def weighted_rows(self, table: Table, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        table = _checked_table(table, 2**63)
        check_scalars("weights", weights, table.shape[1])
        return _row_products(table, weights)

    def ternary_products(self, signs: Signs, vector: Sequence[int]) -> list[int]:
        """See `Engine`."""
        signs = _checked_signs("signs", signs)
        check_scalars("vector", vector, signs.shape[1])
        return _row_products(signs.astype(np.int64, order="C"), vector)

    def ternary_combination(self, signs: Signs, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        signs = _checked_signs("signs", signs)
        check_scalars("weights", weights, len(signs))
        return _column_products(signs, weights)

    def row_sumcheck(
        self,
        table: Table,
        row_signs: Signs,
        column_signs: Signs,
        weights: Sequence[int],
        extra_left: Sequence[int],
        extra_right: Sequence[int],
    ) -> RowSumcheck:
        """See `Engine`."""
        table = _checked_table(table)
        rows, columns = table.shape
        if rows == 0 or columns > 2**16:
            raise Misuse(f"table: expected at least one row and at most 2^16 columns, found {rows} x {columns}")
        row_signs = _checked_signs("row_signs", row_signs, (len(weights), rows))
        column_signs = _checked_signs("column_signs", column_signs, (len(weights), columns))
        check_scalars("weights", weights)
        check_scalars("extra_left", extra_left, rows)
        check_scalars("extra_right", extra_right, columns)
        products = _row_products(table, extra_right) if any(extra_right) else [0] * rows
        tables = IntegerTables.prepared(table, row_signs, column_signs)
        return NativeRowSumcheck(tables, weights, extra_left, products)

    def decode_points(self, encoded: bytes) -> NativePoints:
        """See `Engine`."""
        count, rest = divmod(len(encoded), POINT_SIZE)
        if rest:
            raise Malformed("points", f"a multiple of {POINT_SIZE} bytes", f"{len(encoded)} bytes")
        rows = np.frombuffer(encoded, np.uint8).reshape(count, POINT_SIZE).copy()
        words = np.empty((count, 8), np.uint64)
        bad = map_chunks(lambda a, b: (a + decompress(rows[a:b], words[a:b]), b), count, 16)
        for index, stop in bad:
            if index < stop:
                raise _malformed_point(index, encoded[index * POINT_SIZE : (index + 1) * POINT_SIZE])
        return NativePoints(words)

    def point_count(self, points: NativePoints) -> int:
        """How many points were decoded."""
        return len(points.words)

    def concatenate(self, parts: Sequence[NativePoints]) -> NativePoints:
        """All points, in order."""
        return NativePoints(np.concatenate([np.empty((0, 8), np.uint64), *(part.words for part in parts)]))

    def combination_is_zero(
        self, points: NativePoints, scalars: Sequence[int], generator_scalars: Sequence[int], blinding_scalar: int
    ) -> bool:
        """See `Engine`."""
        check_scalars("scalars", scalars, len(points.words))
        check_scalars("generator_scalars", generator_scalars)
        check_scalars("blinding_scalar", [blinding_scalar])
        tables = generator_tables()
        every = np.concatenate([points.words, tables.points(len(generator_scalars)), tables.blinding])
        return not multiply_points(every, [*scalars, *generator_scalars, blinding_scalar]).any()


def _checked_table(table: Table, largest: int = LARGEST_ENTRY) -> Table:
    if table.dtype != np.int64 or table.ndim != 2 or table.shape[1] == 0:
        raise Misuse(f"table: expected int64 (rows, columns), found {table.dtype} {table.shape}")
    if table.size and (int(table.min()) < -largest or int(table.max()) > largest):
        raise Misuse(f"table: expected entries of at most {largest} in absolute value")
    return np.require(table, requirements=["C", "W"])  # one layout, so that each kernel is compiled once


def _checked_signs(name: str, signs: Signs, shape: tuple[int, int] | None = None) -> Signs:
    if signs.dtype != np.int8 or signs.ndim != 2 or (shape is not None and signs.shape != shape):
        raise Misuse(f"{name}: expected int8 {shape or '(projections, n)'}, found {signs.dtype} {signs.shape}")
    if signs.size and (signs.min() < -1 or signs.max() > 1):
        raise Misuse(f"{name}: expected entries -1, 0, 1")
    return signs


def _signed_weights(weights: Sequence[int]) -> Words:
    """(2, n, 4): each weight and its negative."""
    return np.stack([to_words(weights), to_words([-weight % ORDER for weight in weights])])


def _row_products(matrix: NDArray[np.int64], weights: Sequence[int]) -> list[int]:
    signed = _signed_weights(weights)
    parts = map_chunks(lambda a, b: reduced(signed_products(matrix[a:b], signed)), len(matrix), 16)
    return [value for part in parts for value in part]


def _column_products(matrix: NDArray[np.int64] | Signs, weights: Sequence[int]) -> list[int]:
    signed = _signed_weights(weights)

    def block(start: int, stop: int) -> list[int]:
        sums: list[int] = []
        for first in range(start, stop, _COLUMN_BLOCK):
            columns = matrix[:, first : min(stop, first + _COLUMN_BLOCK)]
            transposed = columns.T.astype(np.int64, order="C")
            sums += reduced(signed_products(transposed, signed))
        return sums

    return [value for part in map_chunks(block, matrix.shape[1], _COLUMN_BLOCK) for value in part]


def _malformed_point(index: int, encoded: bytes) -> Malformed:
    where = f"point {index}"
    if encoded[0] not in (2, 3):
        return Malformed(where, "prefix 02 or 03", f"{encoded[0]:02x}")
    if int.from_bytes(encoded[1:], "big") >= FIELD:
        return Malformed(where, "x below the field's prime", encoded[1:].hex())
    return Malformed(where, "x of a point on the curve", encoded[1:].hex())
