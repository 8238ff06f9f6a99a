from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse
from proofs.native import narrow, residues
from proofs.native.engine import NativeEngine
from proofs.reference import ReferenceEngine

ENGINE, TWIN = NativeEngine(), ReferenceEngine()
LARGEST_WEIGHT = 2**52 - 1
NARROW = [3, 5, 2**26 - 5, 2**32 - 5, 2**32 - 1]  # 2^32 - 1: the largest that is summed in 64 bits
MODULI = [*NARROW, 2**32 + 1, 2**33 - 9, 0xFFFFFDC001, 0x3FFFFFFFFFFF0001, 2**62 - 57, 2**62 - 1]


@st.composite
def weights(draw: st.DrawFn, count: int, length: int) -> np.ndarray:
    entry = st.one_of(st.sampled_from([0, 1, LARGEST_WEIGHT]), st.integers(0, LARGEST_WEIGHT))
    values = draw(st.lists(entry, min_size=count * length, max_size=count * length))
    return np.array(values, np.int64).reshape(count, length)


@st.composite
def tables(draw: st.DrawFn, rows: int, columns: int, modulus: int) -> np.ndarray:
    entry = st.one_of(st.sampled_from([0, 1, modulus - 1]), st.integers(0, modulus - 1))
    values = draw(st.lists(entry, min_size=rows * columns, max_size=rows * columns))
    return np.array(values, np.int64).reshape(rows, columns)


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from(MODULI), st.integers(1, 4), st.integers(1, 5), st.integers(1, 19))
def test_residue_combinations(data: st.DataObject, modulus: int, count: int, rows: int, columns: int) -> None:
    table = data.draw(tables(rows, columns, modulus))
    arguments = table, data.draw(weights(count, rows)), data.draw(weights(count, columns)), modulus
    assert ENGINE.residue_combinations(*arguments) == TWIN.residue_combinations(*arguments)


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(MODULI), st.integers(1, 3), st.integers(1, 5))
def test_adjoint_combinations(data: st.DataObject, modulus: int, count: int, rows: int) -> None:
    """Rows shorter than a ring element, as long, and longer; the last element filled in part."""
    size, columns = data.draw(st.sampled_from([4, 8, 16])), data.draw(st.sampled_from([1, 2, 4, 8, 16, 32]))
    elements = data.draw(tables(-(-rows * columns // size), size, modulus))
    arguments = elements, data.draw(weights(count, rows)), data.draw(weights(count, columns)), modulus
    found = ENGINE.adjoint_combinations(*arguments)
    assert found.dtype == np.int64
    assert found.tolist() == TWIN.adjoint_combinations(*arguments).tolist()


def test_an_adjoint_combination_is_the_functional_it_says() -> None:
    """<result, k> is the weighted sum over the cells of the products a_j k, for an explicit product."""
    randomness = np.random.default_rng(1)
    size, columns, rows, modulus = 8, 4, 5, 2**62 - 57
    elements = randomness.integers(0, modulus, (3, size))
    left, right = randomness.integers(0, 2**52, (1, rows)), randomness.integers(0, 2**52, (1, columns))
    key = [int(value) for value in randomness.integers(-86, 87, size)]
    cells = []
    for element in elements.tolist():
        product = [0] * (2 * size)
        for i, x in enumerate(element):
            for j, y in enumerate(key):
                product[i + j] += x * y
        cells += [low - high for low, high in zip(product[:size], product[size:], strict=True)]
    wanted = sum(
        int(x) * int(y) * cells[r * columns + c] for r, x in enumerate(left[0]) for c, y in enumerate(right[0])
    )
    found = ENGINE.adjoint_combinations(elements, left, right, modulus)[0]
    assert sum(x * y for x, y in zip(found.tolist(), key, strict=True)) % modulus == wanted % modulus


@pytest.mark.parametrize("modulus", [2**32 - 1, 2**26 - 5, 2**62 - 57])
def test_the_largest_sums_do_not_overflow(modulus: int) -> None:
    """All factors at their largest, and more of them than are summed between two reductions."""
    columns = 2**14 + 5
    residues_table = np.full((3, columns), modulus - 1, np.int64)
    arguments = np.full((1, 3), LARGEST_WEIGHT), np.full((1, columns), LARGEST_WEIGHT)
    wanted = -3 * columns * LARGEST_WEIGHT**2 % modulus
    assert ENGINE.residue_combinations(residues_table, *arguments, modulus) == [wanted]
    chunks = 2**13 + 9
    elements = np.full((chunks, 4), modulus - 1, np.int64)
    found = ENGINE.adjoint_combinations(elements, np.full((1, chunks), LARGEST_WEIGHT), np.full((1, 4), 1), modulus)
    sums = [-chunks * LARGEST_WEIGHT * signs % modulus for signs in (4, 2, 0, -2)]
    assert found.tolist() == [sums]


@pytest.mark.parametrize("columns", [2**13, 2**14])
@pytest.mark.parametrize("modulus", [2**32 - 1, 2**62 - 57])
def test_the_largest_sums_of_long_rows_do_not_overflow(modulus: int, columns: int) -> None:
    """2^13 terms of one sign at their largest under each coefficient, in rows of one element and of two."""
    size = 2**13
    elements = np.full((columns // size, size), modulus - 1, np.int64)
    weights = np.full((1, columns), LARGEST_WEIGHT)
    found = ENGINE.adjoint_combinations(elements, np.ones((1, 1), np.int64), weights, modulus)
    each = -LARGEST_WEIGHT * (
        columns // size
    )  # so often for every cell at or behind the coefficient, less those before
    assert found.tolist() == [[each * (size - 2 * i) % modulus for i in range(size)]]


@pytest.mark.parametrize("modulus", [2**32 - 1, 2**62 - 57])
def test_the_largest_sums_of_short_rows_do_not_overflow(modulus: int) -> None:
    """2^13 terms of one sign at their largest, in the first of two blocks of elements."""
    size, chunks = 32, 257
    elements = np.full((chunks, size), modulus - 1, np.int64)
    weights = np.full((1, chunks * size), LARGEST_WEIGHT)
    arguments = elements, weights, np.full((1, 1), LARGEST_WEIGHT), modulus
    assert ENGINE.adjoint_combinations(*arguments).tolist() == TWIN.adjoint_combinations(*arguments).tolist()


@pytest.mark.parametrize("modulus", [2**26 - 5, 2**32 - 1, 0x3FFFFFFFFFFF0001])
@pytest.mark.parametrize(("columns", "rows"), [(64, 20), (1, 520), (512, 2), (1024, 1)])
def test_many_coefficients_in_several_tiles_and_chunks(modulus: int, columns: int, rows: int) -> None:
    """Rows of one cell: more sums than are formed at once, and rows at the end that there are no weights for."""
    randomness = np.random.default_rng(2)
    size, chunks = 512, -(-columns * rows // 512)
    elements = randomness.integers(0, modulus, (chunks, size))
    arguments = elements, randomness.integers(0, 2**52, (2, rows)), randomness.integers(0, 2**52, (2, columns)), modulus
    assert ENGINE.adjoint_combinations(*arguments).tolist() == TWIN.adjoint_combinations(*arguments).tolist()


@pytest.mark.parametrize("modulus", MODULI)
def test_reductions_at_the_edges(modulus: int) -> None:
    """One product each, so that a sum is whatever 128-bit number is wanted up to 2^114."""
    values = [0, 1, modulus - 1, modulus // 2]
    for residue in values:
        for weight in (0, 1, LARGEST_WEIGHT, min(LARGEST_WEIGHT, modulus)):
            elements = np.array([[residue, 0, 0, 0]], np.int64)
            columns = np.array([[weight, 0, 0, 0]], np.int64)
            found = ENGINE.adjoint_combinations(elements, np.ones((1, 1), np.int64), columns, modulus)
            assert found.tolist() == [[residue * weight % modulus, 0, 0, 0]]
    assert residues.reducer(modulus).tolist()[:2] == [modulus, 2**64 // modulus]


@pytest.mark.parametrize("modulus", NARROW)
@pytest.mark.parametrize("largest", [0, 1, 2**19 - 1, 2**19, 2**25 - 1, 2**31 - 1, 2**32 - 1, 2**32, LARGEST_WEIGHT])
def test_limbs_of_weights(modulus: int, largest: int) -> None:
    """They spell the weights, and 2^13 products with them fit 64 bits."""
    weights = np.array([[largest, 0], [largest // 3, largest & 1]])
    limbs, bits = narrow.cut(weights, modulus)
    assert sum(limbs[:, i].astype(object) << bits * i for i in range(limbs.shape[1])).tolist() == weights.tolist()
    assert bits <= 32
    assert ((1 << bits) - 1) * (modulus - 1) << narrow.TERMS_BITS < 2**64
    assert limbs.shape[1] == max(1, -(-largest.bit_length() // bits))


ONES = np.ones((1, 4), np.int64)


@pytest.mark.parametrize(
    ("elements", "rows", "columns", "modulus"),
    [
        (ONES, ONES[:, :1], ONES, 4),
        (ONES, ONES[:, :1], ONES, 1),
        (ONES, ONES[:, :1], ONES, 2**62 + 1),
        (ONES * 5, ONES[:, :1], ONES, 5),
        (-ONES, ONES[:, :1], ONES, 5),
        (ONES, -ONES[:, :1], ONES, 5),
        (ONES, ONES[:, :1], ONES * 2**52, 5),
        (ONES, np.ones((2, 1), np.int64), ONES, 5),
        (ONES, ONES[0, :1], ONES, 5),
        (ONES.astype(np.uint64), ONES[:, :1], ONES, 5),
        (ONES, ONES[:, :0], ONES, 5),
    ],
)
def test_arguments_are_checked(elements: np.ndarray, rows: np.ndarray, columns: np.ndarray, modulus: int) -> None:
    for call in (ENGINE.residue_combinations, ENGINE.adjoint_combinations):
        with pytest.raises(Misuse):
            call(elements, rows, columns, modulus)


def test_shapes_are_checked() -> None:
    with pytest.raises(Misuse):
        ENGINE.residue_combinations(ONES, ONES[:, :2], ONES, 5)
    with pytest.raises(Misuse):
        ENGINE.residue_combinations(ONES, ONES[:, :1], ONES[:, :2], 5)
    for elements, rows, columns in [
        (ONES, ONES[:, :2], ONES),  # two elements wanted
        (np.ones((2, 4), np.int64), ONES[:, :1], ONES),  # one wanted
        (np.ones((1, 6), np.int64), ONES[:, :1], ONES),
        (np.ones((1, 2), np.int64), ONES[:, :1], ONES[:, :2]),
        (ONES, ONES[:, :1], ONES[:, :3]),
    ]:
        with pytest.raises(Misuse):
            ENGINE.adjoint_combinations(elements, rows, columns, 5)
