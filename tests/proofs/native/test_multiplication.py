from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.engine import KnownRows
from proofs.errors import Misuse
from proofs.generators import blinding_generator, generator
from proofs.machine.workers import set_workers
from proofs.native.engine import NativeEngine
from proofs.native.multiplication import digit_count
from proofs.reference import ReferenceEngine
from tests.proofs.native.group_oracle import IDENTITY, combination, commitment, compressed, times, total

ENGINE = NativeEngine()
EDGES = [0, 1, -1, 127, 128, 129, -127, -128, -129, 255, 256, -255, -256, 32767, 32768, -32768, -32769, 32895, 32896,
         -32896, 2**23, 2**24 - 1, -(2**31), 2**32, 2**39 + 1, 2**40, -(2**40), 2**40 - 1]  # fmt: skip
SPECIAL_SCALARS = [0, 1, 2, ORDER - 1, ORDER - 2, ORDER // 2, 2**255, 2**128, 2**64 - 1, 127, 128, 255, 256]

scalar = st.one_of(st.sampled_from(SPECIAL_SCALARS), st.integers(0, ORDER - 1))


def expected_rows(table: np.ndarray, blindings: list[int]) -> bytes:
    return b"".join(
        compressed(commitment(row, blinding)) for row, blinding in zip(table.tolist(), blindings, strict=True)
    )


@pytest.mark.parametrize("value", EDGES)
def test_window_edges(value: int) -> None:
    """Alone in its row, so that the row's number of windows is decided by it."""
    table = np.array([[value, 0], [0, value]], np.int64)
    assert ENGINE.commit_rows(table, [5, ORDER - 1]) == expected_rows(table, [5, ORDER - 1])


def test_rows_of_different_widths_together() -> None:
    table = np.zeros((len(EDGES), 4), np.int64)
    table[:, 1], table[:, 3] = EDGES, EDGES[::-1]
    blindings = [random.Random(3).randrange(1, ORDER) for _ in EDGES]
    assert ENGINE.commit_rows(table, blindings) == expected_rows(table, blindings)


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 5), st.sampled_from([1, 2, 3, 8, 16]), st.integers(0, 40), st.integers(0, 2**32))
def test_random_tables(rows: int, columns: int, bits: int, seed: int) -> None:
    randomness = np.random.default_rng(seed)
    table = randomness.integers(-(2**bits), 2**bits, (rows, columns), endpoint=True)
    blindings = [random.Random(seed + row).randrange(ORDER) or 1 for row in range(rows)]
    assert ENGINE.commit_rows(table, blindings) == expected_rows(table, blindings)


@pytest.mark.parametrize("small", [1, 100, 3000])
def test_rows_from_known_ones(small: int) -> None:
    """The same bytes, wherever an engine starts: signed numbers of two digits with something of one or of two added."""
    randomness = np.random.default_rng(small)
    known = randomness.integers(300, 3000, (5, 16)) * randomness.choice([-1, 1], (5, 16))
    table = known * randomness.choice([-1, 1], (5, 16)) + randomness.integers(-small, small, (5, 16), endpoint=True)
    blindings, others = [7, 1, ORDER - 1, 2**200, 5], [7, ORDER - 1, 1, 3, 2**255]
    start = KnownRows(known, others, ENGINE.commit_rows(known, others))
    for engine in (ENGINE, ReferenceEngine()):
        assert engine.commit_rows(table, blindings, start) == expected_rows(table, blindings)
    assert small > 128 or digit_count(table - known) < digit_count(table)


def test_digits_are_counted_on_a_sample_of_rows() -> None:
    cells = [0, 0, 1, -128, 129, -32895, 32896, -(2**40)]
    assert digit_count(np.array([cells])) == 1 + 1 + 2 + 2 + 3 + 6
    table = np.tile(cells, (128, 1))
    assert digit_count(table) == 32 * 15
    table[::4] = 0
    assert digit_count(table) == 0


@pytest.mark.parametrize("value", EDGES)
def test_rows_from_known_ones_at_the_edges(value: int) -> None:
    """The same rows, with the same blindings or others; their negatives; and differences too large to commit to."""
    table = np.array([[value, 3, 2**40, 2**40]] * 3 + [[-value, -3, -(2**40), -(2**40)]] * 2)
    known = np.tile(table[:1], (5, 1))
    blindings, others = [4, 5, 6, 7, ORDER - 2], [4, 6, ORDER - 1, 7, 3]
    start = KnownRows(known, others, ENGINE.commit_rows(known, others))
    for rows in (slice(0, 3), slice(0, 5)):
        own = KnownRows(known[rows], others[rows], start.encoded[: 33 * len(table[rows])])
        assert ENGINE.commit_rows(table[rows], blindings[rows], own) == expected_rows(table[rows], blindings[rows])


def test_zeros_from_known_rows_have_no_encoding_either() -> None:
    start = KnownRows(np.full((1, 4), 300), [5], ENGINE.commit_rows(np.full((1, 4), 300), [5]))
    with pytest.raises(Misuse, match="identity"):
        ENGINE.commit_rows(np.zeros((1, 4), np.int64), [0], start)


def test_known_rows_of_another_shape() -> None:
    table = np.full((2, 4), 300)
    encoded = ENGINE.commit_rows(table, [1, 2])
    for known in (
        KnownRows(table[:1], [1], encoded[:33]),
        KnownRows(table[:, :2], [1, 2], encoded),
        KnownRows(table, [1, 2], encoded[:33]),
    ):
        with pytest.raises(Misuse, match="known rows"):
            ENGINE.commit_rows(table, [1, 2], known)


def test_rows_longer_than_a_block_of_columns() -> None:
    randomness = np.random.default_rng(4)
    table = randomness.integers(-300, 300, (2, 70))
    assert ENGINE.commit_rows(table, [1, 2]) == expected_rows(table, [1, 2])


def test_many_rows_fill_more_than_one_group_of_lanes() -> None:
    """The sum of all rows is the commitment to the sum: one comparison for 3000 rows."""
    randomness = np.random.default_rng(5)
    table = randomness.integers(-40000, 40000, (3000, 16))
    blindings = [random.Random(row).randrange(ORDER) for row in range(len(table))]
    points = ENGINE.decode_points(ENGINE.commit_rows(table, blindings))
    sums = [-value % ORDER for value in table.sum(axis=0).tolist()]
    assert ENGINE.combination_is_zero(points, [1] * len(table), sums, -sum(blindings) % ORDER)
    sums[7] = (sums[7] + 1) % ORDER
    assert not ENGINE.combination_is_zero(points, [1] * len(table), sums, -sum(blindings) % ORDER)


def test_zero_rows_are_their_blinding() -> None:
    table = np.zeros((3, 16), np.int64)
    table[1, 2] = 9
    assert ENGINE.commit_rows(table, [1, 2, ORDER - 1]) == expected_rows(table, [1, 2, ORDER - 1])


def test_no_rows() -> None:
    assert ENGINE.commit_rows(np.zeros((0, 16), np.int64), []) == b""


def test_a_row_that_commits_to_the_identity_is_misuse() -> None:
    with pytest.raises(Misuse):
        ENGINE.commit_rows(np.zeros((1, 2), np.int64), [0])


def test_equal_entries_double_the_same_generator() -> None:
    """Digits whose lanes meet at equal and at opposite points when windows are put together."""
    table = np.array([[257, 0], [-257, 0], [255, 0], [65535, 0], [-255, 0], [128 * 257, 0]], np.int64)
    assert ENGINE.commit_rows(table, [0] * 6) == expected_rows(table, [0] * 6)


@pytest.mark.parametrize(
    ("table", "blindings"),
    [
        (np.zeros((1, 2), np.int32), [1]),
        (np.zeros(2, np.int64), [1, 1]),
        (np.zeros((1, 0), np.int64), [1]),
        (np.array([[2**40 + 1, 0]]), [1]),
        (np.array([[-(2**40) - 1, 0]]), [1]),
        (np.array([[-(2**63), 0]]), [1]),
        (np.ones((1, 2), np.int64), [ORDER]),
        (np.ones((1, 2), np.int64), [-1]),
        (np.ones((2, 2), np.int64), [1]),
    ],
)
def test_tables_and_blindings_are_checked(table: np.ndarray, blindings: list[int]) -> None:
    with pytest.raises(Misuse):
        ENGINE.commit_rows(table, blindings)


@settings(max_examples=12, deadline=None)
@given(st.lists(scalar, max_size=6), scalar)
def test_commit(scalars: list[int], blinding: int) -> None:
    point = commitment(scalars, blinding)
    if point == IDENTITY:
        with pytest.raises(Misuse):
            ENGINE.commit(scalars, blinding)
    else:
        assert ENGINE.commit(scalars, blinding) == compressed(point)


@pytest.mark.parametrize(("scalars", "blinding"), [([ORDER], 0), ([-1], 0), ([1], ORDER), ([1, 2**300], 1)])
def test_scalars_are_checked(scalars: list[int], blinding: int) -> None:
    with pytest.raises(Misuse):
        ENGINE.commit(scalars, blinding)


def is_zero(points: list[tuple[int, int]], scalars: list[int], generators: list[int], blinding: int) -> bool:
    decoded = ENGINE.decode_points(b"".join(compressed(point) for point in points))
    return ENGINE.combination_is_zero(decoded, scalars, generators, blinding)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), scalar), min_size=1, max_size=8), st.lists(scalar, max_size=3), scalar)
def test_combinations(terms: list[tuple[int, int]], generators: list[int], blinding: int) -> None:
    """Points are small multiples of two generators and their negatives: equal and opposite ones abound."""
    bases = [generator(0), times(ORDER - 1, generator(0)), times(2, generator(0)), generator(1)]
    points, scalars = [bases[index - 1] for index, _ in terms], [weight for _, weight in terms]
    missing = total([combination(points, scalars), commitment(generators, blinding)])
    assert is_zero(points, scalars, generators, blinding) is (missing == IDENTITY)
    if missing != IDENTITY:
        assert is_zero([*points, missing], [*scalars, ORDER - 1], generators, blinding)


@pytest.mark.parametrize("weight", [0, 1, 2, ORDER - 1, 2**255, ORDER // 3])
@pytest.mark.parametrize("count", [1, 2, 3, 64, 700])
def test_one_point_repeated(weight: int, count: int) -> None:
    """All points fall into the same bucket in every window."""
    point = generator(5)
    remainder = times(weight * count, point)
    assert is_zero([point] * count, [weight] * count, [], 0) is (remainder == IDENTITY)
    if remainder != IDENTITY:
        assert is_zero([point] * count + [remainder], [weight] * count + [ORDER - 1], [], 0)


def test_points_that_cancel_within_a_bucket() -> None:
    point, opposite = generator(5), times(ORDER - 1, generator(5))
    assert is_zero([point, opposite] * 50, [12345] * 100, [], 0)
    assert is_zero([point, opposite, point], [3, 3, 0], [], 0)
    assert not is_zero([point, opposite, point], [3, 3, 1], [], 0)
    assert is_zero([point, point], [7, ORDER - 7], [], 0)


def test_generators_and_blinding_enter() -> None:
    points = [generator(3), blinding_generator()]
    assert is_zero(points, [8, 9], [0, 0, 0, ORDER - 8], ORDER - 9)
    assert not is_zero(points, [8, 9], [0, 0, 0, ORDER - 8], ORDER - 10)
    assert not is_zero(points, [8, 9], [0, 0, ORDER - 8, 0], ORDER - 9)
    assert is_zero([], [], [], 0)
    assert not is_zero([], [], [], 1)


def test_many_random_points() -> None:
    randomness = random.Random(6)
    multiples = [randomness.randrange(1, 2**128) for _ in range(1500)]
    table = np.array([[value % 2**16] for value in multiples], np.int64)
    blindings = [randomness.randrange(ORDER) for _ in multiples]
    points = ENGINE.decode_points(ENGINE.commit_rows(table, blindings))
    weights = [randomness.randrange(ORDER) for _ in multiples]
    first = -sum(w * int(row[0]) for w, row in zip(weights, table, strict=True)) % ORDER
    blinding = -sum(w * b for w, b in zip(weights, blindings, strict=True)) % ORDER
    assert ENGINE.combination_is_zero(points, weights, [first], blinding)
    assert not ENGINE.combination_is_zero(points, weights, [first], (blinding + 1) % ORDER)


def test_weights_and_points_are_counted() -> None:
    points = ENGINE.decode_points(compressed(generator(0)) * 2)
    with pytest.raises(Misuse):
        ENGINE.combination_is_zero(points, [1], [], 0)


def test_results_do_not_depend_on_the_number_of_workers() -> None:
    table = np.random.default_rng(7).integers(-(2**20), 2**20, (40, 32))
    blindings = list(range(1, 41))
    scalars = [random.Random(8).randrange(ORDER) for _ in range(100)]
    results = []
    try:
        for workers in (1, 2, 3, 7):
            set_workers(workers)
            results.append((ENGINE.commit_rows(table, blindings), ENGINE.commit(scalars, 9)))
    finally:
        set_workers(None)
    assert results == results[:1] * 4
