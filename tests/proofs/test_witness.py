"""Tables of the prover: decompositions into squares, range tables, groups of noise and their slack."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.decompositions import four_square_table, range_roots
from proofs.encryption import EncryptionParameters
from proofs.engine import Table
from proofs.errors import Misuse
from proofs.noise import NoiseGroups
from proofs.ranges import CoordinateGroup
from proofs.relations.range import Range
from proofs.witness import Noise, WitnessInputs, commit_update, filled_tables, packed_key
from protocols.lattice.gaussian import sample
from protocols.sharing import pack_key
from tests.proofs.arguments import MODULUS, WeakParameters, native, noise_relation
from tests.seeded import seeded


@pytest.mark.parametrize("bound", [0, 1, 2, 3, 4, 5, 10, 127, 128, 1000, 2**15])
def test_range_roots(bound: int) -> None:
    values = np.arange(bound + 1)
    a, b, c = range_roots(values, bound).T
    assert (values**2 + a * (a + 1) + b * b + c * c == bound**2).all()
    assert min(a.min(), b.min(), c.min()) >= 0
    assert max(a.max(), b.max(), c.max()) <= max(bound, 1)


@settings(max_examples=10, deadline=None)
@given(st.integers(2**16 + 1, 2**18), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_range_roots_of_a_few_values(bound: int, places: list[float]) -> None:
    values = np.array([int(place * bound) for place in places])
    a, b, c = range_roots(values, bound).T
    assert (values**2 + a * (a + 1) + b * b + c * c == bound**2).all()


@pytest.mark.parametrize("limit", [0, 1, 7, 100, 128**2])
def test_four_squares_by_look_up(limit: int) -> None:
    table = four_square_table(limit)
    assert ((table**2).sum(axis=1) == np.arange(limit + 1)).all()
    assert table.max() <= math.isqrt(limit)


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(2, 11))
def test_slack_places(rows: int, column_bits: int) -> None:
    """Every group has four cells of its own, all within the slack table, which has about a sixteenth of the rows."""
    groups = NoiseGroups(rows, 1 << column_bits)
    slack = np.arange(1, groups.count * 4 + 1).reshape(rows, groups.per_row, 4)
    table = groups.slack_table(slack)
    assert table.shape == (groups.slack_rows, groups.slack_columns)
    assert sorted(table[table > 0].tolist()) == list(range(1, slack.size + 1))
    assert groups.slack_columns <= groups.columns
    assert groups.slack_rows <= max(1, -(-2 * rows * 4 // groups.size))
    for row in range(rows):
        for j in range(groups.per_row):
            column = 4 * ((row >> groups.kept_variables) * groups.per_row + j)
            found = table[row % (1 << groups.kept_variables), column : column + 4]
            assert found.tolist() == slack[row, j].tolist()


def test_range_tables_are_zero_on_the_padding() -> None:
    parameters = WeakParameters(20, 500, 1, 30, (CoordinateGroup(4, 9, 0), CoordinateGroup(9, 12, 1)))
    update = np.zeros(20, dtype=np.int64)
    update[:4], update[9:12], update[12:] = 30, (1, -1, 0), -7
    (relation,) = (each for each in parameters.relations if isinstance(each, Range))
    filled = filled_tables(relation, WitnessInputs(update, None, seeded(0)))
    tables = [table.reshape(-1) for table in filled]
    bounds = np.array([30] * 4 + [0] * 5 + [1] * 3 + [30] * 8)
    a, b, c = (table[:20] for table in tables)
    assert (update**2 + a * a + a + b * b + c * c == bounds**2).all()
    assert not any(table[20:].any() for table in tables)


@pytest.mark.parametrize(("index", "value"), [(0, 31), (0, -31), (4, 1), (9, 2), (19, -31), (19, -(2**63))])
def test_coordinate_beyond_its_bound_is_refused(index: int, value: int) -> None:
    parameters = WeakParameters(20, 500, 1, 30, (CoordinateGroup(4, 9, 0), CoordinateGroup(9, 12, 1)))
    update = np.zeros(20, dtype=np.int64)
    update[index] = value
    with pytest.raises(Misuse, match=r"beta|B"):
        commit_update(native(), parameters, update, seeded(0))


def noise_tables(parameters: WeakParameters, noise: Noise | None) -> list[Table]:
    return filled_tables(noise_relation(parameters), WitnessInputs(np.zeros(20, dtype=np.int64), noise, seeded(0)))


def noisy(key: list[int], errors: list[int]) -> tuple[WeakParameters, Noise]:
    parameters = WeakParameters(20, 500, 1, None, (), EncryptionParameters(16, MODULUS, 2**20))
    noise = Noise(np.zeros(16, dtype=np.int32), np.zeros(32, dtype=np.int8))
    noise.key[: len(key)], noise.errors[: len(errors)] = key, errors
    return parameters, noise


@pytest.mark.parametrize(
    ("key", "errors"),
    [([], []), ([-128], [127]), ([127, 15, 5, 2, 1], [64] * 4), ([0] * 15 + [-128], [0] * 16 + [-64] * 4)],
)
def test_noise_up_to_the_bound(key: list[int], errors: list[int]) -> None:
    tables = noise_tables(*noisy(key, errors))
    assert sum(int((table**2).sum()) for table in tables[:2]) == 2 * 128**2
    assert sum(int((table**2).sum()) for table in tables[2:]) == 128**2


@pytest.mark.parametrize(("key", "errors"), [([-129 // 2 - 64], []), ([128, 1], []), ([], [64] * 4 + [1])])
def test_noise_beyond_the_bound_is_refused(key: list[int], errors: list[int]) -> None:
    parameters, noise = noisy(key, [])
    if errors:
        noise.errors[16 : 16 + len(errors)] = errors
    else:
        noise = Noise(np.array(key + [0] * (16 - len(key)), dtype=np.int64), noise.errors)
    with pytest.raises(Misuse, match="E = 128"):
        noise_tables(parameters, noise)


@pytest.mark.parametrize(
    "noise",
    [
        Noise(np.zeros(15, dtype=np.int64), np.zeros(32, dtype=np.int64)),
        Noise(np.zeros(16, dtype=np.int64), np.zeros(20, dtype=np.int64)),
        Noise(np.zeros(16, dtype=np.float64), np.zeros(32, dtype=np.int64)),
    ],
)
def test_noise_of_another_shape_is_refused(noise: Noise) -> None:
    with pytest.raises(Misuse, match="integers"):
        noise_tables(noisy([], [])[0], noise)


def test_noise_goes_with_encryption() -> None:
    parameters, noise = noisy([], [])
    with pytest.raises(Misuse, match="noise"):
        noise_tables(parameters, None)
    with pytest.raises(Misuse, match="noise"):
        commit_update(native(), WeakParameters(20, 500, 1), np.zeros(20, dtype=np.int64), seeded(0), noise)


def test_packing_is_that_of_the_sharing() -> None:
    key = sample(4096, seeded(1)).astype(np.int32)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    assert [scalar % order for scalar in packed_key(key)] == pack_key(key)


def log2_chance(size: int, bound: int) -> float:
    """Chernoff's bound on the chance that `size` honest samples have norm above `bound`."""
    mass = {e: math.exp(-25 * e * e / 2178) for e in range(-86, 87)}
    total = sum(mass.values())
    best = 0.0
    for step in range(1, 400):
        slope = step / 400 * 25 / 2178
        moment = sum(p * math.exp(slope * e * e) for e, p in mass.items()) / total
        best = min(best, (size * math.log(moment) - slope * (bound**2 + 1)) / math.log(2))
    return best


def test_honest_noise_never_needs_another_draw() -> None:
    """Spec 5.11, with the exact distribution of spec 6.4."""
    assert log2_chance(64, 128) < -140
    assert log2_chance(32, 128) < -190
    assert log2_chance(16, 128) < -190
