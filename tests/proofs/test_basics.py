"""Generators, shapes, parameters, randomness, squares: what the argument stands on."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from py_ecc.secp256k1 import secp256k1

from proofs.curve import FIELD, ORDER
from proofs.engines import get_engine
from proofs.errors import Misuse
from proofs.generators import blinding_generator, generator
from proofs.parameters import ArgumentParameters
from proofs.randomness import symmetric, uniform_below
from proofs.shape import TableShape
from proofs.squares import four_squares, norm_squared
from tests.proofs.arguments import WeakParameters
from tests.seeded import seeded


def test_curve_constants() -> None:
    assert (FIELD, ORDER) == (secp256k1.P, secp256k1.N)


def test_generators() -> None:
    points = [generator(i) for i in range(50)] + [blinding_generator()]
    assert len(set(points)) == 51
    for x, y in points:
        assert (y * y - x**3 - 7) % FIELD == 0
        assert y % 2 == 0
    assert generator(0)[0] == 0x4986F535F2731DAE9F310F7633C7F93768572EE590ADD1871D256BD91F3F918E
    assert blinding_generator()[0] == 0x6BF345C3F0F0761118C45E5BE8D729EC37ED60CFC7BA644679A4D5EA5D662BCB


def test_generator_index_is_checked() -> None:
    for index in (-1, 2**63):
        with pytest.raises(Misuse, match="index"):
            generator(index)


@given(st.integers(1, 2**32))
@example(1)
@example(256)
@example(257)
@example(2**20)
@example(2**32)
def test_shape(dimension: int) -> None:
    shape = TableShape(dimension)
    assert shape.columns == 1 << shape.column_variables == max(16, 2 ** math.ceil(math.log2(dimension) / 2))
    assert (shape.data_rows - 1) * shape.columns < dimension <= shape.data_rows * shape.columns
    assert shape.rows == shape.data_rows + 1
    assert shape.cells == shape.rows * shape.columns
    assert 1 <= shape.filled_columns <= shape.columns
    assert (shape.data_rows - 1) * shape.columns + shape.filled_columns == dimension


@pytest.mark.parametrize("dimension", [0, -1, 2**32 + 1])
def test_shape_range(dimension: int) -> None:
    with pytest.raises(Misuse, match="dimension"):
        TableShape(dimension)


def test_parameter_edges() -> None:
    for accepted in ((1, 1, 360), (2**32, 2**40, 4096), (1, 2**40, 4096)):
        ArgumentParameters(*accepted)
    for name, refused in {
        "norm bound": (5, 0, 360),
        "norm bound: ": (5, 2**40 + 1, 360),
        "projections": (5, 5, 359),
        "projections: ": (5, 5, 4097),
        "dimension": (0, 5, 360),
    }.items():
        with pytest.raises(Misuse, match=name.strip(": ")):
            ArgumentParameters(*refused)


def test_soundness_floor() -> None:
    """360 is the least k with (3/4)^k <= 2^-149: 128 bits after a union over 2^21 proofs."""
    k = ArgumentParameters.minimum_projections
    assert 3**k << 149 <= 4**k
    assert 3 ** (k - 1) << 149 > 4 ** (k - 1)


@given(st.integers(1, 2**32), st.integers(1, 2**40), st.integers(1, 4096))
def test_bounds(dimension: int, norm_bound: int, projections: int) -> None:
    parameters = WeakParameters(dimension, norm_bound, projections)
    # |s^T V t| <= P: Cauchy-Schwarz over R C cells
    assert parameters.projection_bound**2 > norm_bound**2 * parameters.shape.cells
    assert parameters.squares_bound == norm_bound**2
    assert parameters.mask_bound == 2**20 * projections * parameters.projection_bound
    assert parameters.response_bound == parameters.mask_bound - parameters.projection_bound
    # restart probability: k masks, each out of range with probability 2 P / (2 M + 1)
    assert projections * 2 * parameters.projection_bound * 2**20 < 2 * parameters.mask_bound + 1
    half = 1 << 8 * parameters.response_width - 1
    assert parameters.response_bound < half
    assert parameters.response_bound >= half >> 8
    assert 4 * parameters.response_bound < ORDER // 2


@given(st.integers(1, 2**300), st.binary())
def test_uniform_below(bound: int, seed: bytes) -> None:
    assert 0 <= uniform_below(seeded(seed), bound) < bound
    assert -bound <= symmetric(seeded(seed), bound) <= bound


def test_uniform_is_by_rejection() -> None:
    draws = iter([b"\xff", b"\x05", b"\x04"])  # of three bits: 7, 5, 4
    assert uniform_below(lambda size: next(draws), 5) == 4
    assert uniform_below(lambda size: b"", 1) == 0
    for bound in (0, -3):
        with pytest.raises(Misuse, match="bound"):
            uniform_below(seeded(0), bound)


@settings(deadline=None)
@given(st.one_of(st.integers(0, 2000), st.integers(0, 2**80)), st.integers(0, 2**32))
@example(0, 0)
@example(2**80, 0)
@example(2**79, 0)
@example(4**35 * 7, 0)
@example(4**39 * 15, 0)
def test_four_squares(n: int, seed: int) -> None:
    squares = four_squares(n, seeded(seed))
    assert sum(x * x for x in squares) == n
    assert min(squares) >= 0


def test_four_squares_of_a_negative_number() -> None:
    with pytest.raises(Misuse, match="n >= 0"):
        four_squares(-1, seeded(0))


@given(st.lists(st.integers(-(2**40), 2**40), max_size=20))
def test_norm_is_exact(values: list[int]) -> None:
    assert norm_squared(np.array(values, dtype=np.int64), 2**40) == sum(x * x for x in values)


def test_norm_does_not_overflow() -> None:
    values = np.full(2**21 + 5, -(2**40), dtype=np.int64)
    assert norm_squared(values, 2**40) == len(values) * 2**80


def test_engine_names() -> None:
    assert get_engine("reference") is get_engine("reference")
    with pytest.raises(Misuse, match="native, reference"):
        get_engine("fast")
