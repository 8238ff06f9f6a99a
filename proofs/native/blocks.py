"""One table on its way through the row rounds: machine integers first, elements modulo ORDER after (spec 5.6).

The first round, half of all the work by size, needs no modular product. Methods describe work as jobs, so that all
tables of a sumcheck share the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Words
from proofs.curve import ORDER
from proofs.engine import Signs, Table
from proofs.native.differences import fold_signs, fold_small, integer_squares, product_differences, square_differences
from proofs.native.jobs import Job
from proofs.native.scalars import fold, signed_products
from proofs.native.words import reduced, to_words


@dataclass(frozen=True)
class Challenge:
    """A round's challenge r in the forms that folding wants."""

    value: int
    element: Words  # (4,): r 2^256
    small: Words  # (2, 4): r 2^64 and -r 2^64
    signs: Words  # (9 k, 4): see `fold_signs`; empty but in the first round

    @classmethod
    def of(cls, value: int, weights: Sequence[int]) -> Challenge:
        """weights: k of them in the first round, where they join the left signs; none later."""
        small = to_words([(value << 64) % ORDER, (-value << 64) % ORDER])
        pairs = [(s + value * (t - s)) % ORDER for s in (-1, 0, 1) for t in (-1, 0, 1)]
        signs = to_words([weight * pair % ORDER for weight in weights for pair in pairs])
        return cls(value, to_words([(value << 256) % ORDER])[0], small, signs)


@dataclass(frozen=True, eq=False, repr=False)
class IntegerBlock:
    """Before the first challenge: v (rows, columns), the left signs (rows, k), W (rows, k), all small integers; and the
    dense linear form of a small table, as its rows."""

    values: Table
    signs: Signs
    products: Table
    linear: Sequence[Sequence[int]] | None = None

    def squares(self) -> Job:
        """Of each row the sum of v^2."""
        return Job(lambda a, b: integer_squares(self.values[a:b]), *self.values.shape)

    def square_steps(self) -> Job:
        """Of each pair of rows the sum of (v' - v)^2."""
        rows, columns = self.values.shape
        return Job(lambda a, b: integer_squares(steps(self.values[2 * a : 2 * b])), (rows + 1) // 2, columns)

    def crosses(self, weights: Words) -> Job:
        """Of each row the sum of left_j W_j; weights (2, k, 4): the projections' and their negatives."""

        def run(start: int, stop: int) -> Words:
            return signed_products(self.signs[start:stop] * self.products[start:stop], weights)

        return Job(run, *self.signs.shape)

    def cross_steps(self, weights: Words) -> Job:
        """Of each pair of rows the sum of (left_j' - left_j)(W_j' - W_j)."""

        def run(start: int, stop: int) -> Words:
            rows = slice(2 * start, 2 * stop)
            return signed_products(steps(self.signs[rows]) * steps(self.products[rows]), weights)

        rows, count = self.signs.shape
        return Job(run, (rows + 1) // 2, count)

    def linear_sums(self) -> list[int]:
        """Of each row the linear form."""
        if self.linear is None:
            return []
        return [_dot(form, row) for form, row in zip(self.linear, self.values.tolist(), strict=True)]

    def linear_steps(self) -> list[int]:
        """Of each pair of rows the product of the steps of the form and of v."""
        if self.linear is None:
            return []
        padded = [*self.linear, *[[0] * self.values.shape[1]] * (len(self.linear) % 2)]
        pairs = zip(padded[0::2], padded[1::2], strict=True)
        forms = [[high - low for low, high in zip(*pair, strict=True)] for pair in pairs]
        return [_dot(form, row) for form, row in zip(forms, steps(self.values).tolist(), strict=True)]

    def folded(self, challenge: Challenge) -> tuple[ElementBlock, list[Job]]:
        """After the first challenge, once the jobs are done; the weights are then part of the left factors."""
        linear = None
        if self.linear is not None:
            linear = np.stack([to_words(form) for form in self.linear])
        after, jobs = _folded_elements(linear, challenge)
        values, left, products = _halved(self.values), _halved(self.signs), _halved(self.products)

        def fold_rows(start: int, stop: int) -> None:
            rows = slice(2 * start, 2 * stop)
            fold_small(self.values[rows], challenge.small, values[start:stop])
            fold_small(self.products[rows], challenge.small, products[start:stop])
            fold_signs(self.signs[rows], challenge.signs, left[start:stop])

        jobs.append(Job(fold_rows, len(values), values.shape[1] + 2 * left.shape[1]))
        return ElementBlock(values, left, products, after), jobs

    def row(self) -> list[int]:
        """The only row."""
        return [value % ORDER for value in self.values[0].tolist()]


@dataclass(frozen=True, eq=False, repr=False)
class ElementBlock:
    """Between challenges: v (rows, columns, 4), left factors and W (rows, k, 4), the linear form as v."""

    values: Words
    left: Words
    products: Words
    linear: Words | None

    def square_steps(self) -> Job:
        """Of each pair of rows the sum of (v' - v)^2."""
        rows, columns = self.values.shape[:2]
        return Job(lambda a, b: square_differences(self.values[2 * a : 2 * b]), (rows + 1) // 2, columns)

    def cross_steps(self) -> list[Job]:
        """Of each pair of rows the sums of the products of steps: left factors and W, linear form and v."""
        pairs = [(self.left, self.products)]
        if self.linear is not None:
            pairs.append((self.linear, self.values))
        return [_product_steps(left, right) for left, right in pairs]

    def folded(self, challenge: Challenge) -> tuple[ElementBlock, list[Job]]:
        """After one more challenge, once the jobs are done. In place: this block is then used up."""
        tables = (self.values, self.left, self.products)
        (values, left, products), jobs = zip(*(_folded(table, challenge) for table in tables), strict=True)
        linear, more = _folded_elements(self.linear, challenge)
        return ElementBlock(values, left, products, linear), [*jobs, *more]

    def row(self) -> list[int]:
        """The only row."""
        return reduced(self.values[0])


def steps(table: NDArray[np.int64] | Signs) -> NDArray[np.int64]:
    """(ceil(rows / 2), columns): odd minus even rows, an absent last one zero."""
    differences = -table[0::2].astype(np.int64)
    differences[: len(table) // 2] += table[1::2]
    return differences


def _halved(table: NDArray[np.int64] | Signs | Words) -> Words:
    return np.empty(((len(table) + 1) // 2, table.shape[1], 4), np.uint64)


def _folded(table: Words, challenge: Challenge) -> tuple[Words, Job]:
    """The rows that a job over columns will leave: the upper half of the same memory."""
    rows, columns = table.shape[:2]
    half = (rows + 1) // 2
    return table[:half], Job(lambda a, b: fold(table, challenge.element, a, b), columns, 2 * half)


def _folded_elements(table: Words | None, challenge: Challenge) -> tuple[Words | None, list[Job]]:
    if table is None:
        return None, []
    after, job = _folded(table, challenge)
    return after, [job]


def _product_steps(left: Words, right: Words) -> Job:
    rows, count = left.shape[:2]
    return Job(lambda a, b: product_differences(left[2 * a : 2 * b], right[2 * a : 2 * b]), (rows + 1) // 2, count)


def _dot(left: Sequence[int], right: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(left, right, strict=True)) % ORDER
