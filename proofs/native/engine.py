"""The native engine: checks what comes in, then hands it to the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Words
from proofs.curve import ORDER, POINT_SIZE, not_a_point, not_points
from proofs.engine import Block, KnownRows, Signs, Table
from proofs.errors import Misuse
from proofs.machine.workers import map_chunks
from proofs.native.multiplication import LARGEST_ENTRY, commit_table, digit_count, multiply_points
from proofs.native.points import add_points, decompress
from proofs.native.residues import MODULUS_BITS, WEIGHT_BITS, adjoint_combinations, residue_combinations
from proofs.native.scalars import signed_products
from proofs.native.sumcheck import NativeProjection
from proofs.native.tables import generator_tables
from proofs.native.weighted import signed_column_products, signed_words, ternary_sums
from proofs.native.words import check_scalars, encode_points, reduced, to_words

_COLUMN_BLOCK = 128  # columns whose sums one worker takes at least
_MOST_COLUMNS = 2**16
_LARGEST_RING = 2**13


@dataclass(frozen=True, eq=False)
class NativePoints:
    """Points of the curve, none the identity: (n, 8) words."""

    words: Words


class NativeEngine:
    """`proofs.engine.Engine` on compiled kernels and all workers.

    Tables to commit to or to prove hold entries of at most 2^40 in absolute value, weighted ones any int64.
    """

    name = "native"

    def commit_rows(self, table: Table, blindings: Sequence[int], known: KnownRows | None = None) -> bytes:
        """See `Engine`; raises Misuse for a row that commits to the identity."""
        table = _checked_table(table)
        check_scalars("blindings", blindings, len(table))
        if len(table) == 0:
            return b""
        difference = None if known is None else _difference(table, known)
        if known is None or difference is None:
            return encode_points(commit_table(table, blindings))
        steps = [(own - start) % ORDER for own, start in zip(blindings, known.blindings, strict=True)]
        points, lanes = commit_table(difference, steps), np.arange(len(table))
        add_points(points, lanes, self.decode_points(known.encoded).words, lanes, 1)
        return encode_points(points)

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
        return _ternary_products(signs, vector)

    def ternary_combination(self, signs: Signs, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        signs = _checked_signs("signs", signs)
        check_scalars("weights", weights, len(signs))
        return _ternary_products(signs.T, weights)

    def project(self, blocks: Sequence[Block], column_signs: Signs) -> NativeProjection:
        """See `Engine`; tables of at most 2^16 columns."""
        column_signs = _checked_signs("column_signs", column_signs)
        count, columns = column_signs.shape
        if not 1 <= columns <= _MOST_COLUMNS or columns & (columns - 1):
            raise Misuse(f"column_signs: expected a power of two of columns up to 2^16, found {columns}")
        if not blocks:
            raise Misuse("blocks: expected at least one, found none")
        checked = []
        for block in blocks:
            table = _checked_table(block.table)
            if len(table) == 0 or table.shape[1] > columns:
                raise Misuse(f"table: expected rows and at most {columns} columns, found {table.shape}")
            row_signs = _checked_signs("row_signs", block.row_signs, (count, len(table)))
            checked.append(Block(table, row_signs, block.plain, block.weights))
        return NativeProjection(checked, column_signs)

    def residue_combinations(
        self, residues: Table, row_weights: Table, column_weights: Table, modulus: int
    ) -> list[int]:
        """See `Engine`."""
        residues, weights = _checked_residues(residues, modulus), (row_weights, column_weights)
        rows, columns = _checked_weights(*weights, residues.shape)
        return residue_combinations(residues, rows, columns, modulus)

    def adjoint_combinations(
        self, elements: Table, row_weights: Table, column_weights: Table, modulus: int
    ) -> NDArray[np.int64]:
        """See `Engine`; rings of at most 2^13 coefficients."""
        elements = _checked_residues(elements, modulus)
        rows, columns = _checked_weights(row_weights, column_weights, (row_weights.shape[-1], column_weights.shape[-1]))
        chunks, size = elements.shape
        cells = rows.shape[1] * columns.shape[1]
        if not 4 <= size <= _LARGEST_RING or size & (size - 1) or columns.shape[1] & (columns.shape[1] - 1):
            raise Misuse(f"elements: expected powers of two, found N = {size} and {columns.shape[1]} columns")
        if chunks != -(-cells // size):
            raise Misuse(f"elements: expected {-(-cells // size)} for {cells} cells, found {chunks}")
        return adjoint_combinations(elements, rows, columns, modulus)

    def decode_points(self, encoded: bytes) -> NativePoints:
        """See `Engine`."""
        count, rest = divmod(len(encoded), POINT_SIZE)
        if rest:
            raise not_points(len(encoded))
        rows = np.frombuffer(encoded, np.uint8).reshape(count, POINT_SIZE).copy()
        words = np.empty((count, 8), np.uint64)
        bad = map_chunks(lambda a, b: (a + decompress(rows[a:b], words[a:b]), b), count, 16)
        for index, stop in bad:
            if index < stop:
                raise not_a_point(index, encoded[index * POINT_SIZE : (index + 1) * POINT_SIZE])
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


def _difference(table: Table, known: KnownRows) -> Table | None:
    """table - known, where that takes fewer additions to commit to; else None."""
    if not known.table.shape == table.shape == (len(known.encoded) // POINT_SIZE, table.shape[1]):
        raise Misuse(f"known rows: expected {table.shape}, found {known.table.shape}, {len(known.encoded)} bytes")
    difference = table - _checked_table(known.table)
    if max(int(difference.max()), -int(difference.min())) > LARGEST_ENTRY:
        return None
    return difference if digit_count(difference) < digit_count(table) else None


def _checked_signs(name: str, signs: Signs, shape: tuple[int, int] | None = None) -> Signs:
    if signs.dtype != np.int8 or signs.ndim != 2 or (shape is not None and signs.shape != shape):
        raise Misuse(f"{name}: expected int8 {shape or '(projections, n)'}, found {signs.dtype} {signs.shape}")
    if signs.size and (signs.min() < -1 or signs.max() > 1):
        raise Misuse(f"{name}: expected entries -1, 0, 1")
    return signs


def _checked_residues(residues: Table, modulus: int) -> Table:
    if not 3 <= modulus < 2**MODULUS_BITS or modulus % 2 == 0:
        raise Misuse(f"modulus: expected odd, from 3 to 2^{MODULUS_BITS}, found {modulus}")
    return _checked_range("residues", residues, modulus)


def _checked_weights(rows: Table, columns: Table, shape: tuple[int, ...]) -> tuple[Table, Table]:
    checked = tuple(_checked_range("weights", weights, 2**WEIGHT_BITS) for weights in (rows, columns))
    if len(rows) != len(columns) or (rows.shape[1], columns.shape[1]) != shape:
        raise Misuse(f"weights: expected as many lists of {shape}, found {rows.shape} and {columns.shape}")
    return checked[0], checked[1]


def _checked_range(name: str, table: Table, limit: int) -> Table:
    if table.dtype != np.int64 or table.ndim != 2 or table.size == 0:
        raise Misuse(f"{name}: expected int64 in two dimensions, not empty, found {table.dtype} {table.shape}")
    if int(table.min()) < 0 or int(table.max()) >= limit:
        raise Misuse(f"{name}: expected entries from 0 up to {limit - 1}")
    return np.require(table, requirements=["C", "W"])


def _row_products(matrix: NDArray[np.int64], weights: Sequence[int]) -> list[int]:
    signed = signed_words(to_words(weights))
    parts = map_chunks(lambda a, b: reduced(signed_products(matrix[a:b], signed)), len(matrix), 16)
    return [value for part in parts for value in part]


def _column_products(matrix: NDArray[np.int64], weights: Sequence[int]) -> list[int]:
    signed = signed_words(to_words(weights))

    def block(start: int, stop: int) -> list[int]:
        return reduced(signed_column_products(matrix, signed, start, stop))

    return [value for part in map_chunks(block, matrix.shape[1], _COLUMN_BLOCK) for value in part]


def _ternary_products(signs: Signs, weights: Sequence[int]) -> list[int]:
    words, laid_out = to_words(weights), np.require(signs, requirements=["C", "W"])
    parts = map_chunks(lambda a, b: reduced(ternary_sums(laid_out[a:b], words)), len(signs), 16)
    return [value for part in parts for value in part]
