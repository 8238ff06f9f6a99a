from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.engine import Block, RoundSums
from proofs.errors import Misuse
from proofs.native import jobs
from proofs.native.engine import NativeEngine
from proofs.native.exact import sign_products, transposed_signs
from proofs.polynomials import eq_table
from proofs.reference import ReferenceEngine

ENGINE, TWIN = NativeEngine(), ReferenceEngine()
LARGEST = 2**40

Matrix = list[list[int]]
scalar = st.one_of(st.sampled_from([0, 1, 2, ORDER - 1, ORDER - 2, 2**255]), st.integers(0, ORDER - 1))
entry = st.one_of(st.sampled_from([0, 1, -1, LARGEST, -LARGEST, 2**31, -(2**32)]), st.integers(-LARGEST, LARGEST))


def scalars(count: int) -> st.SearchStrategy[list[int]]:
    return st.lists(scalar, min_size=count, max_size=count)


@st.composite
def signs(draw: st.DrawFn, count: int, length: int) -> np.ndarray:
    values = draw(st.lists(st.sampled_from([-1, 0, 1]), min_size=count * length, max_size=count * length))
    return np.array(values, np.int8).reshape(count, length)


@st.composite
def statements(draw: st.DrawFn) -> tuple:
    """(blocks, column signs, projection weights, column weights, row point, linear): up to six blocks in 2^3 x 4."""
    variables, count = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    widths = draw(st.lists(st.integers(1, 4), max_size=2))
    blocks, linear = [], {}
    for index in range(draw(st.integers(1, 6))):
        name = draw(st.sampled_from([None, *range(len(widths))]))
        columns = draw(st.integers(1, 4)) if name is None else widths[name]
        rows = draw(st.sampled_from([height for height in (1, 2, 3, 5, 8) if height <= 2**variables]))
        values = draw(st.lists(entry, min_size=rows * columns, max_size=rows * columns))
        table = np.array(values, np.int64).reshape(rows, columns)
        blocks.append(Block(table, draw(signs(count, rows)), draw(st.booleans()), name))
        if draw(st.booleans()):
            linear[index] = draw(scalars(rows * columns))
    weights = [draw(scalars(width)) for width in widths]
    return blocks, draw(signs(count, 4)), draw(scalars(count)), weights, draw(scalars(variables)), linear


class Cube:
    """The sumcheck over plain integers, by the definition: v, left, W and the linear forms on the whole rows' cube."""

    def __init__(
        self,
        blocks: Sequence[Block],
        column_signs: np.ndarray,
        projection_weights: list[int],
        column_weights: Sequence[Sequence[int]],
        row_point: Sequence[int],
        linear: Mapping[int, Sequence[int]],
    ) -> None:
        self.blocks, self.column_weights, self.later = blocks, column_weights, list(row_point)
        self.parts: list[list[Matrix]] = []  # v, linear, left, W of each block
        for index, block in enumerate(blocks):
            table, columns = block.table.tolist(), block.table.shape[1]
            form = linear.get(index, [0] * block.table.size)
            forms = [list(form[start : start + columns]) for start in range(0, len(form), columns)]
            left = [[w * s for w, s in zip(projection_weights, own, strict=True)] for own in block.row_signs.T.tolist()]
            right = column_signs[:, :columns].tolist()
            products = [[sum(a * b for a, b in zip(row, t, strict=True)) for t in right] for row in table]
            absent = 2 ** len(row_point) - len(table)
            self.parts.append([part + [[0] * len(part[0])] * absent for part in (table, forms, left, products)])

    def at(self, x: int) -> list[list[Matrix]]:
        return [[line(part, x) for part in parts] for parts in self.parts]

    def sums(self) -> RoundSums:
        weights = eq_table(self.later[1:])
        values = []
        for x in range(3):
            square, weighted, cross = 0, 0, 0
            for block, (table, forms, left, products) in zip(self.blocks, self.at(x), strict=True):
                square += inner(table, table) if block.plain else 0
                cross += inner(forms, table) + inner(left, products)
                if block.weights is not None:
                    columns = self.column_weights[block.weights]
                    scaled = [
                        [w * c * v for c, v in zip(columns, row, strict=True)]
                        for w, row in zip(weights, table, strict=True)
                    ]
                    weighted += inner(scaled, table)
            values.append((square % ORDER, weighted % ORDER, cross % ORDER))
        return RoundSums(*zip(*values, strict=True))

    def bind(self, challenge: int) -> None:
        self.parts = self.at(challenge)
        del self.later[0]

    def rows(self) -> Matrix:
        return [[value % ORDER for value in parts[0][0]] for parts in self.parts]


def line(part: Matrix, x: int) -> Matrix:
    pairs = zip(part[0::2], part[1::2], strict=True)
    return [[(a + x * (b - a)) % ORDER for a, b in zip(low, high, strict=True)] for low, high in pairs]


def inner(left: Matrix, right: Matrix) -> int:
    return sum(a * b for p, q in zip(left, right, strict=True) for a, b in zip(p, q, strict=True))


def check_rounds(statement: tuple, challenges: Sequence[int]) -> None:
    blocks, column_signs, *rest = statement
    cube, sumcheck = Cube(*statement), ENGINE.project(blocks, column_signs).row_sumcheck(*rest)
    for challenge in challenges:
        assert sumcheck.sums() == cube.sums()
        assert sumcheck.sums() == cube.sums()  # asking twice changes nothing
        cube.bind(challenge)
        sumcheck.bind(challenge)
    assert sumcheck.rows() == cube.rows()


@settings(max_examples=60, deadline=None)
@given(st.data(), statements())
def test_rounds_equal_the_sums_over_the_cube(data: st.DataObject, statement: tuple) -> None:
    check_rounds(statement, data.draw(scalars(len(statement[4]))))


@settings(max_examples=20, deadline=None)
@given(st.data(), statements())
def test_the_reference_engine_agrees(data: st.DataObject, statement: tuple) -> None:
    blocks, column_signs, *rest = statement
    projections = [engine.project(blocks, column_signs) for engine in (ENGINE, TWIN)]
    assert projections[0].values() == projections[1].values()
    native, reference = (projection.row_sumcheck(*rest) for projection in projections)
    for challenge in data.draw(scalars(len(statement[4]))):
        assert native.sums() == reference.sums()
        native.bind(challenge)  # a bind without sums as well
        reference.bind(challenge)
    assert native.rows() == reference.rows()


@pytest.mark.parametrize("rows", [40, 67])
def test_rounds_in_many_pieces(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of a few rows, on the workers: six tables of two classes, one class of more than four tables."""
    monkeypatch.setattr(jobs, "_WORTHWHILE", 16)
    randomness = np.random.default_rng(rows)
    heights = [rows, rows - 1, rows // 2, 3, 1, rows, 1]
    tables = [randomness.integers(-LARGEST, LARGEST, (height, 8), endpoint=True) for height in heights]
    tables[0][rows // 2] = 0
    row_signs = [randomness.integers(-1, 2, (20, height)).astype(np.int8) for height in heights]
    classes = [0, 0, 0, 0, 0, 1, None]
    blocks = [Block(*parts) for parts in zip(tables, row_signs, [True, False] * 3 + [True], classes, strict=True)]
    variables = (rows - 1).bit_length()
    powers = [[pow(base, j, ORDER) for j in range(1, 21)] for base in (5, 7, 11, 13, 17)]
    linear = {3: [pow(19, j, ORDER) for j in range(24)], 4: powers[4][:8]}
    column_signs = randomness.integers(-1, 2, (20, 8)).astype(np.int8)
    statement = blocks, column_signs, powers[0], [powers[1][:8], powers[2][:8]], powers[3][:variables], linear
    check_rounds(statement, [pow(23, 100 + i, ORDER) for i in range(variables)])


def test_extreme_tables_do_not_overflow() -> None:
    """All entries +-2^40 with signs that add up, at the widest table that keeps the test quick."""
    columns = 4096
    table = np.where(np.arange(6)[:, None] % 2 == 0, -LARGEST, LARGEST) * np.ones((1, columns), np.int64)
    blocks = [Block(table, np.array([[1, -1, 1, -1, 1, -1]], np.int8), True, 0)] * 4
    projection = ENGINE.project(blocks, np.ones((1, columns), np.int8))
    assert projection.values() == [-4 * 6 * columns * LARGEST]
    sums = projection.row_sumcheck([ORDER - 1], [[ORDER - 1] * columns], [0, 0, 0], {}).sums()
    assert sums.square == tuple(12 * columns * factor * LARGEST**2 for factor in (1, 1, 9))
    assert sums.weighted == tuple(-4 * columns * factor * LARGEST**2 % ORDER for factor in (1, 1, 9))
    assert sums.cross == tuple(12 * columns * factor * LARGEST for factor in (1, 1, 9))


def test_extreme_elements_do_not_overflow() -> None:
    """From the second round on: differences, weights and left factors of ORDER - 1 in four tables of one class."""
    table = np.array([[0], [1], [1], [0]]) * np.ones((1, 64), np.int64)  # at the challenge c: c, then 1 - c
    blocks = [Block(table, np.array([[0, 1, 1, 0]], np.int8), True, 0)] * 4
    statement = blocks, np.ones((1, 64), np.int8), [1], [[ORDER - 1] * 64], [0, 0], {0: [0] * 64 + [1] * 128 + [0] * 64}
    check_rounds(statement, [1, 5])
    check_rounds(statement, [ORDER - 1, ORDER - 1])
    check_rounds(statement, [(ORDER + 1) // 2, 0])


@pytest.mark.parametrize("columns", [1, 2, 5, 1000, 1024, 8192, 2**14, 2**16])
@pytest.mark.parametrize("largest", [LARGEST, 2**43 // 2**16, 127])
def test_exact_products_at_every_width(columns: int, largest: int) -> None:
    """In one piece of the entries, in two, in three."""
    randomness = np.random.default_rng(columns)
    matrix = randomness.integers(-1, 2, (3, columns)).astype(np.int8)
    matrix[0] = 1
    table = randomness.integers(-largest, largest, (5, columns), endpoint=True)
    table[0], table[1], table[2] = largest, -largest, largest - 1
    wanted = (table.astype(object) @ matrix.T.astype(object)).tolist()
    assert sign_products(table, transposed_signs(matrix)).tolist() == wanted


@pytest.mark.parametrize("columns", [3, 4, 1023, 1024])
def test_exact_products_where_a_piece_ends(columns: int) -> None:
    for bits in range(18, 32):
        for value in (2**bits - 1, 2**bits, -(2**bits), -(2**bits) - 1):
            table = np.full((1, columns), value, np.int64)
            for sign in (1, -1):
                matrix = np.full((1, columns), sign, np.int8)
                assert sign_products(table, transposed_signs(matrix)).tolist() == [[sign * columns * value]]


def test_one_row_needs_no_round() -> None:
    empty = np.zeros((0, 1), np.int8), np.zeros((0, 2), np.int8)
    sumcheck = ENGINE.project([Block(np.array([[5, -6]]), empty[0], True, None)], empty[1]).row_sumcheck([], [], [], {})
    assert sumcheck.rows() == [[5, ORDER - 6]]
    with pytest.raises(Misuse):
        sumcheck.sums()
    with pytest.raises(Misuse):
        sumcheck.bind(1)


def test_rounds_in_order_only() -> None:
    blocks = [Block(np.ones((3, 2), np.int64), np.zeros((0, 3), np.int8), True, None)]
    projection = ENGINE.project(blocks, np.zeros((0, 2), np.int8))
    sumcheck = projection.row_sumcheck([], [], [0, 0], {})
    with pytest.raises(Misuse):
        projection.row_sumcheck([], [], [0, 0], {})
    with pytest.raises(Misuse):
        sumcheck.rows()
    with pytest.raises(Misuse):
        sumcheck.bind(ORDER)
    sumcheck.bind(2)
    sumcheck.bind(ORDER - 1)
    assert sumcheck.rows() == [[3, 3]]  # rows 1, 1, 1, 0 at (2, -1): 1 at 0, then 1 - 2 = -1 at 1


TABLE, ROWS, COLUMNS = np.ones((3, 2), np.int64), np.ones((1, 3), np.int8), np.ones((1, 2), np.int8)


@pytest.mark.parametrize(
    ("table", "row_signs", "column_signs"),
    [
        (TABLE[:0], ROWS[:, :0], COLUMNS),
        (TABLE, ROWS[:, :2], COLUMNS),
        (TABLE, np.ones((2, 3), np.int8), COLUMNS),
        (TABLE * (LARGEST + 1), ROWS, COLUMNS),
        (TABLE.astype(np.int32), ROWS, COLUMNS),
        (TABLE, ROWS + ROWS, COLUMNS),
        (TABLE, ROWS, COLUMNS + COLUMNS),
        (TABLE, ROWS, COLUMNS[:, :1]),
        (TABLE, ROWS, np.ones((1, 3), np.int8)),
    ],
)
def test_projections_are_checked(table: np.ndarray, row_signs: np.ndarray, column_signs: np.ndarray) -> None:
    with pytest.raises(Misuse):
        ENGINE.project([Block(table, row_signs, True, None)], column_signs)


def test_a_projection_has_blocks() -> None:
    with pytest.raises(Misuse):
        ENGINE.project([], COLUMNS)


@pytest.mark.parametrize(
    ("projection_weights", "column_weights", "row_point", "linear"),
    [
        ([1, 1], [[1, 1]], [0, 0], {}),
        ([ORDER], [[1, 1]], [0, 0], {}),
        ([1], [], [0, 0], {}),
        ([1], [[1]], [0, 0], {}),
        ([1], [[1, -1]], [0, 0], {}),
        ([1], [[1, 1]], [0], {}),
        ([1], [[1, 1]], [0, ORDER], {}),
        ([1], [[1, 1]], [0, 0], {1: [0] * 6}),
        ([1], [[1, 1]], [0, 0], {0: [0] * 5}),
        ([1], [[1, 1]], [0, 0], {0: [ORDER] * 6}),
    ],
)
def test_sumcheck_arguments_are_checked(projection_weights, column_weights, row_point, linear) -> None:
    projection = ENGINE.project([Block(TABLE, ROWS, True, 0)], COLUMNS)
    with pytest.raises(Misuse):
        projection.row_sumcheck(projection_weights, column_weights, row_point, linear)
