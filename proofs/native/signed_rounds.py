"""The row rounds of a `SignedProduct`: cubics of pairs of rows, of which every round needs two numbers more (spec 5.9).

A pair's polynomial is known at 0 and 1 from the round before, or from the tables. Its leading coefficient and its value
at 2 are summed; of the two quadratics W left and W right the leading coefficients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from proofs.arrays import Words
from proofs.curve import ORDER
from proofs.engine import SignedProduct, SignedSums, Signs, Table
from proofs.errors import Misuse
from proofs.native.blocks import ElementBlock, IntegerBlock, steps
from proofs.native.jobs import Job, run_all
from proofs.native.scalars import fold
from proofs.native.signed import fold_weights, integer_sums, step_sums, weighted_sums
from proofs.native.weighted import signed_words
from proofs.native.words import check_scalars, from_words, integer, to_words
from proofs.polynomials import HALF, eq_table

Sums = list[list[int]]  # by kind, of every row or pair
_COST = 4  # times a product modulo ORDER


@dataclass(frozen=True)
class Steps:
    """Of every pair of rows: leading coefficients of the cubic and both quadratics, and the cubic at 2."""

    leading: Sums
    at_two: list[int]


class ProductRows:
    """The product in the state of the current round, with the sums of its rows."""

    def __init__(self, signed: SignedProduct, blocks: Sequence[IntegerBlock], row_point: Sequence[int]) -> None:
        check_product(signed, blocks)
        self._factor, self._signs = signed.factor, np.require(signed.signs, requirements=["C", "W"])
        self._rows = eq_table(row_point)[: len(self._signs)]
        self._kappa = to_words(signed.weights or [])
        self._signed_weights = signed_words(self._kappa)
        self._weights: Words | None = None  # W, once it is one of elements
        left, right = (blocks[index].values for index in (signed.left, signed.right))
        self.sums = self._of_rows(self._signs, left, right, self._rows)

    def steps(self, left: IntegerBlock | ElementBlock, right: IntegerBlock | ElementBlock) -> Steps:
        """Of the current round. Where a single row is left the tables are not read any more: the odd one is zero."""
        if len(self.sums[0]) == 1:
            (product,), (of_left,), (of_right,) = self.sums
            return Steps([[-product], [of_left], [of_right]], [-product])
        if self._weights is None and isinstance(left, IntegerBlock) and isinstance(right, IntegerBlock):
            return self._integer_steps(left.values, right.values)
        if self._weights is not None and isinstance(left, ElementBlock) and isinstance(right, ElementBlock):
            return _element_steps(self._weights, left.values, right.values)
        raise Misuse("signed product: expected two blocks in one state, found different ones")

    def round_sums(self, found: Steps) -> SignedSums:
        """Over all pairs."""
        at_0, at_1 = ([sum(rows[start::2]) for rows in self.sums] for start in (0, 1))
        leading, at_2 = [sum(rows) for rows in found.leading], sum(found.at_two)
        at_3 = 6 * leading[0] + 3 * at_2 - 3 * at_1[0] + at_0[0]
        product = (at_0[0] % ORDER, at_1[0] % ORDER, at_2 % ORDER, at_3 % ORDER)
        left, right = ((at_0[k], at_1[k], 2 * at_1[k] - at_0[k] + 2 * leading[k]) for k in (1, 2))
        return SignedSums(product, _three(left), _three(right))

    def bind(self, challenge: int, found: Steps) -> list[Job]:
        """Fix the current variable; the jobs fold W."""
        single = len(self.sums[0]) == 1
        padded = [[*rows, 0] if len(rows) % 2 else rows for rows in self.sums]
        cubics = zip(padded[0][0::2], padded[0][1::2], found.at_two, found.leading[0], strict=True)
        bound = [[_cubic(*values, challenge) for values in cubics]]
        for rows, leading in zip(padded[1:], found.leading[1:], strict=True):
            pairs = zip(rows[0::2], rows[1::2], leading, strict=True)
            bound.append([(e + challenge * (o - e - d + challenge * d)) % ORDER for e, o, d in pairs])
        self.sums = bound
        return [] if single else [self._folding(challenge)]

    def _folding(self, challenge: int) -> Job:
        if self._weights is not None:
            table, element = self._weights, to_words([(challenge << 256) % ORDER])[0]
            half = (len(table) + 1) // 2
            self._weights = table[:half]
            return Job(lambda a, b: fold(table, element, a, b), table.shape[1], 2 * half)
        signs, (rows, columns) = self._signs, self._signs.shape
        folded = self._weights = np.empty(((rows + 1) // 2, columns, 4), np.uint64)
        constants = to_words(_pairs(challenge, self._factor, self._factor))
        padded = [(value << 256) % ORDER for value in [*self._rows, 0]]
        of_rows = [_pairs(challenge, padded[2 * i], padded[2 * i + 1]) for i in range(len(folded))]
        words = to_words(value for each in of_rows for value in each).reshape(len(folded), 9, 4)

        def run(start: int, stop: int) -> None:
            own = signs[2 * start : 2 * stop]
            fold_weights(own, constants, words[start:stop], self._kappa, folded[start:stop])

        return Job(run, len(folded), columns)

    def _integer_steps(self, left: Table, right: Table) -> Steps:
        even, odd = _halves(self._signs)
        even_rows, odd_rows = self._rows[0::2], [*self._rows[1::2], *[0] * (len(even) - len(self._rows[1::2]))]
        left_steps, right_steps = steps(left), steps(right)
        high = self._of_rows(odd, left_steps, right_steps, odd_rows)
        low = self._of_rows(even, left_steps, right_steps, even_rows)
        two = _extended(left, left_steps), _extended(right, right_steps)
        odd_two, even_two = self._of_rows(odd, *two, odd_rows)[0], self._of_rows(even, *two, even_rows)[0]
        leading = [[x - y for x, y in zip(*pair, strict=True)] for pair in zip(high, low, strict=True)]
        return Steps(leading, [2 * x - y for x, y in zip(odd_two, even_two, strict=True)])

    def _of_rows(self, signs: Signs, left: Table, right: Table, rows: Sequence[int]) -> Sums:
        """By kind the sums of every row, for small integers; rows: rho of each."""
        jobs = [Job(lambda a, b: integer_sums(signs[a:b], left[a:b], right[a:b]), len(left), left.shape[1])]
        if len(self._kappa):
            weights = self._signed_weights
            jobs.append(
                Job(
                    lambda a, b: weighted_sums(signs[a:b], left[a:b], right[a:b], weights), len(left), 3 * left.shape[1]
                )
            )
        exact, *weighted = (np.concatenate(parts) for parts in run_all(jobs))
        sums = [[self._factor * value for value in kind] for kind in _exact(exact)]
        for words in weighted:
            for kind, values in enumerate(_weighted(words)):
                sums[kind] = [x + rho * y for x, rho, y in zip(sums[kind], rows, values, strict=True)]
        return [[value % ORDER for value in kind] for kind in sums]


def check_product(signed: SignedProduct, blocks: Sequence[IntegerBlock]) -> None:
    """Raises Misuse for blocks that are not there or not of one size, signs of another, or weights that do not fit."""
    if not all(index in range(len(blocks)) for index in (signed.left, signed.right)):
        raise Misuse(f"signed product: expected indices of {len(blocks)} blocks, found {signed.left}, {signed.right}")
    shapes = {blocks[signed.left].values.shape, blocks[signed.right].values.shape, signed.signs.shape}
    if len(shapes) != 1 or signed.signs.dtype != np.int8 or bool((abs(signed.signs) != 1).any()):
        raise Misuse(f"signed product: expected int8 signs of two blocks of one size, found {sorted(shapes)}")
    check_scalars("factor", [signed.factor])
    if signed.weights is not None:
        check_scalars("weights", signed.weights, signed.signs.shape[1])


def _exact(words: Words) -> Sums:
    """By kind, from what `integer_sums` gives."""
    products = [_signed(integer(row), 128) for row in words[:, :2]]
    return [products, *([_signed(int(value), 64) for value in words[:, kind]] for kind in (2, 3))]


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _weighted(words: Words) -> Sums:
    """By kind, from what `weighted_sums` gives."""
    low, high, left, right = (from_words(words[:, start : start + 6]) for start in range(0, 24, 6))
    return [[x + (y << 64) for x, y in zip(low, high, strict=True)], left, right]


def _element_steps(weights: Words, left: Words, right: Words) -> Steps:
    def run(start: int, stop: int) -> Words:
        rows = slice(2 * start, 2 * stop)
        return step_sums(weights[rows], left[rows], right[rows])

    rows, columns = left.shape[:2]
    (parts,) = run_all([Job(run, (rows + 1) // 2, _COST * columns)])
    words = np.concatenate(parts)
    leading, two, of_left, of_right = (from_words(words[:, start : start + 9]) for start in range(0, 36, 9))
    montgomery = [[(value << 256) % ORDER for value in kind] for kind in (leading, two, of_left)]
    return Steps([montgomery[0], montgomery[2], [value % ORDER for value in of_right]], montgomery[1])


def _halves(signs: Signs) -> tuple[Signs, Signs]:
    """Even and odd rows, an absent last one zero."""
    even = np.ascontiguousarray(signs[0::2])
    odd = np.zeros_like(even)
    odd[: len(signs) // 2] = signs[1::2]
    return even, odd


def _extended(table: Table, step: Table) -> Table:
    """The pairs at X = 2."""
    extended: Table = table[0::2] + 2 * step
    return extended


def _pairs(challenge: int, even: int, odd: int) -> list[int]:
    """(1 - r) s even + r t odd for s, t = -1, 0, 1."""
    left, right = (1 - challenge) * even % ORDER, challenge * odd % ORDER
    return [(s * left + t * right) % ORDER for s in (-1, 0, 1) for t in (-1, 0, 1)]


def _cubic(at_0: int, at_1: int, at_2: int, leading: int, x: int) -> int:
    """The value at x of the cubic with these values and this leading coefficient."""
    second = (at_2 - 2 * at_1 + at_0) * HALF % ORDER
    return (at_0 + x * (at_1 - at_0) + x * (x - 1) * (second + (x - 2) * leading)) % ORDER


def _three(values: Sequence[int]) -> tuple[int, int, int]:
    at_0, at_1, at_2 = values
    return at_0 % ORDER, at_1 % ORDER, at_2 % ORDER
