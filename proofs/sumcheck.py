"""The prover's rounds of the sumcheck (spec 5.9): rows through the engine, columns as lists of C scalars and fewer.

Pads are never written into a table: as all pads are multiples p_b of one polynomial in the first variable, a round's
sums change by that polynomial times sums that only have a row's size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

import numpy as np

from proofs.curve import ORDER
from proofs.engine import Engine, Projection, RowSumcheck, Table
from proofs.parameters import ArgumentParameters
from proofs.polynomials import (
    HALF,
    add,
    dot,
    eq,
    eq_table,
    evaluate,
    fold,
    interpolate,
    line,
    line_of_sums,
    multiply,
    quadratic,
    scale,
)
from proofs.privacy_noise import NoiseSigns
from proofs.quotients import RowProducts
from proofs.relations.norm import NOISE, UPDATE
from proofs.relations.terms import JoinedTerms, RankOneForm, SummedWeights
from proofs.signed_rounds import SignedColumns, SignedRows, SignedWeight
from proofs.transcript import ProjectionSigns, RelationWeights

Polynomial = list[int]


@dataclass(frozen=True, repr=False)  # secret
class FoldedForm:
    """A rank-one form and its products with the tables, sum_b multiple_b sum_c right[c] v_b[r, c], one for each row."""

    tables: Mapping[int, int]  # the multiple, by a table's position
    right: list[int]
    left: list[int]
    products: list[int]

    @classmethod
    def of(cls, rows: RowProducts, form: RankOneForm) -> FoldedForm:
        """Before the first variable is bound."""
        tables = {rows.layout.index(name): multiple for name, multiple in form.tables.items()}
        left, products = scale(form.left.values(), form.factor), rows.of_form(form)
        return cls(tables, form.right.values(), [*left, *[0] * (len(products) - len(left))], products)

    def sums(self) -> Polynomial:
        """Over all rows but for the current variable."""
        values = [sum(map(int.__mul__, _at(self.left, x), _at(self.products, x))) for x in range(3)]
        return quadratic(values[0], values[1], values[2])

    def bind(self, challenge: int) -> FoldedForm:
        """The form with its current variable fixed; of n rows ceil(n / 2) are left."""
        return FoldedForm(self.tables, self.right, fold(self.left, challenge), fold(self.products, challenge))


class MaskRounds:
    """The mask's part of every round: sum over the variables still free of g_0 + sum_i g_i(x_i)."""

    def __init__(self, variables: int, constant: int, rounds: Sequence[Sequence[int]]) -> None:
        self._rounds = [[0, *coefficients] for coefficients in rounds]
        self._variables = variables
        self._bound = constant  # g_0 + sum over bound variables of g_i(r_i)
        self._index = 0

    def total(self) -> int:
        """Over the whole cube."""
        halves = sum(sum(coefficients) for coefficients in self._rounds)
        return pow(2, self._variables - 1, ORDER) * (2 * self._bound + halves) % ORDER

    def polynomial(self) -> Polynomial:
        """In the current variable."""
        rest = pow(2, self._variables - 1 - self._index, ORDER)
        later = sum(sum(coefficients) for coefficients in self._rounds[self._index + 1 :])
        constant = self._bound + later * HALF
        return scale(add(self._rounds[self._index], [constant]), rest)

    def bind(self, challenge: int) -> None:
        """Fix the current variable."""
        self._bound += evaluate(self._rounds[self._index], challenge)
        self._index += 1


@dataclass(frozen=True, repr=False)  # secret
class SumcheckTask:
    """All that the rounds need: the tables, what the challenges made of the relations, and the pads."""

    engine: Engine
    parameters: ArgumentParameters
    rows: RowProducts
    projection: Projection
    signs: ProjectionSigns
    weights: RelationWeights
    terms: JoinedTerms
    pads: Sequence[int]
    noise_signs: NoiseSigns | None = None

    @property
    def tables(self) -> Sequence[Table]:
        """int64, in the order of the layout."""
        return self.rows.tables

    @cached_property
    def plain(self) -> list[int]:
        """By a table's position: what all its squares weigh."""
        extra = self.terms.plain
        tables = self.parameters.layout.tables
        return [(1 + extra.get(table.name, 0)) % ORDER if table.plain else 0 for table in tables]

    @cached_property
    def signed(self) -> SignedWeight | None:
        """Weights of message times noise."""
        if self.noise_signs is None:
            return None
        return SignedWeight(self.noise_signs, self.terms.signed, self.weights.row_point)

    @cached_property
    def pair(self) -> tuple[int, int]:
        """Where message and noise stand, where there is some."""
        return self.parameters.layout.index(UPDATE), self.parameters.layout.index(NOISE)

    def classes(self) -> dict[str, SummedWeights]:
        """In the order in which the blocks of the projection count them."""
        return {name: self.terms.squares[name] for name in self.parameters.layout.classes}

    @cached_property
    def small(self) -> dict[int, list[int]]:
        """By a table's position: the coefficients of all small forms on it."""
        found: dict[int, list[int]] = {}
        for form in self.terms.small:
            position = self.parameters.layout.index(form.table)
            found[position] = add(found.get(position, []), form.coefficients())
        return found

    def small_rows(self, position: int) -> list[list[int]]:
        """The same, row by row."""
        columns, flat = self.parameters.layout.tables[position].columns, self.small[position]
        return [flat[start : start + columns] for start in range(0, len(flat), columns)]


Send = Callable[[Polynomial], int]  # a round's polynomial without the mask -> its challenge


def run_sumcheck(task: SumcheckTask, send: Send) -> list[int]:
    """All rounds; the evaluations w_b of the padded tables at the final point."""
    rows = _RowRounds(task)
    challenges = [rows.bind(send(rows.polynomial())) for _ in range(task.parameters.layout.row_variables)]
    columns = _ColumnRounds(task, challenges, rows)
    for _ in range(task.parameters.layout.column_variables):
        columns.bind(send(columns.polynomial()))
    return columns.evaluations()


class _RowRounds:
    """Row variables. `pad` is the pads' common factor: a polynomial in the first round, a constant afterwards."""

    def __init__(self, task: SumcheckTask) -> None:
        self._task = task
        self._classes = task.classes()
        self._left = task.parameters.layout.variables
        self._prefix = 1  # eq of the bound row variables
        self._later = list(task.weights.row_point)
        self.pad: Polynomial = [0, 1, -1 % ORDER]
        self.forms = [FoldedForm.of(task.rows, form) for form in task.terms.forms]
        self.sumcheck = self._engine_sumcheck()
        self._plain = self._padded(_plain_totals(task))
        self._weighted = self._padded(_weighted_totals(task, self._classes))
        self._linear = self._padded(_linear_totals(task, self.forms))
        self._signed = self._signed_rows()

    def _engine_sumcheck(self) -> RowSumcheck:
        task, lists = self._task, [weights.table() for weights in self._classes.values()]
        weights = (task.weights.projections, lists, task.weights.row_point, task.small)
        signed = None if task.signed is None else task.signed.product(*task.pair)
        return task.projection.row_sumcheck(*weights, dict(enumerate(task.plain)), signed)

    def _signed_rows(self) -> SignedRows | None:
        task = self._task
        if task.signed is None:
            return None
        left, right = task.pair
        return SignedRows(task.signed.row_sums(task.engine), task.pads[left], task.pads[right])

    def _padded(self, totals: Mapping[int, Sequence[int]]) -> list[int]:
        """sum_b p_b totals_b, row by row."""
        return add([0], *(scale(total, self._task.pads[index]) for index, total in totals.items()))

    def polynomial(self) -> Polynomial:
        """The sum of sum_b (Q_b v'_b^2 + a_b v'_b) over all variables but the current one."""
        sums = self.sumcheck.sums()
        plain = self._squares(quadratic(*sums.square), line_of_sums(self._plain), self._plain_pads())
        cross = add(quadratic(*sums.cross), *(form.sums() for form in self.forms))
        linear = multiply(self.pad, line_of_sums(self._linear))
        if not self._classes:
            return add(plain, cross, linear)
        signed = []
        if self._signed is not None and sums.signed is not None:
            signed = self._signed.polynomial(sums.signed, self.pad)
        equal = scale(line(1 - self._later[0], self._later[0]), self._prefix)
        totals = _weighted_line(self._weighted, self._later[1:])
        weighted = self._squares(quadratic(*sums.weighted), totals, self._weighted_pads())
        return add(plain, cross, linear, signed, multiply(equal, weighted))

    def _squares(self, squares: Polynomial, totals: Polynomial, pads: int) -> Polynomial:
        """sum (v + pad)^2 = sum v^2 + pad (2 sum v + pad sum 1), the sums with factors p_b and weights."""
        return add(squares, multiply(self.pad, add(scale(totals, 2), scale(self.pad, pads))))

    def _plain_pads(self) -> int:
        task = self._task
        squares = sum(p * p * factor for p, factor in zip(task.pads, task.plain, strict=True))
        return squares * pow(2, self._left - 1, ORDER) % ORDER

    def _weighted_pads(self) -> int:
        pairs = zip(self._task.pads, self._task.parameters.layout.tables, strict=True)
        return sum(p * p * self._classes[t.weights].total() for p, t in pairs if t.weights is not None) % ORDER

    def bind(self, challenge: int) -> int:
        self.sumcheck.bind(challenge)
        self.forms = [form.bind(challenge) for form in self.forms]
        self._plain, self._weighted, self._linear = (
            fold(totals, challenge) for totals in (self._plain, self._weighted, self._linear)
        )
        if self._signed is not None:
            self._signed = self._signed.bind(challenge)
        self.pad = [evaluate(self.pad, challenge)]
        self._prefix = self._prefix * eq([self._later.pop(0)], [challenge]) % ORDER
        self._left -= 1
        return challenge


def _plain_totals(task: SumcheckTask) -> dict[int, list[int]]:
    """sum_c v_b[r, c] of the plain tables, times what their squares weigh."""
    return {b: scale(task.tables[b].sum(axis=1).tolist(), factor) for b, factor in enumerate(task.plain) if factor}


def _weighted_totals(task: SumcheckTask, classes: Mapping[str, SummedWeights]) -> dict[int, list[int]]:
    """sum_c W(c) v_b[r, c] of the tables with weights."""
    lists = {name: weights.table() for name, weights in classes.items()}
    return {
        b: task.engine.weighted_rows(task.tables[b], lists[layout.weights])
        for b, layout in enumerate(task.parameters.layout.tables)
        if layout.weights is not None
    }


def _linear_totals(task: SumcheckTask, forms: Sequence[FoldedForm]) -> dict[int, list[int]]:
    """sum_c a_b(r, c) of every table, c over all columns of the cube."""
    layout, signs = task.parameters.layout, task.signs
    sums = signs.columns.sum(axis=1, dtype=np.int64).tolist()
    scaled = [rho * value % ORDER for rho, value in zip(task.weights.projections, sums, strict=True)]
    flat = task.engine.ternary_combination(signs.rows, scaled)
    totals = {b: flat[span] for b, span in enumerate(layout.spans)}
    for folded in forms:
        total = sum(folded.right)
        for b, multiple in folded.tables.items():
            totals[b] = add(totals[b], scale(folded.left, multiple * total))
    for b in task.small:
        totals[b] = add(totals[b], [sum(row) for row in task.small_rows(b)])
    return totals


def _weighted_line(totals: Sequence[int], later: Sequence[int]) -> Polynomial:
    """sum over pairs of eq(later, pair) times the line through the pair."""
    equal = eq_table(later)
    even, odd = totals[0::2], totals[1::2]
    return line(sum(map(int.__mul__, even, equal)), sum(map(int.__mul__, odd, equal)))


@dataclass(frozen=True, repr=False)  # secret
class _Column:
    """One table once its rows are bound: padded values, linear form and Q, a scalar for every column left."""

    values: list[int]
    linear: list[int]
    squares: list[int] | None  # None where Q = 1

    def at(self, x: int) -> int:
        """sum of v' (a + Q v') with the current variable at a small x."""
        values, linear = _at(self.values, x), _at(self.linear, x)
        if self.squares is None:
            return sum(v * (a + v) for v, a in zip(values, linear, strict=True))
        return sum(v * (a + q * v) for v, a, q in zip(values, linear, _at(self.squares, x), strict=True))

    def bind(self, challenge: int) -> _Column:
        squares = None if self.squares is None else fold(self.squares, challenge)
        return _Column(fold(self.values, challenge), fold(self.linear, challenge), squares)


class _ColumnRounds:
    """Column variables, of which there are at least four."""

    def __init__(self, task: SumcheckTask, row_point: Sequence[int], rows: _RowRounds) -> None:
        self._degree = task.parameters.round_degrees[-1]
        columns, classes = task.parameters.shape.columns, task.classes()
        equal = eq(task.weights.row_point, row_point)
        linear = _linear_rows(task, row_point, rows.forms)
        self._columns = []
        for b, (values, table) in enumerate(zip(rows.sumcheck.rows(), task.parameters.layout.tables, strict=True)):
            pad = task.pads[b] * rows.pad[0]
            padded = [(value + pad) % ORDER for value in [*values, *[0] * (columns - len(values))]]
            squares = [task.plain[b]] * columns
            if table.weights is not None:
                squares = add(squares, scale(classes[table.weights].table(), equal))
            alone = table.weights is None and task.plain[b] == 1
            self._columns.append(_Column(padded, linear[b], None if alone else squares))
        self._signed = self._signed_columns(task, row_point)

    def _signed_columns(self, task: SumcheckTask, row_point: Sequence[int]) -> SignedColumns | None:
        if task.signed is None:
            return None
        left, right = (self._columns[b].values for b in task.pair)
        return SignedColumns(task.signed.row_at(task.engine, row_point), left, right)

    def polynomial(self) -> Polynomial:
        """From its values at 0, 1, .., degree."""
        parts: list[_Column | SignedColumns] = [*self._columns]
        if self._signed is not None:
            parts.append(self._signed)
        return interpolate([sum(part.at(x) for part in parts) for x in range(self._degree + 1)])

    def bind(self, challenge: int) -> None:
        self._columns = [column.bind(challenge) for column in self._columns]
        if self._signed is not None:
            self._signed = self._signed.bind(challenge)

    def evaluations(self) -> list[int]:
        return [column.values[0] for column in self._columns]


def _linear_rows(task: SumcheckTask, row_point: Sequence[int], forms: Sequence[FoldedForm]) -> list[list[int]]:
    """a_b(r_rows, c) for every table and every column of the cube."""
    layout, equal = task.parameters.layout, eq_table(row_point)
    found = []
    for table, signs in zip(layout.tables, task.signs.of_tables(layout), strict=True):
        products = task.engine.ternary_products(signs, equal[: table.rows])
        scaled = [rho * x % ORDER for rho, x in zip(task.weights.projections, products, strict=True)]
        found.append(task.engine.ternary_combination(task.signs.columns, scaled))
    for folded in forms:
        for b, multiple in folded.tables.items():
            found[b] = add(found[b], scale(folded.right, multiple * folded.left[0]))
    for b in task.small:
        combined = [dot(column, equal[: layout.tables[b].rows]) for column in zip(*task.small_rows(b), strict=True)]
        found[b] = add(found[b], combined)
    return found


def _at(table: Sequence[int], x: int) -> list[int]:
    """Variable 0 set to a small x, unreduced; an absent last value is zero."""
    if x == 0:
        return list(table[0::2])
    pairs = zip_longest(table[0::2], table[1::2], fillvalue=0)
    return [even + x * (odd - even) for even, odd in pairs]
