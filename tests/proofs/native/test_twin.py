"""The native engine and the reference engine, which share no arithmetic, on the same inputs."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.engine import Block
from proofs.errors import Malformed
from proofs.native.engine import NativeEngine
from proofs.reference import ReferenceEngine

NATIVE, REFERENCE = NativeEngine(), ReferenceEngine()


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 5), st.sampled_from([1, 4, 8]), st.integers(1, 4), st.sampled_from([1, 16, 40]), st.integers(0))
def test_the_engines_agree(rows: int, columns: int, count: int, bits: int, seed: int) -> None:
    randomness, numbers = np.random.default_rng(seed % 2**32), random.Random(seed)

    def scalars(length: int) -> list[int]:
        return [numbers.choice([0, 1, ORDER - 1, numbers.randrange(ORDER)]) for _ in range(length)]

    def signs(length: int) -> np.ndarray:
        return randomness.integers(-1, 2, (count, length)).astype(np.int8)

    table = randomness.integers(-(2**bits), 2**bits, (rows, columns), endpoint=True)
    blindings = [numbers.randrange(1, ORDER) for _ in range(rows)]
    by_row, by_column, weights = scalars(rows), scalars(columns), scalars(count)
    row_signs, column_signs = signs(rows), signs(columns)
    point = scalars((rows - 1).bit_length())
    results: list[tuple[object, ...]] = []
    sumchecks = []
    for engine in (NATIVE, REFERENCE):
        commitments = engine.commit_rows(table, blindings)
        points = engine.decode_points(commitments)
        columns_sum = [-value % ORDER for value in engine.weighted_columns(table, by_row)]
        blinding = -sum(w * b for w, b in zip(by_row, blindings, strict=True)) % ORDER
        assert engine.combination_is_zero(points, by_row, columns_sum, blinding)
        assert not engine.combination_is_zero(points, by_row, columns_sum, (blinding + 1) % ORDER)
        results.append((
            commitments,
            engine.point_count(engine.concatenate([points, points])),
            engine.commit(by_column, blindings[0]),
            engine.weighted_rows(table, by_column),
            engine.ternary_products(column_signs, by_column),
            engine.ternary_combination(row_signs, weights),
        ))  # fmt: skip
        blocks = [Block(table, row_signs, True, 0), Block(table[:1], row_signs[:, :1], False, None)]
        projection = engine.project(blocks, column_signs)
        results[-1] += (projection.values(),)
        sumchecks.append(projection.row_sumcheck(weights, [by_column], point, {1: by_column}))
    assert results[0] == results[1]
    for _ in range((rows - 1).bit_length()):
        assert sumchecks[0].sums() == sumchecks[1].sums()
        challenge = numbers.randrange(ORDER)
        for sumcheck in sumchecks:
            sumcheck.bind(challenge)
    assert sumchecks[0].rows() == sumchecks[1].rows()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 2, 3, 4]), st.integers(0, 12)), max_size=3), st.integers(0, 2))
def test_the_engines_accept_the_same_points(parts: list[tuple[int, int]], extra: int) -> None:
    encoded = b"".join(bytes([prefix]) + x.to_bytes(32, "big") for prefix, x in parts) + bytes(extra)

    def verdict(engine: NativeEngine | ReferenceEngine) -> str | int:
        """Their words enter signed entries and reports: one name, and the same words, for both."""
        try:
            return engine.point_count(engine.decode_points(encoded))
        except Malformed as error:
            return f"{error.where}, {error}"

    found = verdict(NATIVE)
    assert found == verdict(REFERENCE)
    assert isinstance(found, int) or found.startswith("point-encoding, ")


@pytest.mark.parametrize("index", [0, 3])
def test_both_engines_name_a_bad_point_by_its_index(index: int) -> None:
    good = NATIVE.commit([1], 1)
    for engine in (NATIVE, REFERENCE):
        with pytest.raises(Malformed) as excinfo:
            engine.decode_points(good * index + b"\x07" + good[1:] + good)
        assert str(index) in str(excinfo.value)
