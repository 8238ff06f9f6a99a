from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs import polynomials as poly
from proofs.curve import ORDER

SCALARS = st.integers(0, ORDER - 1)


@given(st.lists(SCALARS, max_size=6), st.lists(SCALARS, max_size=6), SCALARS)
def test_ring_operations(left: list[int], right: list[int], x: int) -> None:
    at_left, at_right = poly.evaluate(left, x), poly.evaluate(right, x)
    assert at_left == sum(c * x**i for i, c in enumerate(left)) % ORDER
    assert poly.evaluate(poly.add(left, right), x) == (at_left + at_right) % ORDER
    assert poly.evaluate(poly.scale(left, 5), x) == 5 * at_left % ORDER
    if left and right:
        assert poly.evaluate(poly.multiply(left, right), x) == at_left * at_right % ORDER


@given(SCALARS, SCALARS, SCALARS)
def test_interpolation(a: int, b: int, c: int) -> None:
    assert [poly.evaluate(poly.quadratic(a, b, c), x) for x in range(3)] == [a, b, c]
    assert [poly.evaluate(poly.line(a, b), x) for x in range(2)] == [a, b]


@given(st.lists(SCALARS, min_size=1, max_size=6))
def test_interpolation_of_any_degree(values: list[int]) -> None:
    coefficients = poly.interpolate(values)
    assert len(coefficients) == len(values)
    assert [poly.evaluate(coefficients, x) for x in range(len(values))] == values


def test_unequal_lengths_are_refused() -> None:
    """Silently cut sums would drop what is to be checked."""
    for compare in (poly.dot, poly.eq):
        for left, right in (([1, 2], [3]), ([1], [2, 3])):
            with pytest.raises(ValueError, match=r"length|shorter|longer"):
                compare(left, right)
            with pytest.raises(ValueError, match=r"shorter|longer"):
                poly.eq_prefix(left, right, 1)


def test_results_are_reduced() -> None:
    """Representatives in [0, ORDER), whatever the sign and size of what goes in."""
    top = ORDER - 1
    assert poly.dot([top, top], [top, top]) == 2
    assert poly.dot([-1], [1]) == top
    assert poly.evaluate([top, top], top) == 0
    assert poly.add([top, 1], [1]) == [0, 1]
    assert poly.scale([-1, 2], top) == [1, ORDER - 2]
    assert poly.multiply([1, -1], [1, 1]) == [1, 0, top]
    assert poly.line(ORDER + 1, 0) == [1, top]
    assert poly.quadratic(ORDER, ORDER + 1, 4) == [0, 0, 1]
    assert all(0 <= value < ORDER for value in poly.quadratic(3, 1, 0))
    assert poly.product([top, top, top]) == top
    assert poly.product([]) == 1
    assert poly.eq_table([top]) == [2, top]
    assert poly.fold([1, 2, 3], top) == [0, 6]


@settings(max_examples=20)
@given(st.integers(0, 5), st.data())
def test_eq(variables: int, data: st.DataObject) -> None:
    points = st.lists(SCALARS, min_size=variables, max_size=variables)
    left, right = data.draw(points), data.draw(points)
    lefts, rights = poly.eq_table(left), poly.eq_table(right)
    assert sum(lefts) % ORDER == 1
    assert lefts == [poly.eq_index(left, i) for i in range(2**variables)]
    assert poly.eq(left, right) == poly.dot(lefts, rights)
    for count in range(2**variables + 1):
        assert poly.eq_prefix(left, right, count) == poly.dot(lefts[:count], rights[:count])
        assert poly.eq_prefix_sum(left, count) == sum(lefts[:count]) % ORDER


@given(st.lists(SCALARS, min_size=1, max_size=33), st.data())
def test_folding_evaluates_the_multilinear_extension(table: list[int], data: st.DataObject) -> None:
    variables = (len(table) - 1).bit_length()
    point = data.draw(st.lists(SCALARS, min_size=variables, max_size=variables))
    folded = table
    for challenge in point:
        sums = poly.line_of_sums(folded)
        folded = poly.fold(folded, challenge)
        assert sum(folded) % ORDER == poly.evaluate(sums, challenge)
    assert folded == [poly.dot(table, poly.eq_table(point)[: len(table)])]
