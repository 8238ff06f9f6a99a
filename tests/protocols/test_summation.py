"""Sums modulo q against Python's integers, at the edges of int64."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols.lattice.parameters import MODULI
from protocols.summation import RunningSum, add_residues, group_size


@given(st.data())
def test_sum_equals_the_integers(data: st.DataObject) -> None:
    modulus = data.draw(st.sampled_from([*MODULI, 2, 3, 2**31, 2**62 - 1]))
    residue = st.integers(0, modulus - 1) | st.just(modulus - 1)
    rows = data.draw(st.lists(st.lists(residue, min_size=3, max_size=3), min_size=1, max_size=12))
    arrays = [np.array(row, dtype=np.int64) for row in rows]
    total = add_residues(iter(arrays), modulus)
    assert total.tolist() == [sum(column) % modulus for column in zip(*rows, strict=True)]
    assert [array.tolist() for array in arrays] == rows


@pytest.mark.parametrize("modulus", [*MODULI, 2, 3, 2**61, 2**61 + 1, 2**62 - 1])
def test_groups_fill_an_int64_and_no_more(modulus: int) -> None:
    group = group_size(modulus)
    assert group >= 2
    assert group * modulus <= 2**63 < (group + 1) * modulus


@given(st.data())
def test_sums_stay_within_an_int64_whatever_the_residues(data: st.DataObject) -> None:
    """Moduli so large that a few residues fill a word: sums are reduced again and again, on both sides of h q."""
    modulus = data.draw(st.integers(2**58, 2**62 - 1))
    edge = st.sampled_from([0, 1, modulus // 2, modulus - 2, modulus - 1])
    rows = data.draw(st.lists(st.lists(edge, min_size=4, max_size=4), min_size=1, max_size=80))
    total = add_residues((np.array(row, dtype=np.int64) for row in rows), modulus)
    assert total.tolist() == [sum(column) % modulus for column in zip(*rows, strict=True)]


@pytest.mark.parametrize("modulus", [MODULI[-1], MODULI[-2], 3 * 2**59, 2**62 - 1])
def test_a_sum_can_be_looked_at_and_continued(modulus: int) -> None:
    running = RunningSum(modulus)
    for count in range(1, 50):
        running.add(np.full(3, modulus - 1, dtype=np.int64))
        seen = running.total()
        assert seen.tolist() == [-count % modulus] * 3
        seen[:] = 0


def test_many_largest_residues() -> None:
    modulus = MODULI[-1]
    total = add_residues((np.full(4, modulus - 1, dtype=np.int64) for _ in range(1001)), modulus)
    assert total.tolist() == [(modulus - 1) * 1001 % modulus] * 4


@pytest.mark.parametrize(
    ("arrays", "modulus", "message"),
    [
        pytest.param([], 7, "at least one", id="none"),
        pytest.param([np.zeros(2, np.int64), np.zeros(1, np.int64)], 7, "shape", id="shapes"),
        pytest.param([np.zeros(2, np.int32)], 7, "int64", id="type"),
        pytest.param([np.array([7])], 7, "lie in", id="too large"),
        pytest.param([np.array([-1])], 7, "lie in", id="negative"),
        pytest.param([np.array([0]), np.array([3, 7])[1:]], 7, "lie in", id="too large, later"),
        pytest.param([np.array([0]), np.array([-(2**63)])], 2**62 - 1, "lie in", id="most negative, later"),
        pytest.param([np.array([0])], 2**62, "modulus", id="modulus"),
    ],
)
def test_what_is_not_a_sum_is_misuse(arrays: list[np.ndarray], modulus: int, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        add_residues(arrays, modulus)
