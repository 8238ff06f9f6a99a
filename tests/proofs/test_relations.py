"""The linear form and the padding form of spec 5.7, against their definitions, coefficient by coefficient."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.parameters import ArgumentParameters
from proofs.polynomials import eq_table
from proofs.randomness import uniform_scalars
from proofs.relations import LinearForm, linear_form, pad_at, padding_at, padding_columns
from proofs.transcript import RelationWeights
from tests.proofs.arguments import WeakParameters
from tests.seeded import seeded

SHAPES = [WeakParameters(d, 50, 3) for d in (1, 15, 16, 17, 31, 32, 33, 256, 257, 1000)]


def drawn(parameters: ArgumentParameters, seed: int) -> tuple[RelationWeights, list[int], tuple[int, int]]:
    rand, shape = seeded(seed), parameters.shape
    scalars = uniform_scalars(rand, 3 + parameters.projections)
    tau, point = uniform_scalars(rand, shape.column_variables), uniform_scalars(rand, shape.variables)
    return RelationWeights(scalars[3:], scalars[0], tau), point, (scalars[1], scalars[2])


@pytest.mark.parametrize("parameters", SHAPES, ids=str)
def test_linear_form(parameters: ArgumentParameters) -> None:
    """The table of spec 5.7."""
    weights, point, (second, third) = drawn(parameters, 1)
    variables = parameters.shape.variables
    columns = point[parameters.shape.row_variables :]
    mask = [
        (2 ** (variables - 1) + second * r**m) % ORDER
        for r, degree in zip(point, [4] + [2] * (variables - 1), strict=True)
        for m in range(1, degree + 1)
    ]
    form = linear_form(parameters, weights, point, (second, third))
    assert form.table == [third * value % ORDER for value in eq_table(columns)]
    assert form.auxiliary == [
        *(-rho % ORDER for rho in weights.projections),
        third * point[0] * (1 - point[0]) % ORDER,
        (2**variables + second) % ORDER,
        *mask,
    ]
    assert len(form.auxiliary) == parameters.auxiliary_length


def test_linear_form_at_a_pair() -> None:
    form = LinearForm([ORDER - 1, 2], [3])
    assert form.at([1, 5], [7]) == 30
    assert form.at([ORDER - 1, 0], [ORDER - 1]) == ORDER - 2
    assert form.at([1, 0], [0]) == ORDER - 1
    for table, auxiliary in (([1], [2]), ([1, 2], []), ([1, 2], [3, 4])):
        with pytest.raises(ValueError, match="zip"):
            form.at(table, auxiliary)


def test_linear_form_needs_a_whole_point() -> None:
    weights, point, opening = drawn(SHAPES[0], 2)
    for other in (point[:-1], [*point, 1]):
        with pytest.raises(ValueError, match="zip"):
            linear_form(SHAPES[0], weights, other, opening)


@pytest.mark.parametrize("parameters", SHAPES, ids=str)
def test_padding_columns(parameters: ArgumentParameters) -> None:
    weights, _, _ = drawn(parameters, 3)
    filled = parameters.shape.filled_columns
    expected = [weights.padding * value % ORDER for value in eq_table(weights.padding_point)]
    assert padding_columns(parameters, weights) == [0] * filled + expected[filled:]


@settings(max_examples=20, deadline=None)
@given(dimension=st.integers(1, 600), seed=st.integers(0, 2**32 - 1))
def test_padding_at_is_the_extension_of_padding_columns(dimension: int, seed: int) -> None:
    parameters = WeakParameters(dimension, 50, 1)
    shape = parameters.shape
    weights, point, _ = drawn(parameters, seed)
    rows, columns = eq_table(point[: shape.row_variables]), eq_table(point[shape.row_variables :])
    entries = padding_columns(parameters, weights)
    expected = sum(x * y for x, y in zip(entries, columns, strict=True)) * rows[shape.data_rows - 1] % ORDER
    assert padding_at(parameters, weights, point) == expected


@given(st.integers(0, ORDER - 1))
def test_pad(x: int) -> None:
    assert pad_at(x) == (x - x * x) % ORDER
    assert pad_at(0) == pad_at(1) == 0
