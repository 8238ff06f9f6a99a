from __future__ import annotations

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
