"""Quantisation: the exact integer norm never exceeds the bound, whatever the update."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from proofs.errors import Misuse
from protocols.fixed_point import dequantize, exact_norm_squared, norm_bound, quantize

LENGTHS = hnp.array_shapes(min_dims=1, max_dims=1, min_side=1, max_side=60)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def exact(units: np.ndarray) -> int:
    return sum(int(value) ** 2 for value in units)


@given(hnp.arrays(np.int64, LENGTHS))
def test_exact_norm_of_any_int64(units: np.ndarray) -> None:
    assert exact_norm_squared(units) == exact(units)


def test_exact_norm_beyond_one_block() -> None:
    units = np.full(2**18 + 5, -(2**63), dtype=np.int64)
    assert exact_norm_squared(units) == len(units) << 126


@settings(max_examples=300)
@given(
    delta=hnp.arrays(np.float64, LENGTHS, elements=FINITE | st.sampled_from([0.0, 5e-324, 1e308, 0.5, -0.5])),
    clip=st.floats(min_value=1e-3, max_value=1e3),
    bits=st.integers(0, 30),
)
def test_norm_never_exceeds_the_bound(delta: np.ndarray, clip: float, bits: int) -> None:
    bound = norm_bound(clip, bits)
    assume(1 <= bound <= 2**40)
    units = quantize(delta, clip, bits, bound)
    assert units.dtype == np.int64
    assert exact(units) <= bound * bound
    assert all(unit == 0 or (unit > 0) == (value > 0) for unit, value in zip(units, delta, strict=True))


@settings(max_examples=100)
@given(
    length=st.integers(1, 400),
    exponent=st.integers(-20, 20),
    bits=st.integers(0, 16),
    seed=st.integers(0, 2**32 - 1),
)
def test_update_on_the_sphere_stays_close(length: int, exponent: int, bits: int, seed: int) -> None:
    """The hard case: clipped exactly to the ball, so that half of all roundings end outside."""
    delta = np.random.default_rng(seed).normal(size=length) * 2.0**exponent
    clip = float(np.linalg.norm(delta))
    bound = norm_bound(clip, bits)
    assume(1 <= bound <= 2**40)
    units = quantize(delta, clip, bits, bound)
    assert exact(units) <= bound * bound
    assert np.abs(dequantize(units, bits) - delta).max() <= 2.0 * 2.0**-bits


def test_half_units_are_taken_back_only_as_far_as_needed() -> None:
    units = quantize(np.full(16, 0.75), 3.0, 0, 3)
    assert exact(units) == 9


def test_short_updates_are_rounded_to_nearest() -> None:
    delta = np.array([0.5, -0.25, 0.1249, 1e-9, 0.0])
    assert quantize(delta, 1.0, 3, 8).tolist() == [4, -2, 1, 0, 0]


def test_norm_exactly_at_the_bound_is_kept() -> None:
    assert quantize(np.array([3.0, 4.0]), 5.0, 4, 80).tolist() == [48, 64]


def test_zero_and_empty_updates() -> None:
    assert quantize(np.zeros(4), 1.0, 10, 1024).tolist() == [0] * 4
    assert quantize(np.zeros(0), 1.0, 10, 1024).tolist() == []


def test_rounding_that_exceeds_the_clip() -> None:
    """Attack surface by accident: rounding to nearest alone would make this vector 2 units long with B = 1."""
    units = quantize(np.full(4, 0.5000001), 1.5, 0, 1)
    assert exact(units) <= 1


def test_huge_values_do_not_overflow() -> None:
    units = quantize(np.array([1e308, -1e308, 1e308, 1e308]), 1.0, 40, 2**40)
    assert units.tolist() == [2**39, -(2**39), 2**39, 2**39]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_named(value: float) -> None:
    with pytest.raises(Misuse, match=r"update\[2\]"):
        quantize(np.array([0.0, 1.0, value, value]), 1.0, 8, 256)


@pytest.mark.parametrize(
    ("clip", "bits", "bound"),
    [
        (0.0, 8, 1),
        (-1.0, 8, 1),
        (math.nan, 8, 1),
        (math.inf, 8, 1),
        (1.0, -1, 1),
        (1.0, 129, 1),
        (1.0, 8, 0),
        (1.0, 8, 2**40 + 1),
    ],
)
def test_scales_out_of_range_are_misuse(clip: float, bits: int, bound: int) -> None:
    with pytest.raises(Misuse):
        quantize(np.zeros(2), clip, bits, bound)


def test_norm_bound_is_exact() -> None:
    assert norm_bound(0.1, 20) == 104857
    assert norm_bound(1.0, 40) == 2**40
    assert norm_bound(1e308, 128) == int(1e308) << 128


@given(hnp.arrays(np.int64, LENGTHS, elements=st.integers(-(2**40), 2**40)), st.integers(0, 40))
def test_dequantize(units: np.ndarray, bits: int) -> None:
    assert dequantize(units, bits).tolist() == [int(unit) / 2**bits for unit in units]
