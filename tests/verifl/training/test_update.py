"""From trained tensors to units: clipped, rounded, never over the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols.fixed_point import dequantize, exact_norm_squared
from protocols.policy import TensorSpec, UpdateRule
from verifl.training.tensors import TensorLayout
from verifl.training.update import clip_norm, encode_update

RULE = UpdateRule(norm_bound=1 << 16, fraction_bits=16, coordinate_bound=None, groups=())


def layout(dimension: int) -> TensorLayout:
    return TensorLayout((TensorSpec("weight", (dimension,), "float64", False),))


@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(1, 300), exponent=st.integers(-8, 300))
def test_no_update_exceeds_the_bound(seed: int, dimension: int, exponent: int) -> None:
    generator = np.random.default_rng(seed)
    before = generator.normal(size=dimension)
    after = before + generator.normal(size=dimension) * 10.0**exponent
    update = encode_update(before, after, layout(dimension), RULE, "client")
    assert exact_norm_squared(update.units) <= RULE.norm_bound**2
    assert update.clipped == (update.norm > 1.0)


def test_a_short_update_is_only_rounded() -> None:
    before, after = np.zeros(3), np.array([0.25, -0.5, 0.1])
    update = encode_update(before, after, layout(3), RULE, "client")
    assert not update.clipped
    assert np.abs(dequantize(update.units, 16) - after).max() <= 2.0**-17
    assert update.norm == pytest.approx(float(np.linalg.norm(after)))


def test_a_long_update_keeps_its_direction() -> None:
    update = encode_update(np.zeros(2), np.array([30.0, 40.0]), layout(2), RULE, "client")
    assert update.clipped
    assert (update.norm, update.clip, update.used, update.kept) == (50.0, 1.0, 1.0, 0.02)
    assert dequantize(update.units, 16) == pytest.approx([0.6, 0.8], abs=1e-4)
    assert clip_norm(RULE) == 1.0


def test_no_training_is_the_zero_update() -> None:
    update = encode_update(np.ones(4), np.ones(4), layout(4), RULE, "client")
    assert not update.units.any()
    assert (update.norm, update.used, update.kept) == (0.0, 0.0, 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_the_clients_error(value: float) -> None:
    with pytest.raises(Misuse, match=r"client hospital-2: tensor 'weight' holds 1 NaN or infinite values"):
        encode_update(np.zeros(3), np.array([0.0, value, 0.0]), layout(3), RULE, "client hospital-2")
