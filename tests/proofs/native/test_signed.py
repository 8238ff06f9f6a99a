"""Products of two blocks with signed weights, round by round: the definition over plain integers, and both engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.engine import Block, SignedProduct, SignedSums
from proofs.errors import Misuse
from proofs.native import jobs
from proofs.native.engine import NativeEngine
from proofs.polynomials import eq_table
from proofs.reference import ReferenceEngine
from tests.proofs.native.test_sumcheck import LARGEST, Matrix, entry, line, scalar, scalars

Statement = tuple[list[Block], SignedProduct, list[int], dict[int, int]]  # with a row point, and factors
ENGINE, TWIN = NativeEngine(), ReferenceEngine()
NO_SIGNS = np.zeros((0, 16), np.int8)


@st.composite
def products(draw: st.DrawFn) -> Statement:
    """Two blocks of one size, and a taller one between them."""
    variables, columns = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    heights = [height for height in (1, 2, 3, 5, 8) if height <= 2**variables]
    rows = draw(st.sampled_from(heights))
    tables = []
    for height in (rows, draw(st.sampled_from(heights)), rows):
        values = draw(st.lists(entry, min_size=height * columns, max_size=height * columns))
        tables.append(np.array(values, np.int64).reshape(height, columns))
    blocks = [Block(table, np.zeros((0, len(table)), np.int8), index == 1, None) for index, table in enumerate(tables)]
    bits = draw(st.lists(st.sampled_from([-1, 1]), min_size=rows * columns, max_size=rows * columns))
    weights = draw(st.one_of(st.none(), scalars(columns)))
    signed = SignedProduct(0, 2, np.array(bits, np.int8).reshape(rows, columns), draw(scalar), weights)
    return blocks, signed, draw(scalars(variables)), {1: draw(scalar)}


class Definition:
    """W, left and right on the whole rows' cube."""

    def __init__(self, blocks: Sequence[Block], signed: SignedProduct, row_point: Sequence[int]) -> None:
        rows, columns = signed.signs.shape
        equal, weights = eq_table(row_point), signed.weights or [0] * columns
        own = [
            [int(s) * (signed.factor + equal[r] * w) for s, w in zip(signed.signs[r], weights, strict=True)]
            for r in range(rows)
        ]
        parts = [own, blocks[signed.left].table.tolist(), blocks[signed.right].table.tolist()]
        absent = [[0] * columns] * (len(equal) - rows)
        self.parts: list[Matrix] = [[*part, *absent] for part in parts]

    def sums(self) -> SignedSums:
        found = []
        for x in range(4):
            w, m, n = ([value for row in line(part, x) for value in row] for part in self.parts)
            cells = list(zip(w, m, n, strict=True))
            values = [
                sum(a * b * c for a, b, c in cells),
                sum(a * b for a, b, _ in cells),
                sum(a * c for a, _, c in cells),
            ]
            found.append([value % ORDER for value in values])
        product, left, right = zip(*found, strict=True)
        return SignedSums(product, left[:3], right[:3])

    def bind(self, challenge: int) -> None:
        self.parts = [line(part, challenge) for part in self.parts]


@settings(max_examples=60, deadline=None)
@given(st.data(), products())
def test_rounds_equal_the_sums_over_the_cube(data: st.DataObject, statement: Statement) -> None:
    blocks, signed, row_point, factors = statement
    definition = Definition(blocks, signed, row_point)
    one, other = (
        engine.project(blocks, NO_SIGNS[:, :4]).row_sumcheck([], [], row_point, {}, factors, signed)
        for engine in (ENGINE, TWIN)
    )
    for challenge in data.draw(scalars(len(row_point))):
        sums = one.sums()
        assert sums == other.sums()
        assert sums.signed == definition.sums()
        for each in (definition, one, other):
            each.bind(challenge)
    assert one.rows() == other.rows()


def test_factors_of_plain_squares() -> None:
    """Of one block and not of the other."""
    tables = [np.array([[3], [4]], np.int64), np.array([[1], [2]], np.int64)]
    blocks = [Block(table, np.zeros((0, 2), np.int8), True, None) for table in tables]
    for engine in (ENGINE, TWIN):
        sums = engine.project(blocks, NO_SIGNS[:, :1]).row_sumcheck([], [], [5], {}, {1: 10}).sums()
        assert sums.square == (9 + 10 * 1, 16 + 10 * 4, 25 + 10 * 9)
        assert sums.signed is None


@pytest.mark.parametrize("weighted", [False, True])
def test_extreme_tables_do_not_overflow(weighted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All entries at their largest with signs that add them up, in many pieces; then elements that are as large."""
    monkeypatch.setattr(jobs, "_WORTHWHILE", 1)
    rows, columns = 5, 512
    table = np.full((rows, columns), LARGEST, np.int64)
    table[1::2] *= -1
    blocks = [Block(each, np.zeros((0, rows), np.int8), False, None) for each in (table, -table)]
    weights = [ORDER - 1] * columns if weighted else None
    signed = SignedProduct(0, 1, np.full((rows, columns), -1, np.int8), ORDER - 1, weights)
    row_point = [ORDER - 1, ORDER - 2, 3]
    definition = Definition(blocks, signed, row_point)
    sumcheck = ENGINE.project(blocks, np.zeros((0, columns), np.int8)).row_sumcheck([], [], row_point, {}, {}, signed)
    for challenge in (ORDER - 1, 2**255, 7):
        assert sumcheck.sums().signed == definition.sums()
        definition.bind(challenge)
        sumcheck.bind(challenge)


SIGNED = SignedProduct(0, 1, np.ones((2, 4), np.int8), 1, None)


@pytest.mark.parametrize(
    ("signed", "expected"),
    [
        (replace(SIGNED, left=2), "expected indices of 2 blocks, found 2, 1"),
        (replace(SIGNED, right=-1), "expected indices of 2 blocks, found 0, -1"),
        (replace(SIGNED, signs=np.ones((2, 3), np.int8)), "int8 signs of two blocks of one size"),
        (replace(SIGNED, signs=np.zeros((2, 4), np.int8)), "int8 signs of two blocks of one size"),
        (replace(SIGNED, signs=np.ones((2, 4), np.int64)), "int8 signs of two blocks of one size"),
        (replace(SIGNED, factor=ORDER), "factor: expected scalars"),
        (replace(SIGNED, weights=[1] * 3), "weights: expected 4 scalars, found 3"),
        (replace(SIGNED, weights=[-1] * 4), "weights: expected scalars"),
    ],
)
def test_signed_products_are_checked(signed: SignedProduct, expected: str) -> None:
    blocks = [Block(np.ones((2, 4), np.int64), np.zeros((0, 2), np.int8), False, None)] * 2
    with pytest.raises(Misuse, match=expected):
        ENGINE.project(blocks, NO_SIGNS[:, :4]).row_sumcheck([], [], [1], {}, {}, signed)
    with pytest.raises(Misuse, match="factors: expected scalars"):
        ENGINE.project(blocks, NO_SIGNS[:, :4]).row_sumcheck([], [], [1], {}, {0: ORDER})
