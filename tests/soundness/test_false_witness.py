"""Cheating over the witness: norms beyond the bound, modular slack, values in the padding, other rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from proofs.curve import ORDER, POINT_SIZE
from proofs.parameters import ArgumentParameters
from proofs.prover import complete, project
from proofs.squares import four_squares
from proofs.verifier import Claim
from proofs.witness import CommittedUpdate, commit_tables
from tests.proofs.arguments import CONTEXT, WeakParameters, altered, claim_of, claimed, honest, judge, native, reference
from tests.seeded import seeded
from tests.soundness.forgery import forge, square_root

Cheat = Callable[[], tuple[ArgumentParameters, list[np.ndarray]]]
PARAMETERS = ArgumentParameters(20, 50)  # 2 data rows of 16; 12 padding cells


def squares(rows: list[list[int]], norm_bound: int = 50) -> list[int]:
    return list(four_squares(norm_bound**2 - sum(x * x for row in rows for x in row), seeded(0)))


def test_true_witness_by_the_same_road() -> None:
    rows = [[3, -4], [5]]
    assert judge(native(), PARAMETERS, forge(native(), PARAMETERS, [*rows, squares(rows)])) == "accepted"


@pytest.mark.parametrize(
    "rows",
    [
        [[50, 1], [0], [0]],  # one unit over the bound
        [[50], [0], [1]],
        [[0], [0], [0]],  # zero slack where there should be some
        [[49], [0], [9, 4, 1, 0]],  # one unit short of exact
        [[2**20] * 16, [0], [0]],
        [[2**35] * 16, [0], [0]],  # enough for the projections to notice
    ],
)
def test_squares_that_do_not_sum_to_the_bound(rows: list[list[int]]) -> None:
    verdict = judge(native(), PARAMETERS, forge(native(), PARAMETERS, rows))
    assert verdict == ("shortness" if rows[0][0] == 2**35 else "linear-relation")


@pytest.mark.parametrize("column", [4, 5, 15])
@pytest.mark.parametrize("value", [1, -7])
def test_value_in_the_padding(column: int, value: int) -> None:
    rows = [[3, -4], [0] * column + [value]]
    claim = forge(native(), PARAMETERS, [*rows, squares(rows)])
    assert judge(native(), PARAMETERS, claim) == "linear-relation"


def test_values_that_cancel_in_the_padding() -> None:
    rows = [[0], [0] * 4 + [1, -1] * 6]
    assert judge(native(), PARAMETERS, forge(native(), PARAMETERS, [*rows, squares(rows)])) == "linear-relation"


def test_last_cell_is_not_padding_where_the_dimension_fills_the_row() -> None:
    full = ArgumentParameters(32, 50)
    rows = [[3, -4], [0] * 15 + [7]]
    assert judge(native(), full, forge(native(), full, [*rows, squares(rows)])) == "accepted"


# ---- square roots modulo the group order ------------------------------------------------------------


def modular_roots(n: int) -> tuple[int, int]:
    """Two field elements whose squares sum to n: ((n + 1) / 2)^2 - ((n - 1) / 2)^2, and -1 is a square modulo ORDER."""
    half = pow(2, -1, ORDER)
    return (n + 1) * half % ORDER, square_root(ORDER - 1) * (n - 1) * half % ORDER


def in_norm() -> tuple[ArgumentParameters, list[np.ndarray]]:
    """Update far over the bound; the private row makes the sum of squares B^2 modulo the group order."""
    parameters = ArgumentParameters(16, 50)
    update, private = np.zeros((1, 16), dtype=object), np.zeros((1, 16), dtype=object)
    update[0, 0] = 1000
    private[0, :2] = modular_roots(50**2 - 1000**2)
    return parameters, [update, private]


def in_range() -> tuple[ArgumentParameters, list[np.ndarray]]:
    """A coordinate beyond its bound; b and c make its equation hold modulo the group order."""
    parameters = ArgumentParameters(16, 50, 360, 7)
    tables = [np.zeros((1, 16), dtype=object) for _ in range(5)]
    tables[0][0, 0] = 40
    tables[1][0, 0] = 30
    for c, (first, second) in enumerate([modular_roots(7**2 - 40**2), *[(7, 0)] * 15]):
        tables[3][0, c], tables[4][0, c] = first, second
    return parameters, tables


def modular_claim(parameters: ArgumentParameters, tables: list[np.ndarray], until_missed: bool) -> Claim:
    """Grinds over masks, once or until every projection misses the huge cells; what is out of range is replaced."""
    rand, engine, bound = seeded(0), reference(), parameters.response_bound
    committed = commit_tables(engine, parameters, tables, rand)
    while True:
        projected = project(engine, parameters, committed, CONTEXT, rand)
        true = [(z + ORDER // 2) % ORDER - ORDER // 2 for z in projected.projections]
        if not until_missed or all(abs(z) <= bound for z in true):
            sent = tuple(z if abs(z) <= bound else y for z, y in zip(true, projected.auxiliary.masks, strict=True))
            sent = tuple(max(-bound, min(bound, z)) for z in sent)
            proof = complete(engine, parameters, committed, replace(projected, projections=sent), rand)
            return claim_of(committed, proof.encode(parameters), CONTEXT)


@pytest.mark.parametrize("cheat", [in_norm, in_range])
def test_square_roots_modulo_the_order(cheat: Cheat) -> None:
    parameters, tables = cheat()
    assert judge(native(), parameters, modular_claim(parameters, tables, until_missed=False)) == "linear-relation"


@pytest.mark.parametrize("cheat", [in_norm, in_range])
def test_square_roots_modulo_the_order_pass_where_one_projection_must_catch_them(cheat: Cheat) -> None:
    """The equation itself holds modulo the order: only the projections stand in the way, each with chance 1/4."""
    parameters, tables = cheat()
    weak = WeakParameters(parameters.dimension, parameters.norm_bound, 1, parameters.coordinate_bound)
    assert judge(native(), weak, modular_claim(weak, tables, until_missed=True)) == "accepted"


# ---- commitments -------------------------------------------------------------------------


def test_swapped_rows() -> None:
    claim = honest(native(), PARAMETERS).claim
    rows = [claim.commitments[i : i + POINT_SIZE] for i in range(0, len(claim.commitments), POINT_SIZE)]
    swapped = altered(claim, commitments=b"".join([rows[1], rows[0], *rows[2:]]))
    assert judge(native(), PARAMETERS, swapped) == "linear-relation"


@pytest.mark.parametrize("cheat", ["swapped rows", "another update", "another blinding"])
def test_proof_over_rows_that_are_not_the_committed_ones(cheat: str) -> None:
    """The prover proves one table and publishes commitments to another, in its transcript too."""
    made, rand = honest(native(), PARAMETERS), seeded(5)
    (table, private), blindings = made.committed.tables, made.committed.row_blindings
    commitments = made.claim.commitments
    if cheat == "swapped rows":
        table, blindings = table[[1, 0]], (blindings[1], blindings[0], blindings[2])
        table[1] = np.where(np.arange(16) < 4, table[1], 0)
        private = np.zeros((1, 16), dtype=np.int64)
        private[0, :4] = squares([[int(x) for x in row] for row in table])
    elif cheat == "another update":
        commitments = honest(native(), PARAMETERS, np.zeros(20, dtype=np.int64), seed=9).claim.commitments
    else:
        blindings = (blindings[0] + 1, *blindings[1:])
    cheated = CommittedUpdate((table, private), blindings, {"commitments": commitments})
    projected = project(native(), PARAMETERS, cheated, CONTEXT, rand)
    proof = complete(native(), PARAMETERS, cheated, projected, rand)
    claim = claimed(commitments, proof.encode(PARAMETERS), CONTEXT)
    assert judge(native(), PARAMETERS, claim) == "opening"
