from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.errors import Misuse
from proofs.native.engine import NativeEngine

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


def test_wide_ternary_sums() -> None:
    matrix = np.ones((2, 5000), np.int8)
    matrix[1] = -1
    assert ENGINE.ternary_products(matrix, [ORDER - 1] * 5000) == [-5000 % ORDER, 5000]
    assert ENGINE.ternary_combination(matrix[:, :3], [ORDER - 1, 1]) == [ORDER - 2] * 3
    assert ENGINE.ternary_products(matrix[:, ::2], [1] * 2500) == [2500, ORDER - 2500]
    assert ENGINE.ternary_products(np.zeros((2, 0), np.int8), []) == [0, 0]
    assert ENGINE.ternary_combination(np.zeros((0, 2), np.int8), []) == [0, 0]


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


@pytest.mark.parametrize("columns", [1, 127, 128, 129, 300])
def test_columns_around_a_block(columns: int) -> None:
    randomness = np.random.default_rng(columns)
    table = randomness.integers(-(2**62), 2**62, (5, columns))
    weights = [2**52 - 1, 0, 1, ORDER - 1, 2**51]
    assert ENGINE.weighted_columns(table, weights) == products(table.T, weights)
    assert ENGINE.weighted_columns(np.asfortranarray(table)[::-1], weights) == products(table[::-1].T, weights)


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
def test_arguments_are_checked(call) -> None:
    with pytest.raises(Misuse):
        call()
