"""`proofs.engine.Engine`, one sum at a time (spec 5.2): each method is its definition written as a loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from operator import mul

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.engine import Block, KnownRows, Points, RoundSums, SignedProduct, SignedSums, Signs, Table
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

    def commit_rows(
        self,
        table: Table,
        blindings: Sequence[int],
        known: KnownRows | None = None,  # noqa: ARG002 - it starts from nothing
    ) -> bytes:
        """See `Engine`; starts from nothing."""
        rows = zip(_integers(table), blindings, strict=True)
        return b"".join(curve.encode(_commitment(row, blinding)) for row, blinding in rows)

    def commit(self, scalars: Sequence[int], blinding: int) -> bytes:
        """See `Engine`."""
        return curve.encode(_commitment(scalars, blinding))

    def weighted_columns(self, table: Table, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        return [_dot(column, weights) for column in _columns(_integers(table))]

    def weighted_rows(self, table: Table, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        return [_dot(row, weights) for row in _integers(table)]

    def ternary_products(self, signs: Signs, vector: Sequence[int]) -> list[int]:
        """See `Engine`."""
        return [_dot(row, vector) for row in _integers(signs)]

    def ternary_combination(self, signs: Signs, weights: Sequence[int]) -> list[int]:
        """See `Engine`."""
        return [_dot(column, weights) for column in _columns(_integers(signs))]

    def project(self, blocks: Sequence[Block], column_signs: Signs) -> ReferenceProjection:
        """See `Engine`."""
        return ReferenceProjection(blocks, _integers(column_signs))

    def residue_combinations(
        self, residues: Table, row_weights: Table, column_weights: Table, modulus: int
    ) -> list[int]:
        """See `Engine`."""
        table = _integers(residues)
        return [
            sum(x * sum(map(mul, y, row)) for x, row in zip(left, table, strict=True)) % modulus
            for left, y in zip(_integers(row_weights), _integers(column_weights), strict=True)
        ]

    def adjoint_combinations(
        self, elements: Table, row_weights: Table, column_weights: Table, modulus: int
    ) -> NDArray[np.int64]:
        """See `Engine`."""
        chunks = _integers(elements)
        combinations = []
        for left, right in zip(_integers(row_weights), _integers(column_weights), strict=True):
            weights = [x * y for x in left for y in right]
            combinations.append(_adjoint(chunks, weights, modulus))
        return np.array(combinations, dtype=np.int64)

    def decode_points(self, encoded: bytes) -> Points:
        """See `Engine`."""
        return curve.decode_all(encoded)

    def point_count(self, points: Points) -> int:
        """See `Engine`."""
        return len(points)

    def concatenate(self, parts: Sequence[Points]) -> Points:
        """See `Engine`."""
        return [point for part in parts for point in part]

    def combination_is_zero(
        self, points: Points, scalars: Sequence[int], generator_scalars: Sequence[int], blinding_scalar: int
    ) -> bool:
        """See `Engine`."""
        bases = [*points, *_generators(len(generator_scalars)), curve.from_affine(blinding_generator())]
        return curve.is_identity(curve.combine(bases, [*scalars, *generator_scalars, blinding_scalar]))


class ReferenceProjection:
    """Blocks and signs; k = 0 projections are allowed."""

    def __init__(self, blocks: Sequence[Block], column_signs: Matrix) -> None:
        self._tables = [_integers(block.table) for block in blocks]
        self._row_signs = [_integers(block.row_signs) for block in blocks]
        self._plain = [block.plain for block in blocks]
        self._weights = [block.weights for block in blocks]
        self._column_signs = column_signs

    def values(self) -> list[int]:
        """See `Projection`."""
        return [
            sum(
                sign * sum(t * v for t, v in zip(column_signs, row, strict=False))
                for table, signs in zip(self._tables, self._row_signs, strict=True)
                for sign, row in zip(signs[j], table, strict=True)
            )
            for j, column_signs in enumerate(self._column_signs)
        ]

    def row_sumcheck(
        self,
        projection_weights: Sequence[int],
        column_weights: Sequence[Sequence[int]],
        row_point: Sequence[int],
        linear: Mapping[int, Sequence[int]],
        factors: Mapping[int, int] | None = None,
        signed: SignedProduct | None = None,
    ) -> ReferenceRowSumcheck:
        """See `Projection`."""
        blocks, given = [], factors or {}
        for index, (table, signs) in enumerate(zip(self._tables, self._row_signs, strict=True)):
            rows, columns = len(table), len(table[0])
            form = list(linear.get(index, [0] * (rows * columns)))
            for r in range(rows):
                for c in range(columns):
                    products = zip(projection_weights, signs, self._column_signs, strict=True)
                    form[r * columns + c] += sum(w * s[r] * t[c] for w, s, t in products)
            weights = self._weights[index]
            blocks.append(
                _FoldedBlock(
                    table=table,
                    linear=[form[r * columns : (r + 1) * columns] for r in range(rows)],
                    plain=given.get(index, 1) if self._plain[index] else 0,
                    weights=None if weights is None else list(column_weights[weights]),
                )
            )
        weighted = None if signed is None else _Signed(signed.left, signed.right, _signed_weights(signed, row_point))
        return ReferenceRowSumcheck(blocks, row_point, weighted)


def _signed_weights(signed: SignedProduct, row_point: Sequence[int]) -> Matrix:
    rows = _integers(signed.signs)
    columns = [0] * len(rows[0]) if signed.weights is None else signed.weights
    return [
        [sign * (signed.factor + _eq(row_point, y) * w) % ORDER for sign, w in zip(row, columns, strict=True)]
        for y, row in enumerate(rows)
    ]


@dataclass(frozen=True, repr=False)
class _Signed:
    left: int
    right: int
    weights: Matrix

    def sums(self, at: Sequence[list[_FoldedBlock]]) -> SignedSums:
        products, lefts, rights = [], [], []
        for x, blocks in enumerate(at):
            weights, left, right = _at(self.weights, x), blocks[self.left].table, blocks[self.right].table
            cells = [cell for rows in zip(weights, left, right, strict=True) for cell in zip(*rows, strict=True)]
            products.append(sum(w * m * n for w, m, n in cells) % ORDER)
            lefts.append(sum(w * m for w, m, _ in cells) % ORDER)
            rights.append(sum(w * n for w, _, n in cells) % ORDER)
        return SignedSums((products[0], products[1], products[2], products[3]), _three(lefts), _three(rights))


@dataclass(frozen=True, repr=False)  # secret
class _FoldedBlock:
    table: Matrix
    linear: Matrix  # all linear forms on it, as one full table
    plain: int  # what its squares weigh
    weights: list[int] | None

    def at(self, x: int) -> _FoldedBlock:
        return replace(self, table=_at(self.table, x), linear=_at(self.linear, x))

    def square(self) -> int:
        return self.plain * sum(_dot(row, row) for row in self.table) if self.plain else 0

    def weighted(self, point: Sequence[int]) -> int:
        if self.weights is None:
            return 0
        rows = [_dot(self.weights, [v * v for v in row]) for row in self.table]
        return sum(_eq(point, y) * row for y, row in enumerate(rows))

    def cross(self) -> int:
        return sum(map(_dot, self.table, self.linear))


class ReferenceRowSumcheck:
    """Every block and the coefficients of its linear form, both as full tables, folded pair by pair."""

    def __init__(self, blocks: list[_FoldedBlock], row_point: Sequence[int], signed: _Signed | None = None) -> None:
        self._blocks, self._signed = blocks, signed
        self._later = list(row_point)

    def sums(self) -> RoundSums:
        """See `RowSumcheck`."""
        points = 3 if self._signed is None else 4
        at = [[block.at(x) for block in self._blocks] for x in range(points)]
        square = [sum(block.square() for block in blocks) % ORDER for blocks in at]
        weighted = [sum(block.weighted(self._later[1:]) for block in blocks) % ORDER for blocks in at]
        cross = [sum(block.cross() for block in blocks) % ORDER for blocks in at]
        signed = None if self._signed is None else self._signed.sums(at)
        return RoundSums(_three(square), _three(weighted), _three(cross), signed)

    def bind(self, challenge: int) -> None:
        """See `RowSumcheck`."""
        self._blocks = [block.at(challenge) for block in self._blocks]
        if self._signed is not None:
            self._signed = replace(self._signed, weights=_at(self._signed.weights, challenge))
        del self._later[0]

    def rows(self) -> list[list[int]]:
        """See `RowSumcheck`."""
        return [[v % ORDER for v in block.table[0]] for block in self._blocks]


def _three(values: list[int]) -> tuple[int, int, int]:
    return values[0], values[1], values[2]


def _eq(point: Sequence[int], index: int) -> int:
    value = 1
    for i, coordinate in enumerate(point):
        value = value * (coordinate if index >> i & 1 else 1 - coordinate) % ORDER
    return value


def _adjoint(chunks: Matrix, weights: Sequence[int], modulus: int) -> list[int]:
    degree = len(chunks[0])
    result = [0] * degree
    for x, weight in enumerate(weights):
        element, m = chunks[x // degree], x % degree
        if weight:
            for i in range(degree):
                result[i] += weight * (element[m - i] if i <= m else -element[degree + m - i])
    return [value % modulus for value in result]


def _at(matrix: Matrix, x: int) -> Matrix:
    """The current variable set to x: even and odd rows interpolated, an absent last row taken as zero."""
    pairs = zip_longest(matrix[0::2], matrix[1::2], fillvalue=[0] * len(matrix[0]))
    return [[(e + x * (o - e)) % ORDER for e, o in zip(even, odd, strict=True)] for even, odd in pairs]
