"""Completeness: whatever is within the bound is proved and accepted, at every shape and edge."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse
from proofs.parameters import ArgumentParameters
from proofs.prover import prove
from proofs.verifier import verify
from proofs.witness import commit_tables, commit_update
from tests.proofs.arguments import (
    CONTEXT,
    WeakParameters,
    altered,
    bytes_of,
    honest,
    judge,
    native,
    random_update,
    reference,
)
from tests.seeded import seeded

AROUND_POWERS_OF_TWO = [
    15,
    16,
    17,
    31,
    32,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    255,
    256,
    257,
    511,
    512,
    513,
    1023,
    1024,
    1025,
]
BOUNDS = st.one_of(st.integers(1, 300), st.integers(1, 2**40), st.sampled_from([1, 2**40 - 1, 2**40]))


@settings(max_examples=25, deadline=None)
@given(
    dimension=st.one_of(st.integers(1, 200), st.sampled_from(AROUND_POWERS_OF_TWO)),
    norm_bound=BOUNDS,
    seed=st.integers(0, 2**32 - 1),
)
def test_complete(dimension: int, norm_bound: int, seed: int) -> None:
    parameters = ArgumentParameters(dimension, norm_bound)
    made = honest(native(), parameters, random_update(dimension, norm_bound, seed), seed=seed)
    assert len(made.claim.commitments) == parameters.commitments_size("commitments")
    assert len(made.claim.proof) == parameters.proof_size
    verify(native(), parameters, made.claim)


@settings(max_examples=6, deadline=None)
@given(dimension=st.integers(1, 60), norm_bound=BOUNDS, seed=st.integers(0, 2**32 - 1))
def test_complete_on_the_reference_engine(dimension: int, norm_bound: int, seed: int) -> None:
    parameters = WeakParameters(dimension, norm_bound, 5)
    made = honest(reference(), parameters, random_update(dimension, norm_bound, seed), seed=seed)
    verify(reference(), parameters, made.claim)


@settings(max_examples=8, deadline=None)
@given(
    dimension=st.integers(1, 80),
    norm_bound=BOUNDS,
    seed=st.integers(0, 2**32 - 1),
    cut=st.integers(0, 2**16),
    flip=st.integers(1, 255),
)
def test_engines_agree(dimension: int, norm_bound: int, seed: int, cut: int, flip: int) -> None:
    """Identical bytes from the same randomness, identical verdicts on a proof with one byte changed."""
    parameters = WeakParameters(dimension, norm_bound, 5)
    update = random_update(dimension, norm_bound, seed)
    made = honest(native(), parameters, update, seed=seed)
    assert bytes_of(made.claim) == bytes_of(honest(reference(), parameters, update, seed=seed).claim)
    broken = bytearray(made.claim.proof)
    broken[cut % len(broken)] ^= flip
    claim = altered(made.claim, proof=bytes(broken))
    verdict = judge(native(), parameters, claim)
    assert verdict != "accepted"
    assert verdict == judge(reference(), parameters, claim)


@pytest.mark.parametrize("dimension", [1, 16, 17, 100, 256, 257])
@pytest.mark.parametrize("norm_bound", [1, 2, 1000, 2**40])
def test_zero_update(dimension: int, norm_bound: int) -> None:
    parameters = ArgumentParameters(dimension, norm_bound)
    verify(native(), parameters, honest(native(), parameters, np.zeros(dimension, dtype=np.int64)).claim)


@pytest.mark.parametrize("values", [[5], [0, -5], [3, 4], [3, 0, -4], [1, 2, 2, 4], [5] + [0] * 300, [0] * 300 + [-5]])
def test_norm_exactly_at_the_bound(values: list[int]) -> None:
    norm_bound = math.isqrt(sum(x * x for x in values))
    parameters = ArgumentParameters(len(values), norm_bound)
    made = honest(native(), parameters, np.array(values, dtype=np.int64))
    assert not made.committed.tables[1].any()
    verify(native(), parameters, made.claim)


def test_extreme_coordinates() -> None:
    for extreme in (2**40, -(2**40)):
        parameters = ArgumentParameters(3, 2**40)
        verify(native(), parameters, honest(native(), parameters, np.array([0, extreme, 0], dtype=np.int64)).claim)


@pytest.mark.parametrize("values", [[6], [-6], [3, 4, 1], [5, -1], [2**62], [-(2**63)]])
def test_over_the_bound_is_refused_at_commitment(values: list[int]) -> None:
    parameters = ArgumentParameters(len(values), 5)
    with pytest.raises(Misuse, match="B"):
        commit_update(native(), parameters, np.array(values, dtype=np.int64), os.urandom)


def test_wrong_shape_or_dtype_is_refused() -> None:
    parameters = ArgumentParameters(3, 5)
    for update in (np.zeros(4, dtype=np.int64), np.zeros((3, 1), dtype=np.int64), np.zeros(3, dtype=np.float64)):
        with pytest.raises(Misuse, match="expected int64"):
            commit_update(native(), parameters, update, os.urandom)


def test_table_of_another_shape_is_refused() -> None:
    committed = commit_update(native(), ArgumentParameters(3, 5), np.zeros(3, dtype=np.int64), os.urandom)
    with pytest.raises(Misuse, match="expected tables"):
        prove(native(), ArgumentParameters(300, 5), committed, CONTEXT, os.urandom)


def test_prover_gives_up_far_beyond_the_bound() -> None:
    """Only a table that was never within the bound makes the projections leave their range every time."""
    parameters = ArgumentParameters(16, 1)
    table = np.full((1, 16), 2**40, dtype=np.int64)
    committed = commit_tables(native(), parameters, [table, table], seeded(1))
    with pytest.raises(Misuse, match="far beyond"):
        prove(native(), parameters, committed, CONTEXT, seeded(0))


@pytest.mark.parametrize("context", [b"", b"\x00", bytes(100_000)])
def test_any_context(context: bytes) -> None:
    parameters = ArgumentParameters(20, 50)
    verify(native(), parameters, honest(native(), parameters, context=context).claim)


def test_proof_is_determined_by_the_randomness() -> None:
    parameters = ArgumentParameters(20, 50)
    first, again, other = (honest(native(), parameters, seed=seed).claim for seed in (1, 1, 2))
    assert first == again
    assert first.proof != other.proof
    assert first.commitments != other.commitments
