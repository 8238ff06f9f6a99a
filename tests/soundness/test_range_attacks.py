"""Cheating over the coordinate range: one beyond the bound, frozen coordinates, padding, other bounds per group."""

from __future__ import annotations

import numpy as np
import pytest

from proofs.decompositions import range_roots
from proofs.parameters import ArgumentParameters
from proofs.ranges import CoordinateGroup
from proofs.squares import four_squares
from proofs.verifier import Claim
from tests.proofs.arguments import honest, judge, native, reference
from tests.seeded import seeded
from tests.soundness.forgery import forge

FROZEN = (CoordinateGroup(4, 6, 0),)
PARAMETERS = ArgumentParameters(20, 200, 360, 7, FROZEN)  # 2 data rows of 16; 12 padding cells


def cheat(changes: dict[int, int], roots: dict[int, tuple[int, int, int]] | None = None) -> Claim:
    """The update is 3 but for `changes`; honest roots where there are any, else `roots` or zeros; an honest norm."""
    update = np.full(32, 3)
    update[4:6], update[20:] = 0, 0
    for cell, value in changes.items():
        update[cell] = value
    tables = np.zeros((3, 32), dtype=np.int64)
    for cell in range(32):
        bound = 0 if cell in (4, 5) or cell >= 20 else 7
        if abs(update[cell]) <= bound:
            tables[:, cell] = range_roots(np.array([abs(update[cell])]), bound)[0]
        tables[:, cell] = (roots or {}).get(cell, tables[:, cell])
    others = dict(zip(("range-a", "range-b", "range-c"), tables.reshape(3, 2, 16), strict=True))
    slack = four_squares(200**2 - int((update**2).sum()), seeded(0))
    rows = [*update.reshape(2, 16).tolist(), list(slack)]
    return forge(native(), PARAMETERS, rows, others=others)


def test_true_witness_by_the_same_road() -> None:
    assert judge(native(), PARAMETERS, cheat({0: 7, 1: -7, 19: 0})) == "accepted"


@pytest.mark.parametrize("cell", [0, 3, 15, 16, 19])
@pytest.mark.parametrize("value", [8, -8, 9, 100])
def test_out_of_range_by_one(cell: int, value: int) -> None:
    """The difference of squares is negative: no three squares help, whatever stands in the other tables."""
    assert judge(native(), PARAMETERS, cheat({cell: value})) == "linear-relation"
    assert judge(native(), PARAMETERS, cheat({cell: value}, {cell: (-1, 0, 0)})) == "linear-relation"
    assert judge(native(), PARAMETERS, cheat({cell: value}, {cell: (0, 1, 1)})) == "linear-relation"


@pytest.mark.parametrize("cell", [4, 5])
@pytest.mark.parametrize("value", [1, -1, 7])
def test_frozen_coordinate(cell: int, value: int) -> None:
    assert judge(native(), PARAMETERS, cheat({cell: value})) == "linear-relation"


@pytest.mark.parametrize("value", [1, -3])
def test_bound_of_one_group_used_in_another(value: int) -> None:
    """Roots that would do under the general bound, on a frozen coordinate."""
    roots = {4: tuple(range_roots(np.array([abs(value)]), 7)[0])}
    assert judge(native(), PARAMETERS, cheat({4: value}, roots)) == "linear-relation"


@pytest.mark.parametrize("cell", [20, 31])
def test_value_in_the_padding(cell: int) -> None:
    assert judge(native(), PARAMETERS, cheat({cell: 1})) == "linear-relation"
    roots = tuple(range_roots(np.array([1]), 7)[0])
    assert judge(native(), PARAMETERS, cheat({cell: 1}, {cell: roots})) == "linear-relation"


def test_roots_in_the_padding() -> None:
    """Harmless but not honest: cells of the padding satisfy the relation with bound zero."""
    assert judge(native(), PARAMETERS, cheat({}, {25: (0, 1, 0)})) == "linear-relation"
    assert judge(native(), PARAMETERS, cheat({}, {25: (-1, 0, 0)})) == "accepted"  # a (a + 1) = 0 all the same


def test_other_roots_are_as_good() -> None:
    """Signs, order and choice of the squares are free."""
    a, b, c = range_roots(np.array([3]), 7)[0]
    assert judge(native(), PARAMETERS, cheat({}, {0: (-a - 1, -c, b)})) == "accepted"
    assert judge(native(), PARAMETERS, cheat({}, {0: (a, b, c + 1)})) == "linear-relation"


def test_errors_that_cancel_between_cells() -> None:
    """Two cells, one over by as much as the other is under."""
    a, b, c = range_roots(np.array([3]), 7)[0]
    assert a >= 1
    roots = {0: (a, b + 1, c), 1: (a, b + 1, c), 2: (a, b - 1, c), 3: (a, b - 1, c)}
    total = sum((x * (x + 1) + y * y + z * z) - (49 - 9) for x, y, z in roots.values())
    roots[6] = (a, b, c)
    assert judge(native(), PARAMETERS, cheat({}, roots)) == "linear-relation"
    assert total == 4  # not even this is needed


def test_norm_without_range() -> None:
    """Within every coordinate's bound but over the norm."""
    parameters = ArgumentParameters(20, 10, 360, 7)
    update = np.full(32, 7)
    update[20:] = 0
    tables = np.zeros((3, 32), dtype=np.int64)
    tables[:, 20:] = 0
    others = dict(zip(("range-a", "range-b", "range-c"), tables.reshape(3, 2, 16), strict=True))
    assert judge(native(), parameters, forge(native(), parameters, update.reshape(2, 16).tolist(), others=others)) == (
        "linear-relation"
    )


def test_proof_without_the_range_relation() -> None:
    """A proof for the norm alone does not pass for one with the range."""
    plain = honest(native(), ArgumentParameters(20, 200)).claim
    assert judge(native(), PARAMETERS, plain) == "range-commitments-length"


def test_reference_engine_agrees() -> None:
    claim = cheat({0: 8})
    assert judge(reference(), PARAMETERS, claim) == "linear-relation"
