"""Expansion of the public ring elements."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols.lattice import public, reference
from protocols.lattice.parameters import MODULI, LatticeParameters
from protocols.lattice.transform import multiply


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(MODULI), st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
def test_ring_elements_equal_the_reference(modulus: int, seed: bytes, index: int) -> None:
    parameters = LatticeParameters(64, modulus, 16)
    assert public.ring_element(parameters, seed, index).tolist() == reference.ring_element(parameters, seed, index)


def test_a_vector_of_the_specification() -> None:
    parameters = LatticeParameters(4096, MODULI[0], 16)
    element = public.ring_element(parameters, bytes(range(32)), 1)
    assert element[:3].tolist() == [560813504466, 341406397088, 645618404287]
    assert int(element.astype(object).sum()) == 2224687012986133


def test_elements_differ_by_seed_and_index() -> None:
    parameters = LatticeParameters(16, MODULI[0], 16)
    drawn = [public.ring_element(parameters, bytes([s]) * 32, j).tobytes() for s in range(3) for j in range(3)]
    assert len(set(drawn)) == 9


def test_expansion_is_transformed_cached_and_read_only() -> None:
    parameters = LatticeParameters(16, MODULI[0], 16)
    elements = public.expand(parameters, bytes(32), 33)
    assert elements.transforms.shape == (3, 16)
    one = np.zeros(16, dtype=np.int64)
    one[0] = 1
    rows = [reference.ring_element(parameters, bytes(32), j) for j in range(3)]
    assert multiply(elements.transforms, one, MODULI[0]).tolist() == rows
    assert public.expand(parameters, bytes(32), 33) is elements
    with pytest.raises(ValueError, match="read-only"):
        elements.transforms[0, 0] = 1


@pytest.mark.parametrize(("seed", "cells"), [(bytes(31), 4), (bytes(32), 0)])
def test_arguments_out_of_range_are_misuse(seed: bytes, cells: int) -> None:
    with pytest.raises(Misuse):
        public.expand(LatticeParameters(16, MODULI[0], 16), seed, cells)
