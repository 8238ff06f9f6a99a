"""Polynomials over the scalar field: univariate by coefficients, multilinear by the table of values on the cube.

Coefficients stand lowest first. Point i of a cube is the bits of i, least significant first, so that variable 0 pairs
neighbours of a table (spec 5.1). eq(a, b) = prod_i (a_i b_i + (1 - a_i)(1 - b_i)) is the multilinear extension of
equality.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from itertools import zip_longest
from operator import mul

from proofs.curve import ORDER

HALF = pow(2, -1, ORDER)


def dot(left: Sequence[int], right: Sequence[int]) -> int:
    """sum_i left[i] right[i] modulo ORDER, equal lengths."""
    if len(left) != len(right):
        raise ValueError("vectors of different lengths")
    total: int = sum(map(mul, left, right))
    return total % ORDER


def evaluate(coefficients: Sequence[int], x: int) -> int:
    """Value at x modulo ORDER (Horner)."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % ORDER
    return value


def add(*terms: Sequence[int]) -> list[int]:
    """Sum of polynomials of any degrees."""
    return [sum(column) % ORDER for column in zip_longest(*terms, fillvalue=0)]


def scale(coefficients: Sequence[int], factor: int) -> list[int]:
    """factor times the polynomial."""
    return [coefficient * factor % ORDER for coefficient in coefficients]


def multiply(left: Sequence[int], right: Sequence[int]) -> list[int]:
    """Product of two non-empty polynomials."""
    product = [0] * (len(left) + len(right) - 1)
    for i, x in enumerate(left):
        for j, y in enumerate(right):
            product[i + j] += x * y
    return [coefficient % ORDER for coefficient in product]


def line(at_zero: int, at_one: int) -> list[int]:
    """The polynomial of degree 1 with these values at 0 and 1."""
    return [at_zero % ORDER, (at_one - at_zero) % ORDER]


def quadratic(at_zero: int, at_one: int, at_two: int) -> list[int]:
    """The polynomial of degree 2 with these values at 0, 1 and 2."""
    second = (at_two - 2 * at_one + at_zero) * HALF % ORDER
    return [at_zero % ORDER, (at_one - at_zero - second) % ORDER, second]


@cache
def _lagrange(count: int) -> list[list[int]]:
    """The polynomials that are 1 at one of 0 .. count - 1 and 0 at the others."""
    basis = []
    for i in range(count):
        coefficients = [1]
        for j in range(count):
            if j != i:
                inverse = pow(i - j, -1, ORDER)
                coefficients = multiply(coefficients, [-j * inverse % ORDER, inverse])
        basis.append(coefficients)
    return basis


def interpolate(values: Sequence[int]) -> list[int]:
    """The polynomial of least degree with these values at 0, 1, .."""
    basis = _lagrange(len(values))
    return add(*(scale(coefficients, value) for coefficients, value in zip(basis, values, strict=True)))


def eq_table(point: Sequence[int]) -> list[int]:
    """eq(point, i) for every i of the cube: 2^len(point) values."""
    table = [1]
    for coordinate in point:
        ones = [value * coordinate % ORDER for value in table]
        table = [(value - one) % ORDER for value, one in zip(table, ones, strict=True)] + ones
    return table


def eq(left: Sequence[int], right: Sequence[int]) -> int:
    """eq(left, right) for points of equal length."""
    value = 1
    for x, y in zip(left, right, strict=True):
        value = value * (x * y + (1 - x) * (1 - y)) % ORDER
    return value


def eq_index(point: Sequence[int], index: int) -> int:
    """eq(point, bits of index), without the table."""
    value = 1
    for i, coordinate in enumerate(point):
        value = value * (coordinate if index >> i & 1 else 1 - coordinate) % ORDER
    return value


def eq_prefix(left: Sequence[int], right: Sequence[int], count: int) -> int:
    """sum over i < count of eq(left, i) eq(right, i), 0 <= count <= 2^len(left), in O(len(left)).

    Grown from the least significant variable: of the indices below `count` modulo 2^(j+1), those with bit j clear are
    all of the first 2^j when bit j of count is set, and the same prefix as before when it is not.
    """
    prefix, whole = 0, 1
    for j, (x, y) in enumerate(zip(left, right, strict=True)):
        clear, both = (1 - x) * (1 - y) % ORDER, x * y % ORDER
        prefix = (clear * whole + both * prefix if count >> j & 1 else clear * prefix) % ORDER
        whole = whole * (clear + both) % ORDER
    return whole if count >> len(left) else prefix


def eq_prefix_sum(point: Sequence[int], count: int) -> int:
    """sum over i < count of eq(point, i), 0 <= count <= 2^len(point), in O(len(point)): see `eq_prefix`."""
    prefix = 0
    for j, x in enumerate(point):
        prefix = ((1 - x) + x * prefix if count >> j & 1 else (1 - x) * prefix) % ORDER
    return 1 if count >> len(point) else prefix


def product(factors: Iterable[int]) -> int:
    """Modulo ORDER."""
    value = 1
    for factor in factors:
        value = value * factor % ORDER
    return value


def fold(table: Sequence[int], challenge: int) -> list[int]:
    """Variable 0 set to `challenge`: ceil(n / 2) values, an absent last one taken as zero."""
    pairs = zip_longest(table[0::2], table[1::2], fillvalue=0)
    return [(even + challenge * (odd - even)) % ORDER for even, odd in pairs]


def line_of_sums(table: Sequence[int]) -> list[int]:
    """Sum over all variables but variable 0, a polynomial of degree 1 in it."""
    return line(sum(table[0::2]), sum(table[1::2]))
