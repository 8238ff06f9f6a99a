"""The row rounds over several tables in one cube (spec 5.6).

For a pair of rows (e, o) a sum of squares is a quadratic in X, known at 0 and 1 from the round before, or from the
tables; its leading coefficient is the sum over the differences o - e. So a round computes one number a pair of rows,
and binding it gives the sums of the next round's rows without reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from proofs.arrays import Words
from proofs.curve import ORDER
from proofs.engine import Block, RoundSums, SignedProduct, Signs, Table
from proofs.errors import Misuse
from proofs.native.blocks import Challenge, ElementBlock, IntegerBlock, steps
from proofs.native.differences import weighted_integer_squares, weighted_square_differences
from proofs.native.exact import column_dots, sign_product_job, transposed_signs
from proofs.native.jobs import Job, run_all
from proofs.native.signed_rounds import ProductRows, Steps
from proofs.native.weighted import signed_words
from proofs.native.words import check_scalars, reduced, to_words
from proofs.polynomials import eq_table

_TABLES = 4  # that the kernels of weighted squares take at once
Three = tuple[int, int, int]
Array = TypeVar("Array")


class NativeProjection:
    """`proofs.engine.Projection`."""

    def __init__(self, blocks: Sequence[Block], column_signs: Signs) -> None:
        self._kinds = [(block.plain, block.weights) for block in blocks]
        self._count = len(column_signs)
        transposed = transposed_signs(column_signs)
        products = [np.empty((len(block.table), self._count), np.int64) for block in blocks]
        run_all([sign_product_job(block.table, transposed, own) for block, own in zip(blocks, products, strict=True)])
        self._blocks = [
            IntegerBlock(block.table, np.require(block.row_signs.T, requirements=["C", "W"]), own)
            for block, own in zip(blocks, products, strict=True)
        ]
        self._used = False

    def values(self) -> list[int]:
        """See `Projection`."""
        totals = [0] * self._count
        for block in self._blocks:
            totals = [total + dot for total, dot in zip(totals, column_dots(block.signs, block.products), strict=True)]
        return totals

    def row_sumcheck(
        self,
        projection_weights: Sequence[int],
        column_weights: Sequence[Sequence[int]],
        row_point: Sequence[int],
        linear: Mapping[int, Sequence[int]],
        factors: Mapping[int, int] | None = None,
        signed: SignedProduct | None = None,
    ) -> NativeRowSumcheck:
        """See `Projection`; raises Misuse when called again."""
        if self._used:
            raise Misuse("projection: expected one sumcheck, found a second")
        self._used = True
        check_scalars("projection_weights", projection_weights, self._count)
        check_scalars("row_point", row_point)
        blocks = [
            IntegerBlock(block.values, block.signs, block.products, _linear_rows(block, linear[index]))
            if index in linear
            else block
            for index, block in enumerate(self._blocks)
        ]
        if not all(index in range(len(blocks)) for index in linear):
            raise Misuse(f"linear: expected indices of {len(blocks)} blocks, found {sorted(linear)}")
        if max(len(block.values) for block in blocks) > 1 << len(row_point):
            raise Misuse(f"row_point: expected at most 2^{len(row_point)} rows")
        classes = _classes(blocks, [weights for _, weights in self._kinds], column_weights)
        given = factors or {}
        check_scalars("factors", list(given.values()))
        tracks = [
            _Track(block, plain, given.get(index, 1))
            for index, (block, (plain, _)) in enumerate(zip(blocks, self._kinds, strict=True))
        ]
        product = None if signed is None else _Product(signed, ProductRows(signed, blocks, row_point))
        return NativeRowSumcheck(tracks, classes, projection_weights, row_point, product)


@dataclass(frozen=True)
class _Product:
    """Which blocks, and the sums of their rows."""

    signed: SignedProduct
    rows: ProductRows

    def steps(self, tracks: Sequence[_Track]) -> Steps:
        return self.rows.steps(tracks[self.signed.left].block, tracks[self.signed.right].block)


class _Track:
    """A block in the state of the current round, and the sums of its rows.

    Where a single row is left, in its table and in those it shares weights with, it is not folded any more: the
    factors 1 - r are gathered.
    """

    def __init__(self, block: IntegerBlock, plain: bool, weight: int) -> None:
        self.block: IntegerBlock | ElementBlock = block
        self.plain, self.weight = plain, weight  # of its squares, if they are plain
        self.squares = [0] * (len(block.values) if plain else 0)
        self.crosses = [0] * len(block.values)
        self.settled = False
        self.factor = 1

    def row(self) -> list[int]:
        """The only row."""
        return [self.factor * value % ORDER for value in self.block.row()]


class _Class:
    """The tables whose squares share column weights, and the weighted sums of their rows."""

    def __init__(self, members: Sequence[int], weights: Sequence[int], rows: int) -> None:
        self.members = members
        self.weights = to_words(weights)
        self.montgomery_weights = to_words([(weight << 256) % ORDER for weight in weights])
        self.sums = [0] * rows

    def row_jobs(self, tables: Sequence[Table]) -> list[Job]:
        """Of each row the weighted squares of small integers."""
        empty = np.empty((0, len(self.weights)), np.int64)
        return [self._row_job(*group) for group in _groups(tables, empty)]

    def integer_step_jobs(self, tables: Sequence[Table]) -> list[Job]:
        """Of each pair of rows the weighted squares of differences of small integers."""
        empty = np.empty((0, len(self.weights)), np.int64)
        return [self._integer_step_job(group) for group in _groups(tables, empty)]

    def element_step_jobs(self, tables: Sequence[Words]) -> list[Job]:
        """Of each pair of rows the weighted squares of differences of elements."""
        empty = np.empty((0, len(self.weights), 4), np.uint64)
        return [self._element_step_job(*group) for group in _groups(tables, empty)]

    def _row_job(self, t0: Table, t1: Table, t2: Table, t3: Table) -> Job:
        def run(a: int, b: int) -> Words:
            return weighted_integer_squares(t0[a:b], t1[a:b], t2[a:b], t3[a:b], self.weights, b - a)

        return Job(run, len(self.sums), _TABLES * len(self.weights))

    def _integer_step_job(self, tables: Sequence[Table]) -> Job:
        def run(a: int, b: int) -> Words:
            d0, d1, d2, d3 = (steps(table[2 * a : 2 * b]) for table in tables)
            return weighted_integer_squares(d0, d1, d2, d3, self.weights, b - a)

        return Job(run, (len(self.sums) + 1) // 2, _TABLES * len(self.weights))

    def _element_step_job(self, t0: Words, t1: Words, t2: Words, t3: Words) -> Job:
        def run(a: int, b: int) -> Words:
            i, j = 2 * a, 2 * b
            return weighted_square_differences(t0[i:j], t1[i:j], t2[i:j], t3[i:j], self.montgomery_weights, b - a)

        return Job(run, (len(self.sums) + 1) // 2, _TABLES * len(self.weights))


class NativeRowSumcheck:
    """`proofs.engine.RowSumcheck`."""

    def __init__(
        self,
        tracks: Sequence[_Track],
        classes: Sequence[_Class],
        projection_weights: Sequence[int],
        row_point: Sequence[int],
        product: _Product | None = None,
    ) -> None:
        self._tracks, self._classes, self._product = tracks, classes, product
        self._projection_weights = projection_weights
        self._signed_weights = signed_words(to_words(projection_weights))
        self._row_point = row_point
        self._round = 0
        self._leading: _Leading | None = None
        self._settle()
        self._first_sums()

    def sums(self) -> RoundSums:
        """See `RowSumcheck`; raises Misuse once every row variable is bound."""
        leading = self._current()
        suffix = eq_table(self._row_point[self._round + 1 :])
        square, cross, weighted = [0, 0, 0], [0, 0, 0], [0, 0, 0]
        for track, squares, crosses in zip(self._tracks, leading.squares, leading.crosses, strict=True):
            if track.plain:
                own = [0, 0, 0]
                _accumulate(own, track.squares, squares)
                square = [total + track.weight * value for total, value in zip(square, own, strict=True)]
            _accumulate(cross, track.crosses, crosses)
        for each, steps_of_class in zip(self._classes, leading.weighted, strict=True):
            _accumulate(weighted, each.sums, steps_of_class, suffix)
        signed = None
        if self._product is not None and leading.product is not None:
            signed = self._product.rows.round_sums(leading.product)
        return RoundSums(_values(square), _values(weighted), _values(cross), signed)

    def bind(self, challenge: int) -> None:
        """See `RowSumcheck`; raises Misuse once every row variable is bound."""
        leading = self._current()
        check_scalars("challenge", [challenge])
        forms = Challenge.of(challenge, self._projection_weights if self._round == 0 else [])
        jobs: list[Job] = []
        for track, squares, crosses in zip(self._tracks, leading.squares, leading.crosses, strict=True):
            if track.plain:
                track.squares = _bound(track.squares, squares, challenge)
            track.crosses = _bound(track.crosses, crosses, challenge)
            if track.settled:
                track.factor = track.factor * (1 - challenge) % ORDER
            else:
                track.block, folding = track.block.folded(forms)
                jobs += folding
        for own, steps_of_class in zip(self._classes, leading.weighted, strict=True):
            own.sums = _bound(own.sums, steps_of_class, challenge)
        if self._product is not None and leading.product is not None:
            jobs += self._product.rows.bind(challenge, leading.product)
        run_all(jobs)
        self._round += 1
        self._leading = None
        self._settle()

    def rows(self) -> list[list[int]]:
        """See `RowSumcheck`; raises Misuse while a row variable is left to bind."""
        if self._round < len(self._row_point):
            raise Misuse(f"row sumcheck: expected {len(self._row_point)} rounds bound, found {self._round}")
        return [track.row() for track in self._tracks]

    def _settle(self) -> None:
        tall = {member for own in self._classes if len(own.sums) > 1 for member in own.members}
        for index, track in enumerate(self._tracks):
            track.settled = len(track.crosses) == 1 and index not in tall

    def _first_sums(self) -> None:
        """Of every row of the tables themselves."""
        requests: list[tuple[list[int], Job]] = []
        blocks = [track.block for track in self._tracks]
        for track in self._tracks:
            block = track.block
            if isinstance(block, IntegerBlock):
                if track.plain:
                    requests.append((track.squares, block.squares()))
                requests.append((track.crosses, block.crosses(self._signed_weights)))
        for own in self._classes:
            members = [blocks[index] for index in own.members]
            tables = [block.values for block in members if isinstance(block, IntegerBlock)]
            requests += [(own.sums, job) for job in own.row_jobs(tables)]
        _add_up(requests)
        for track in self._tracks:
            if isinstance(track.block, IntegerBlock):
                track.crosses = _plus(track.crosses, track.block.linear_sums())

    def _current(self) -> _Leading:
        if self._round >= len(self._row_point):
            raise Misuse(f"row sumcheck: expected at most {len(self._row_point)} rounds, found another")
        if self._leading is None:
            self._leading = _Leading(self._tracks, self._classes, self._signed_weights, self._product)
        return self._leading


class _Leading:
    """The leading coefficients of one round: per pair of rows of every table, and of every class."""

    def __init__(
        self, tracks: Sequence[_Track], classes: Sequence[_Class], weights: Words, product: _Product | None
    ) -> None:
        self.squares = [_prepared(track.squares, track.settled) for track in tracks]
        self.crosses = [_prepared(track.crosses, track.settled) for track in tracks]
        self.weighted = [_prepared(own.sums, len(own.sums) == 1) for own in classes]
        requests: list[tuple[list[int], Job]] = []
        for track, squares, crosses in zip(tracks, self.squares, self.crosses, strict=True):
            if not track.settled:
                requests += _requests(track, squares, crosses, weights)
        for own, sums in zip(classes, self.weighted, strict=True):
            if len(own.sums) > 1:
                requests += [(sums, job) for job in _class_jobs(own, [tracks[index].block for index in own.members])]
        _add_up(requests)
        self.product = None if product is None else product.steps(tracks)


def _prepared(rows: Sequence[int], settled: bool) -> list[int]:
    """Zeros to add to, one a pair; for a single row against an absent one its own sum, which is the answer."""
    return list(rows) if settled else [0] * ((len(rows) + 1) // 2)


def _requests(track: _Track, squares: list[int], crosses: list[int], weights: Words) -> list[tuple[list[int], Job]]:
    block = track.block
    requests = [(squares, block.square_steps())] if track.plain else []
    if isinstance(block, ElementBlock):
        return requests + [(crosses, job) for job in block.cross_steps()]
    crosses[:] = _plus(crosses, block.linear_steps())
    return [*requests, (crosses, block.cross_steps(weights))]


def _class_jobs(own: _Class, blocks: Sequence[IntegerBlock | ElementBlock]) -> list[Job]:
    integers = [block.values for block in blocks if isinstance(block, IntegerBlock)]
    if integers:
        return own.integer_step_jobs(integers)
    return own.element_step_jobs([block.values for block in blocks if isinstance(block, ElementBlock)])


def _groups(tables: Sequence[Array], empty: Array) -> list[list[Array]]:
    """Tables four by four, filled up with empty ones."""
    filled = [*tables, *[empty] * (-len(tables) % _TABLES)]
    return [filled[start : start + _TABLES] for start in range(0, len(filled), _TABLES)]


def _add_up(requests: Sequence[tuple[list[int], Job]]) -> None:
    """Run the jobs and add the sums each gives, one a row or a pair of rows, to the list that goes with it."""
    for (target, _), parts in zip(requests, run_all([job for _, job in requests]), strict=True):
        values = [value for words in parts for value in reduced(words)]
        target[:] = [total + value for total, value in zip(target, values, strict=True)]


def _plus(rows: list[int], more: Sequence[int]) -> list[int]:
    return [total + value for total, value in zip(rows, more, strict=True)] if more else rows


def _accumulate(
    sums: list[int], rows: Sequence[int], leading: Sequence[int], weights: Sequence[int] | None = None
) -> None:
    """Add to (value at 0, value at 1, leading coefficient) the pairs' own, weighted or not."""
    for position, values in enumerate((rows[0::2], rows[1::2], leading)):
        terms: Iterable[int] = values
        if weights is not None:
            terms = (weight * value for weight, value in zip(weights[: len(values)], values, strict=True))
        sums[position] += sum(terms)


def _values(sums: Sequence[int]) -> Three:
    """At X = 0, 1, 2, from the values at 0 and 1 and the leading coefficient."""
    at_0, at_1, leading = sums
    return at_0 % ORDER, at_1 % ORDER, (2 * at_1 - at_0 + 2 * leading) % ORDER


def _bound(rows: Sequence[int], leading: Sequence[int], challenge: int) -> list[int]:
    """Each pair's quadratic at the challenge."""
    padded = [*rows, 0] if len(rows) % 2 else rows
    return [
        (e + challenge * (o - e - d + challenge * d)) % ORDER
        for e, o, d in zip(padded[0::2], padded[1::2], leading, strict=True)
    ]


def _linear_rows(block: IntegerBlock, form: Sequence[int]) -> list[Sequence[int]]:
    rows, columns = block.values.shape
    check_scalars("linear", form, rows * columns)
    return [form[start : start + columns] for start in range(0, rows * columns, columns)]


def _classes(
    blocks: Sequence[IntegerBlock], names: Sequence[int | None], column_weights: Sequence[Sequence[int]]
) -> list[_Class]:
    """One for each list of weights that some block names; raises Misuse for one that does not fit."""
    if any(name is not None and not 0 <= name < len(column_weights) for name in names):
        raise Misuse(f"blocks: expected indices of {len(column_weights)} lists of weights, found {names}")
    classes = []
    for index, weights in enumerate(column_weights):
        members = [block for block, name in enumerate(names) if name == index]
        for member in members:
            check_scalars("column_weights", weights, blocks[member].values.shape[1])
        if members:
            classes.append(_Class(members, weights, max(len(blocks[member].values) for member in members)))
    return classes
