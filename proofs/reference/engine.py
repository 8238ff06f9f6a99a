"""`proofs.engine.Engine`, one sum at a time (spec 5.2): each method is its definition written as a loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from proofs.curve import ORDER
from proofs.engine import Points, RoundSums, Signs, Table
from proofs.generators import blinding_generator, generator
from proofs.reference import points as curve
from proofs.reference.points import Jacobian

Matrix = list[list[int]]  # rows of integers modulo ORDER


def _generators(count: int) -> list[Jacobian]:
    return [curve.from_affine(generator(i)) for i in range(count)]


def _commitment(scalars: Sequence[int], blinding: int) -> Jacobian:
    bases = [*_generators(len(scalars)), curve.from_affine(blinding_generator())]
    return curve.combine(bases, [*scalars, blinding])


def _integers(table: Table | Signs) -> Matrix:
    return [[int(entry) for entry in row] for row in table]


def _dot(left: Sequence[int], right: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(left, right, strict=True)) % ORDER


def _columns(matrix: Matrix) -> Matrix:
    return [list(column) for column in zip(*matrix, strict=True)]


class ReferenceEngine:
    """The reader's engine."""

    name = "reference"

    def commit_rows(self, table: Table, blindings: Sequence[int]) -> bytes:
        rows = zip(_integers(table), blindings, strict=True)
        return b"".join(curve.encode(_commitment(row, blinding)) for row, blinding in rows)

    def commit(self, scalars: Sequence[int], blinding: int) -> bytes:
        return curve.encode(_commitment(scalars, blinding))

    def weighted_columns(self, table: Table, weights: Sequence[int]) -> list[int]:
        return [_dot(column, weights) for column in _columns(_integers(table))]

    def weighted_rows(self, table: Table, weights: Sequence[int]) -> list[int]:
        return [_dot(row, weights) for row in _integers(table)]

    def ternary_products(self, signs: Signs, vector: Sequence[int]) -> list[int]:
        return [_dot(row, vector) for row in _integers(signs)]

    def ternary_combination(self, signs: Signs, weights: Sequence[int]) -> list[int]:
        return [_dot(column, weights) for column in _columns(_integers(signs))]

    def row_sumcheck(
        self,
        table: Table,
        row_signs: Signs,
        column_signs: Signs,
        weights: Sequence[int],
        extra_left: Sequence[int],
        extra_right: Sequence[int],
    ) -> ReferenceRowSumcheck:
        left = [[w * s for s in signs] for w, signs in zip(weights, _integers(row_signs), strict=True)]
        left.append(list(extra_left))
        right = [*_integers(column_signs), list(extra_right)]
        linear = [[_dot(x, y) for y in _columns(right)] for x in _columns(left)]
        return ReferenceRowSumcheck(_integers(table), linear)

    def decode_points(self, encoded: bytes) -> Points:
        return curve.decode_all(encoded)

    def point_count(self, points: Points) -> int:
        return len(points)

    def concatenate(self, parts: Sequence[Points]) -> Points:
        return [point for part in parts for point in part]

    def combination_is_zero(
        self, points: Points, scalars: Sequence[int], generator_scalars: Sequence[int], blinding_scalar: int
    ) -> bool:
        bases = [*points, *_generators(len(generator_scalars)), curve.from_affine(blinding_generator())]
        return curve.is_identity(curve.combine(bases, [*scalars, *generator_scalars, blinding_scalar]))


class ReferenceRowSumcheck:
    """v and the linear form's coefficients a = sum_j left_j right_j, both as full tables, folded pair by pair."""

    def __init__(self, table: Matrix, linear: Matrix) -> None:
        self._table = table
        self._linear = linear

    def sums(self) -> RoundSums:
        table = [_at(self._table, x) for x in range(3)]
        linear = [_at(self._linear, x) for x in range(3)]
        square = [sum(_dot(row, row) for row in v) % ORDER for v in table]
        cross = [sum(map(_dot, v, a)) % ORDER for v, a in zip(table, linear, strict=True)]
        total = [sum(map(sum, v)) % ORDER for v in table]
        return RoundSums((square[0], square[1], square[2]), (cross[0], cross[1], cross[2]), (total[0], total[1]))

    def bind(self, challenge: int) -> None:
        self._table = _at(self._table, challenge)
        self._linear = _at(self._linear, challenge)

    def row(self) -> list[int]:
        return [value % ORDER for value in self._table[0]]


def _at(matrix: Matrix, x: int) -> Matrix:
    """The current variable set to x: even and odd rows interpolated, an absent last row taken as zero."""
    pairs = zip_longest(matrix[0::2], matrix[1::2], fillvalue=[0] * len(matrix[0]))
    return [[(e + x * (o - e)) % ORDER for e, o in zip(even, odd, strict=True)] for even, odd in pairs]
