from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.engine import RoundSums
from proofs.errors import Misuse
from proofs.native.engine import NativeEngine
from proofs.native.sumcheck import _exact_product

ENGINE = NativeEngine()
LARGEST = 2**40

scalar = st.one_of(st.sampled_from([0, 1, 2, ORDER - 1, ORDER - 2, 2**255]), st.integers(0, ORDER - 1))
entry = st.one_of(st.sampled_from([0, 1, -1, LARGEST, -LARGEST, 2**31, -(2**32)]), st.integers(-LARGEST, LARGEST))


def scalars(count: int) -> st.SearchStrategy[list[int]]:
    return st.lists(scalar, min_size=count, max_size=count)


@st.composite
def tables(draw: st.DrawFn, most_rows: int = 9, columns: int | None = None) -> np.ndarray:
    rows = draw(st.integers(1, most_rows))
    width = columns or draw(st.integers(1, 6))
    return np.array(draw(st.lists(entry, min_size=rows * width, max_size=rows * width)), np.int64).reshape(rows, width)


@st.composite
def signs(draw: st.DrawFn, count: int, length: int) -> np.ndarray:
    values = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=count * length, max_size=count * length))
    return np.array(values, np.int8).reshape(count, length)


def products(matrix: np.ndarray, weights: list[int]) -> list[int]:
    return [sum(a * w for a, w in zip(row, weights, strict=True)) % ORDER for row in matrix.tolist()]


@settings(max_examples=40, deadline=None)
@given(st.data(), tables())
def test_weighted_rows_and_columns(data: st.DataObject, table: np.ndarray) -> None:
    rows, columns = table.shape
    weights = data.draw(scalars(columns))
    assert ENGINE.weighted_rows(table, weights) == products(table, weights)
    weights = data.draw(scalars(rows))
    assert ENGINE.weighted_columns(table, weights) == products(table.T, weights)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 6))
def test_ternary(data: st.DataObject, count: int, length: int) -> None:
    matrix = data.draw(signs(count, length))
    vector = data.draw(scalars(length))
    assert ENGINE.ternary_products(matrix, vector) == products(matrix, vector)
    weights = data.draw(scalars(count))
    assert ENGINE.ternary_combination(matrix, weights) == products(matrix.T, weights)


def test_wide_sums() -> None:
    """More columns than a transposed block, extreme entries and weights all the way: the accumulators' top words."""
    table = np.full((130, 200), -LARGEST, np.int64)
    assert ENGINE.weighted_rows(table, [ORDER - 1] * 200) == [200 * LARGEST] * 130
    assert ENGINE.weighted_columns(table, [1] * 130) == [-130 * LARGEST % ORDER] * 200
    table[:] = -(2**63)
    assert ENGINE.weighted_rows(table, [ORDER - 1] * 200) == [200 * 2**63] * 130
    assert ENGINE.weighted_columns(table, [1] * 130) == [-130 * 2**63 % ORDER] * 200
    table[:] = LARGEST
    assert ENGINE.weighted_rows(table, [ORDER - 1] * 200) == [-200 * LARGEST % ORDER] * 130


@pytest.mark.parametrize(
    "call",
    [
        lambda: ENGINE.weighted_rows(np.ones((2, 3), np.int64), [1, 2]),
        lambda: ENGINE.weighted_columns(np.ones((2, 3), np.int64), [1, 2, 3]),
        lambda: ENGINE.weighted_rows(np.ones((2, 3), np.int64), [1, 2, ORDER]),
        lambda: ENGINE.ternary_products(np.ones((2, 3), np.int64), [1, 2, 3]),
        lambda: ENGINE.ternary_products(np.full((2, 3), 2, np.int8), [1, 2, 3]),
        lambda: ENGINE.ternary_products(np.full((2, 3), -128, np.int8), [1, 2, 3]),
        lambda: ENGINE.ternary_products(np.ones((2, 3), np.int8), [1, 2]),
        lambda: ENGINE.ternary_combination(np.ones((2, 3), np.int8), [1, -1]),
    ],
)
def test_arguments_are_checked(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Misuse):
        call()


class Cube:
    """The sumcheck over plain integers, by the definition: v, left and W as functions on the rows' cube."""

    def __init__(self, table, row_signs, column_signs, weights, extra_left, extra_right) -> None:  # type: ignore[no-untyped-def]
        rows = table.tolist()
        self.values = [[value % ORDER for value in row] for row in rows]
        right = [*column_signs.tolist(), extra_right]
        self.products = [[sum(a * b for a, b in zip(row, t, strict=True)) % ORDER for t in right] for row in rows]
        left = [[w * int(s) for s in signs] for w, signs in zip(weights, row_signs, strict=True)]
        self.left = [list(column) for column in zip(*left, extra_left, strict=True)]
        while len(self.values) & (len(self.values) - 1):
            for part in (self.values, self.products, self.left):
                part.append([0] * len(part[0]))

    def sums(self) -> RoundSums:
        def line(part: list[list[int]], x: int) -> list[list[int]]:
            return [
                [(a + x * (b - a)) % ORDER for a, b in zip(low, high, strict=True)]
                for low, high in zip(part[0::2], part[1::2], strict=True)
            ]

        def dot(first: list[list[int]], second: list[list[int]]) -> int:
            return sum(a * b for p, q in zip(first, second, strict=True) for a, b in zip(p, q, strict=True)) % ORDER

        squares = [dot(line(self.values, x), line(self.values, x)) for x in range(3)]
        crosses = [dot(line(self.left, x), line(self.products, x)) for x in range(3)]
        totals = [sum(map(sum, line(self.values, x))) % ORDER for x in range(2)]
        return RoundSums(tuple(squares), tuple(crosses), tuple(totals))  # type: ignore[arg-type]

    def bind(self, r: int) -> None:
        for name in ("values", "products", "left"):
            part = getattr(self, name)
            setattr(self, name, [
                [(a + r * (b - a)) % ORDER for a, b in zip(low, high, strict=True)]
                for low, high in zip(part[0::2], part[1::2], strict=True)
            ])  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(st.data(), tables(most_rows=13), st.integers(0, 4), st.booleans())
def test_row_sumcheck_equals_the_sums_over_the_cube(
    data: st.DataObject, table: np.ndarray, count: int, padded: bool
) -> None:
    rows, columns = table.shape
    arguments = (
        table,
        data.draw(signs(count, rows)),
        data.draw(signs(count, columns)),
        data.draw(scalars(count)),
        data.draw(scalars(rows)),
        data.draw(scalars(columns)) if padded else [0] * columns,
    )
    cube, sumcheck = Cube(*arguments), ENGINE.row_sumcheck(*arguments)
    for _ in range((rows - 1).bit_length()):
        assert sumcheck.sums() == cube.sums()
        assert sumcheck.sums() == cube.sums()  # asking twice changes nothing
        challenge = data.draw(scalar)
        cube.bind(challenge)
        sumcheck.bind(challenge)
    assert sumcheck.row() == cube.values[0]


@pytest.mark.parametrize("rows", [40, 67])
def test_row_sumcheck_in_several_chunks(rows: int) -> None:
    randomness = np.random.default_rng(rows)
    table = randomness.integers(-LARGEST, LARGEST, (rows, 8), endpoint=True)
    table[rows // 2] = 0
    row_signs, column_signs = (randomness.integers(-1, 2, (20, n)).astype(np.int8) for n in (rows, 8))
    weights = [pow(7, j, ORDER) for j in range(20)]
    arguments = (table, row_signs, column_signs, weights, [pow(5, r, ORDER) for r in range(rows)], [0] * 7 + [3])
    cube, sumcheck = Cube(*arguments), ENGINE.row_sumcheck(*arguments)
    for round_number in range((rows - 1).bit_length()):
        assert sumcheck.sums() == cube.sums()
        challenge = pow(11, 100 + round_number, ORDER)
        cube.bind(challenge)
        sumcheck.bind(challenge)
    assert sumcheck.row() == cube.values[0]


def test_extreme_tables_do_not_overflow() -> None:
    """All entries +-2^40 with signs that add up, at the widest table that keeps the test quick."""
    table = np.where(np.arange(6)[:, None] % 2 == 0, -LARGEST, LARGEST) * np.ones((1, 4096), np.int64)
    row_signs = np.array([[1, -1, 1, -1, 1, -1]], np.int8)
    column_signs = np.ones((1, 4096), np.int8)
    sums = ENGINE.row_sumcheck(table, row_signs, column_signs, [1], [0] * 6, [0] * 4096).sums()
    assert sums.square == (3 * 4096 * 2**80, 3 * 4096 * 2**80, 3 * 4096 * 9 * 2**80)
    assert sums.cross == tuple(-3 * 4096 * f * LARGEST % ORDER for f in (1, 1, 9))
    assert sums.total == (-3 * 4096 * LARGEST % ORDER, 3 * 4096 * LARGEST)


@pytest.mark.parametrize("columns", [1, 2, 1000, 8192, 2**14, 2**16])
def test_exact_products_at_every_width(columns: int) -> None:
    """From 2^13 columns of 2^40 on a sum no longer fits a double: the product is split."""
    randomness = np.random.default_rng(columns)
    signs = randomness.integers(-1, 2, (3, columns)).astype(np.int8)
    signs[0], signs[1, 0] = 1, 1
    table = randomness.integers(-LARGEST, LARGEST, (3, columns), endpoint=True)
    table[0], table[1] = LARGEST - 1, -LARGEST + 1
    table[:2, 0] -= 1  # so that the sums are odd: beyond 2^53 no double holds them
    wanted = (table.astype(object) @ signs.T.astype(object)).tolist()
    assert _exact_product(table, signs).tolist() == wanted


def test_one_row_needs_no_round() -> None:
    table = np.array([[5, -6]], np.int64)
    empty = np.zeros((0, 1), np.int8), np.zeros((0, 2), np.int8)
    sumcheck = ENGINE.row_sumcheck(table, *empty, [], [7], [0, 0])
    assert sumcheck.row() == [5, ORDER - 6]
    with pytest.raises(Misuse):
        sumcheck.sums()
    with pytest.raises(Misuse):
        sumcheck.bind(1)


def test_rounds_in_order_only() -> None:
    table = np.ones((3, 2), np.int64)
    empty = np.zeros((0, 3), np.int8), np.zeros((0, 2), np.int8)
    sumcheck = ENGINE.row_sumcheck(table, *empty, [], [1, 2, 3], [0, 0])
    with pytest.raises(Misuse):
        sumcheck.row()
    with pytest.raises(Misuse):
        sumcheck.bind(ORDER)
    sumcheck.bind(2)
    sumcheck.bind(ORDER - 1)
    assert sumcheck.row() == [3, 3]  # rows 1, 1, 1, 0 at (2, -1): 1 at 0, then 1 - 2 = -1 at 1


def test_sumcheck_arguments_are_checked() -> None:
    table = np.ones((3, 2), np.int64)
    rows, columns = np.ones((1, 3), np.int8), np.ones((1, 2), np.int8)
    for arguments in [
        (table[:0], rows[:, :0], columns, [1], [], [0, 0]),
        (table, rows[:, :2], columns, [1], [1, 2, 3], [0, 0]),
        (table, rows, columns, [1, 2], [1, 2, 3], [0, 0]),
        (table, rows, columns, [1], [1, 2], [0, 0]),
        (table, rows, columns, [1], [1, 2, 3], [0]),
        (table, rows, columns, [ORDER], [1, 2, 3], [0, 0]),
        (table * (LARGEST + 1), rows, columns, [1], [1, 2, 3], [0, 0]),
        (table, rows + rows, columns, [1], [1, 2, 3], [0, 0]),
    ]:
        with pytest.raises(Misuse):
            ENGINE.row_sumcheck(*arguments)
