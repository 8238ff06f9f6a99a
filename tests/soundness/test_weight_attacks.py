"""Cheating over a hidden weight: one out of range, another than the bound's, no integer, in another cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from proofs.curve import ORDER
from proofs.decompositions import range_roots
from proofs.encryption import EncryptionParameters
from proofs.engine import Engine, Table
from proofs.parameters import ArgumentParameters
from proofs.ranges import CoordinateGroup
from proofs.squares import four_squares
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import (
    MODULUS,
    RING,
    Honest,
    WeakParameters,
    altered,
    honest,
    judge,
    name_of,
    native,
    pruned,
    reference,
)
from tests.seeded import seeded
from tests.soundness.forgery import forge_tables
from tests.soundness.test_false_witness import modular_claim, modular_roots
from tests.soundness.test_tampering import (
    ENCRYPTION_TAMPERS,
    TAMPERS,
    refused_once_any_evaluation_or_row_is_another,
    refused_once_tampered,
)

PARAMETERS = WeakParameters(20, 50, 6, hidden_weight=6)  # the weight is cell (1, 3); 12 padding cells behind it
RANGED = WeakParameters(20, 50, 6, 7, (CoordinateGroup(4, 6, 0),), hidden_weight=6)
FULL = WeakParameters(40, 500, 6, 100, (CoordinateGroup(7, 9, 0),), RING, hidden_weight=300)
WEIGHT = 19
ENGINES = pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])


def slack(weight: int, largest: int = 6) -> tuple[int, int, int, int]:
    """Of a weight in range; of another zeros, as there is none."""
    return four_squares(max(0, (weight - 1) * (largest - weight)), seeded(0))


def tables_of(
    cells: dict[int, int], roots: Sequence[int], squares: Sequence[int] | None = None, norm_bound: int = 50
) -> list[Table]:
    """Update, private row, roots and their squares: the first and the norm in order wherever they can be."""
    update, private = np.zeros((2, 16), dtype=np.int64), np.zeros((1, 16), dtype=np.int64)
    for cell, value in cells.items():
        update.reshape(-1)[cell] = value
    own = np.zeros((1, 8), dtype=np.int64)
    own[0, : len(roots)] = roots
    of_own = own**2
    if squares is not None:
        of_own[0, : len(squares)] = squares
    left = (norm_bound**2 + 1) * int(of_own[0, 0]) - int((update**2).sum())
    private[0, :4] = four_squares(max(0, left), seeded(0))
    return [update, private, own, of_own]


def lie(cells: dict[int, int], roots: Sequence[int], squares: Sequence[int] | None = None) -> str:
    """What both engines say of it."""
    claim = forge_tables(native(), PARAMETERS, tables_of(cells, roots, squares), seeded(1))
    found = judge(native(), PARAMETERS, claim)
    assert judge(reference(), PARAMETERS, claim) == found
    return found


@pytest.mark.parametrize("weight", range(1, 7))
def test_true_witness_by_the_same_road(weight: int) -> None:
    """With an update of exactly the norm that its weight allows."""
    assert lie({0: 30 * weight, 1: -40 * weight, WEIGHT: weight}, [weight, *slack(weight)]) == "accepted"


@pytest.mark.parametrize(
    "weight", [0, 7, *(pytest.param(weight, marks=pytest.mark.exhaustive) for weight in (8, 100, -3, -7)), -1]
)
@pytest.mark.parametrize("roots", [(0, 0, 0, 0), (1, 0, 0, 0), (2, 1, 1, 0), (-2, 1, 1, 0)])
def test_weight_out_of_range(weight: int, roots: tuple[int, ...]) -> None:
    """(w - 1) (W - w) is negative: -6 for zero and for W + 1, where (2, 1, 1, 0) would do for the sign reversed."""
    assert lie({WEIGHT: weight}, [weight, *roots]) == "linear-relation"


@pytest.mark.parametrize("weight", [0, 7, -1])
def test_squares_that_are_none(weight: int) -> None:
    """The sum is right, and one summand negative, or the square of the weight another."""
    wanted = 7 * weight - 6
    assert lie({WEIGHT: weight}, [weight], [weight**2, wanted - weight**2]) == "linear-relation"
    assert lie({WEIGHT: weight}, [weight], [wanted]) == "linear-relation"


@pytest.mark.parametrize(("stated", "bound"), [(1, 5), (5, 1), (1, 2), (6, 1), (1, 6), (0, 1), (7, 6)])
def test_another_weight_in_the_message_than_in_the_bound(stated: int, bound: int) -> None:
    """What is summed is the cell of the update, what scales the norm is the other."""
    assert lie({0: 50 * bound, WEIGHT: stated}, [bound, *slack(bound)]) == "linear-relation"


def test_square_of_another_weight_in_the_bound() -> None:
    """Weight 2, bounded like one of 6: the interval's sum is made up for by another summand."""
    assert lie({0: 300, WEIGHT: 2}, [2, *slack(2)], [36]) == "linear-relation"
    assert lie({0: 300, WEIGHT: 2}, [2], [36, 7 * 2 - 6 - 36]) == "linear-relation"


@pytest.mark.parametrize("change", [(1, 0), (0, 1), (10, 0)])
def test_norm_above_the_weights(change: tuple[int, int]) -> None:
    """By one, and by a unit of the bound."""
    more, other = change
    assert lie({0: 3 * 50 + more, 1: other, WEIGHT: 3}, [3, *slack(3)]) == "linear-relation"


@pytest.mark.parametrize("cell", [0, 15, 18, 20, 31])
def test_weight_in_another_cell(cell: int) -> None:
    """A coordinate, or the padding, in its place or beside it."""
    assert lie({cell: 3}, [3, *slack(3)]) == "linear-relation"
    in_both = lie({cell: 3, WEIGHT: 3}, [3, *slack(3)])
    assert in_both == ("accepted" if cell < WEIGHT else "linear-relation")  # an update may have any coordinates


def test_cells_of_no_meaning_are_harmless() -> None:
    """Three pairs of root and square that nothing else uses, but that are root and square."""
    assert lie({0: 150, WEIGHT: 3}, [3, *slack(3), 9, -9, 30]) == "accepted"
    assert lie({0: 150, WEIGHT: 3}, [3, *slack(3), 9], [9, *(x**2 for x in slack(3)), 80]) == "linear-relation"
    assert lie({0: 151, WEIGHT: 3}, [3, *slack(3), 50], None) == "linear-relation"


def test_other_roots_are_as_good() -> None:
    assert lie({WEIGHT: 3}, [3, -2, 1, -1, 0]) == "accepted"
    assert lie({WEIGHT: 3}, [3, 2, 1, 0, 0]) == "linear-relation"
    assert lie({WEIGHT: 3}, [-3, *slack(3)]) == "linear-relation"  # the square is right, and the sign is not


# ---- modulo the group order ------------------------------------------------------------------------------------------


def field_tables(weight: int, roots: Sequence[int], parameters: ArgumentParameters) -> list[np.ndarray]:
    """Tables over the field: the norm's squares and the relation's all hold modulo the group order."""
    update, private = np.zeros((1, 16), dtype=object), np.zeros((1, 16), dtype=object)
    own = np.zeros((1, 8), dtype=object)
    update[0, parameters.dimension - 1] = weight
    own[0, : 1 + len(roots)] = [weight, *roots]
    squares = own**2 % ORDER
    private[0, 0] = parameters.norm_bound * weight % ORDER
    return [update, private, own, squares]


def half() -> list[np.ndarray]:
    """w = 1/2: (w - 1) (W - w) as a sum of two squares modulo the group order."""
    weight = pow(2, -1, ORDER)
    return field_tables(weight, modular_roots((weight - 1) * (6 - weight) % ORDER), SMALL)


def above() -> list[np.ndarray]:
    """w = W + 1, for which -W is a sum of two squares modulo the group order."""
    return field_tables(7, modular_roots(-6), SMALL)


SMALL = ArgumentParameters(16, 50, hidden_weight=6)


@pytest.mark.parametrize("cheat", [pytest.param(half, marks=pytest.mark.exhaustive), above])
def test_modular_slack(cheat: object) -> None:
    """A fraction, or roots that are some modulo the order only: the projections notice their size."""
    claim = modular_claim(SMALL, cheat(), until_missed=False)
    assert judge(native(), SMALL, claim) == judge(reference(), SMALL, claim) == "linear-relation"


@pytest.mark.parametrize("cheat", [half, above])
def test_modular_slack_passes_where_one_projection_must_catch_it(cheat: object) -> None:
    """All equations hold modulo the order: only the projections stand in the way."""
    weak = WeakParameters(16, 50, 1, hidden_weight=6)
    claim = modular_claim(weak, cheat(), until_missed=True)
    assert judge(native(), weak, claim) == judge(reference(), weak, claim) == "accepted"


# ---- with bounds on coordinates --------------------------------------------------------------------------------------


def ranged(weight: int, cell: int, value: int, bound: int | None = None) -> str:
    """One coordinate of an update that is 7 w elsewhere, within its own roots where there are some."""
    cells = dict.fromkeys(range(4), 7 * weight) | {WEIGHT: weight} | {cell: value}
    update, private, own, squares = tables_of(cells, [weight, *slack(weight)])
    bounds = [0 if i in (4, 5) or i > WEIGHT else 7 * weight for i in range(32)]
    bounds[WEIGHT] = weight
    bounds[cell] = bounds[cell] if bound is None else bound
    flat, roots = update.reshape(-1), np.zeros((3, 32), dtype=np.int64)
    for i, largest in enumerate(bounds):
        if abs(flat[i]) <= largest:
            roots[:, i] = range_roots(np.array([abs(flat[i])]), largest)[0]
    claim = forge_tables(native(), RANGED, [update, private, *roots.reshape(3, 2, 16), own, squares], seeded(2))
    return judge(native(), RANGED, claim)


@pytest.mark.parametrize("weight", [1, 3, 6])
@pytest.mark.parametrize("sign", [1, -1])
def test_coordinate_at_its_bound_and_beyond(weight: int, sign: int) -> None:
    assert ranged(weight, 0, sign * 7 * weight) == "accepted"
    assert ranged(weight, 0, sign * (7 * weight + 1)) == "linear-relation"
    assert ranged(weight, 18, sign * (7 * weight + 1), 7 * (weight + 1)) == "linear-relation"
    assert ranged(weight, 4, sign) == "linear-relation"  # frozen, whatever the weight
    assert ranged(weight, 4, sign, 7 * weight) == "linear-relation"


# ---- the proof and its statement -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full() -> Honest:
    return honest(native(), FULL)


@ENGINES
@pytest.mark.parametrize("name", [*TAMPERS, *ENCRYPTION_TAMPERS])
def test_tampered_field(full: Honest, engine: Engine, name: str) -> None:
    """The manifest of the proof's fields, with a hidden weight beside all else."""
    refused_once_tampered(engine, full, name)


@ENGINES
def test_every_evaluation_and_row_counts(full: Honest, engine: Engine) -> None:
    assert len(FULL.layout.tables) == 11
    refused_once_any_evaluation_or_row_is_another(engine, full, "weight-commitments")


@pytest.mark.parametrize("rows", [b"", b"\x02" * 33, b"\x02" * 65, b"\x02" * 99])
def test_rows_of_another_length(full: Honest, rows: bytes) -> None:
    verdict = judge(native(), FULL, altered(full.claim, weight_commitments=rows))
    assert verdict == "weight-commitments-length"


def test_exchanged_rows(full: Honest) -> None:
    """Roots for squares."""
    rows = full.claim.rows["weight-commitments"]
    exchanged = altered(full.claim, weight_commitments=rows[33:] + rows[:33])
    assert judge(native(), FULL, pruned(exchanged)) == "linear-relation"


@pytest.mark.parametrize("largest", [5, 7, 2**20])
def test_another_largest_weight_than_the_provers(largest: int) -> None:
    """A weight of 3 is in range for all of them: the statement differs, and with it the masks."""
    other = ArgumentParameters(20, 50, hidden_weight=largest)
    claim = honest(native(), ArgumentParameters(20, 50, hidden_weight=6)).claim
    expected = {5: "shortness", 7: "linear-relation", 2**20: "proof-length"}
    assert judge(native(), other, claim) == judge(reference(), other, claim) == expected[largest]


def test_without_the_relation() -> None:
    """A proof for more, or for less, than is asked for."""
    plain = WeakParameters(20, 50, 6)
    more, less = honest(native(), PARAMETERS).claim, honest(native(), plain).claim
    assert judge(native(), plain, more) == judge(native(), PARAMETERS, less) == "weight-commitments-length"


def test_weight_of_another_client() -> None:
    """The rows of a heavier client in the place of one's own."""
    light, heavy = (np.array([0] * 19 + [weight]) for weight in (1, 6))
    own, other = (honest(native(), PARAMETERS, each, seed=seed).claim for seed, each in enumerate((light, heavy)))
    moved = altered(own, weight_commitments=other.rows["weight-commitments"])
    assert judge(native(), PARAMETERS, moved) == "linear-relation"


def test_batches_name_the_one_at_fault() -> None:
    parameters = WeakParameters(20, 50, 4, 9, (), EncryptionParameters(8, MODULUS, 2**20), hidden_weight=6)
    made = [honest(native(), parameters, seed=seed) for seed in range(3)]
    claims: list[Claim] = [each.claim for each in made]
    claims[1] = made[1].off_by(1)
    claims[2] = replace(made[2].claim, context=b"another")
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), parameters, claims)]
    assert verdicts == ["accepted", "opening", "ciphertext-combination"]
