"""The terms of the relations, each against its definition: sums over tables that are small enough to write out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.linear_form import pad_at
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq_table
from proofs.privacy_noise import NoiseBounds
from proofs.ranges import CoordinateGroup
from proofs.relations.relation import Sent, Weights
from proofs.relations.terms import (
    ColumnWeights,
    EqSlice,
    FinalPoint,
    JoinedTerms,
    Listed,
    Single,
    SmallForm,
    Terms,
    Vector,
)
from tests.proofs.arguments import NOISED_RING, RING, WeakParameters, honest, native

SCALARS = st.integers(0, ORDER - 1)
EVERYTHING = WeakParameters(40, 500, 4, 100, (CoordinateGroup(3, 9, 0),), RING)
NOISED = WeakParameters(
    40, 500, 4, 100, (CoordinateGroup(3, 9, 0),), NOISED_RING, privacy_noise=NoiseBounds(900, 10, 10**6)
)
WEIGHTED = WeakParameters(40, 500, 4, 100, (CoordinateGroup(3, 9, 0),), RING, hidden_weight=300)


def scalars(seed: int, count: int) -> list[int]:
    """As large as challenges are."""
    rng = np.random.default_rng(seed)
    return [int.from_bytes(rng.bytes(32), "big") % ORDER for _ in range(count)]


def point_of(parameters: ArgumentParameters, seed: int) -> tuple[list[int], list[int]]:
    """A row point and a column point."""
    flat = scalars(seed, parameters.layout.variables)
    return flat[: parameters.layout.row_variables], flat[parameters.layout.row_variables :]


def weights_of(parameters: ArgumentParameters, seed: int) -> dict[str, Weights]:
    """By relation."""
    rows, columns = point_of(parameters, seed)
    return {
        relation.name: Weights(scalars(seed + 1 + i, relation.scalars), rows, columns)
        for i, relation in enumerate(parameters.relations)
    }


def terms_of(parameters: ArgumentParameters, weights: dict[str, Weights]) -> dict[str, Terms]:
    """By relation, with combinations and quotients of one's own."""
    made = honest(native(), parameters)
    given = made.claim.statements, made.committed.signs
    sent = {relation.name: Sent() for relation in parameters.relations}
    count = parameters.combinations
    sent["encryption"] = Sent(list(range(1, count + 1)), [5, 6, 7, -8, 9, -1, 0][:count])
    return {
        relation.name: relation.draw(native(), Challenger(b"test"), *given).terms(
            weights[relation.name], sent[relation.name]
        )
        for relation in parameters.relations
    }


@given(SCALARS)
def test_pads_vanish_on_the_cube_only(x: int) -> None:
    assert pad_at(x) == (x - x * x) % ORDER
    assert (pad_at(x) == 0) == (x in {0, 1})


@settings(max_examples=30)
@given(SCALARS, st.integers(0, 2), st.lists(SCALARS, max_size=2), st.lists(SCALARS, min_size=5, max_size=5))
@example(ORDER - 1, 2, [ORDER - 1], [2] * 5)
def test_column_weights(factor: int, free: int, point: list[int], columns: list[int]) -> None:
    """Alike for the columns that differ in the lowest variables only, zero beyond those of the point."""
    weights = ColumnWeights(factor, free, point)
    table = weights.table()
    assert table == [factor * eq_table(point)[c >> free] % ORDER for c in range(1 << free + len(point))]
    assert weights.total() == sum(table) % ORDER
    assert weights.at(columns) == dot(table, eq_table(columns)[: len(table)])


@pytest.mark.parametrize(
    "vector",
    [
        EqSlice(scalars(1, 4), 0, 16),
        EqSlice(scalars(1, 4), 0, 11),
        EqSlice(scalars(1, 4), 5, 11),
        EqSlice(scalars(1, 4), 15, 16),
        EqSlice(scalars(1, 4), 7, 7),
        Single(0),
        Single(13),
        Listed(scalars(2, 16)),
        Listed(scalars(2, 3)),
    ],
)
def test_value_of_a_vector_is_that_of_its_entries(vector: Vector) -> None:
    point = scalars(3, 4)
    entries = vector.values()
    assert len(entries) <= 16
    assert vector.at(point, eq_table(point)) % ORDER == dot(entries, eq_table(point)[: len(entries)])


def test_slice_of_eq() -> None:
    point = scalars(1, 4)
    inside = [x if 5 <= i < 11 else 0 for i, x in enumerate(eq_table(point))]
    assert EqSlice(point, 5, 11).values() == inside[:11]


def test_public_sum_is_what_full_groups_sum_to() -> None:
    """B^2; the bound of every coordinate, weighted; E^2 of every group, with the weight of any of its cells; and what
    was sent."""
    weights = weights_of(EVERYTHING, 1)
    found = terms_of(EVERYTHING, weights)
    rows, columns = (eq_table(point) for point in (weights["norm"].row_point, weights["norm"].column_point))
    (theta,) = weights["range"].scalars
    bounds = [(0 if 3 <= i < 9 else 100) ** 2 * rows[i // 16] * columns[i % 16] for i in range(40)]
    noise = 0
    for name, count in (("error", 3), ("key", 1)):
        table = found["noise"].squares[name].table()  # one group of 16 in a row
        assert len(set(table)) == 1
        noise += 128**2 * table[0] * sum(rows[:count])
    sent = dot(
        weights["encryption"].scalars, [y + RING.modulus * z for y, z in zip([1, 2, 3, 4], [5, 6, 7, -8], strict=True)]
    )
    expected = {"norm": 500**2, "padding": 0, "range": theta * sum(bounds), "noise": noise, "packing": 0}
    for name, value in {**expected, "encryption": sent}.items():
        assert found[name].total % ORDER == value % ORDER, name
    assert JoinedTerms.of(found.values()).total == sum(term.total for term in found.values()) % ORDER


def test_terms_of_a_weight_sum_to_what_they_say() -> None:
    """Over honest tables, relation by relation: squares and forms, with their weights, are the total and no more."""
    weights, layout = weights_of(WEIGHTED, 1), WEIGHTED.layout
    found = terms_of(WEIGHTED, weights)
    tables = layout.tables
    committed = dict(zip([table.name for table in tables], honest(native(), WEIGHTED).committed.tables, strict=True))
    rows = eq_table(weights["norm"].row_point)
    for name, plain in (("norm", ("update", "private")), ("range", ()), ("client-weight", ())):
        value = sum(int(x) ** 2 for table in plain for x in committed[table].reshape(-1))
        for table in tables:
            if table.weights in found[name].squares:
                of_columns = found[name].squares[table.weights].table()
                cells = np.ndenumerate(committed[table.name])
                value += sum(rows[y] * of_columns[c] * int(x) ** 2 for (y, c), x in cells)
        for form in found[name].forms:
            left, right = form.left.values(), form.right.values()
            for of, multiple in form.tables.items():
                cells = np.ndenumerate(committed[of])
                pairs = [(left[y] * right[c], int(x)) for (y, c), x in cells if y < len(left) and c < len(right)]
                value += form.factor * multiple * sum(x * weight for weight, x in pairs)
        assert (value - found[name].total) % ORDER == 0, name
    assert found["norm"].total == found["range"].total == 0


def test_terms_of_noise_sum_to_what_they_say() -> None:
    """Over honest tables, relation by relation: squares, forms and signed products, with their weights, are the total;
    the update that they bound is in none of the tables."""
    weights, layout, made = weights_of(NOISED, 1), NOISED.layout, honest(native(), NOISED)
    found, signs = terms_of(NOISED, weights), made.committed.signs
    assert signs is not None
    committed = dict(zip([table.name for table in layout.tables], made.committed.tables, strict=True))
    rows, (row, column) = eq_table(weights["norm"].row_point), np.indices(signs.table.shape)
    products = signs.table * committed["update"] * committed["noise"]
    for name in ("norm", "padding", "range", "privacy-noise"):
        terms, value = found[name], 0
        plain = dict.fromkeys(("update", "private", "noise"), 1) if name == "norm" else terms.plain
        value += sum(weight * int((committed[table] ** 2).sum()) for table, weight in plain.items())
        for table in layout.tables:
            if table.weights in terms.squares:
                of_columns = terms.squares[table.weights].table()
                cells = np.ndenumerate(committed[table.name])
                value += sum(rows[y] * of_columns[c] * int(x) ** 2 for (y, c), x in cells)
        for form in terms.forms:
            left, right = form.left.values(), form.right.values()
            for of, multiple in form.tables.items():
                cells = np.ndenumerate(committed[of])
                pairs = [(left[y] * right[c], int(x)) for (y, c), x in cells if y < len(left) and c < len(right)]
                value += form.factor * multiple * sum(x * weight for weight, x in pairs)
        signed = [weights.table() for weights in terms.signed.weights]
        for y, c in zip(row.reshape(-1).tolist(), column.reshape(-1).tolist(), strict=True):
            weight = terms.signed.factor + sum(rows[y] * of_columns[c] for of_columns in signed)
            value += weight * int(products[y, c])
        assert (value - terms.total) % ORDER == 0, name


def cells_of(form: SmallForm, parameters: ArgumentParameters) -> Sequence[tuple[int, int]]:
    """(row, column) of each coefficient."""
    table = parameters.layout.tables[parameters.layout.index(form.table)]
    return [divmod(i, table.columns) for i in range(table.rows * table.columns)]


@pytest.mark.parametrize(
    "parameters",
    [
        EVERYTHING,
        WEIGHTED,
        WeakParameters(300, 500, 4, 100, (), RING),
        WeakParameters(16, 500, 4, 9),
        WeakParameters(33, 500, 4),
        WeakParameters(33, 500, 4, 9, hidden_weight=6),
        NOISED,
        WeakParameters(33, 500, 4, 9, privacy_noise=NoiseBounds(100, 10, 9000)),
    ],
)
def test_value_of_a_form_is_that_of_its_coefficients(parameters: ArgumentParameters) -> None:
    """The prover's coefficients and the verifier's short cut, at a point of the cube's extension."""
    layout = parameters.layout
    row_point, column_point = point_of(parameters, 100)
    final = FinalPoint.of(layout.row_variables, [*row_point, *column_point])
    evaluations = layout.by_name(scalars(200, len(layout.tables)))
    found = terms_of(parameters, weights_of(parameters, 1))
    for terms in found.values():
        expected = 0
        for form in terms.forms:
            left, right = form.left.values(), form.right.values()
            value = form.factor * dot(left, final.rows[: len(left)]) * dot(right, final.columns[: len(right)])
            expected += value * sum(multiple * evaluations[name] for name, multiple in form.tables.items())
        for small in terms.small:
            cells = zip(small.coefficients(), cells_of(small, parameters), strict=True)
            value = sum(x * final.rows[y] * final.columns[c] for x, (y, c) in cells)
            expected += value * evaluations[small.table]
        assert JoinedTerms.of([terms]).forms_at(native(), final, evaluations) == expected % ORDER


@pytest.mark.parametrize(("dimension", "forms"), [(48, 0), (47, 1), (33, 1)])
def test_no_form_where_there_is_no_padding(dimension: int, forms: int) -> None:
    """With noise one on the message and one on the noise."""
    for noise, tables in ((None, 1), (NoiseBounds(100, 0, 10**4), 2)):
        parameters = WeakParameters(dimension, 500, 4, privacy_noise=noise)
        found = terms_of(parameters, weights_of(parameters, 1))["padding"].forms
        assert len(found) == forms * tables
