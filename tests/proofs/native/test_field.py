from __future__ import annotations

import itertools
import random

import numba
import numpy as np
import pytest

from proofs.arrays import Words
from proofs.curve import FIELD, ORDER
from proofs.native import field, scalars
from proofs.native.words import from_words, to_words


@numba.njit(nogil=True)
def field_operations(a, b, results):
    for i in range(len(a)):
        x, y = (a[i, 0], a[i, 1], a[i, 2], a[i, 3]), (b[i, 0], b[i, 1], b[i, 2], b[i, 3])
        values = (field.add(x, y), field.subtract(x, y), field.multiply(x, y), field.square(x), field.negate(x))
        for position in range(5):
            for word in range(4):
                results[position, i, word] = values[position][word]


@numba.njit(nogil=True)
def field_powers(a, results):
    for i in range(len(a)):
        x = (a[i, 0], a[i, 1], a[i, 2], a[i, 3])
        values = (field.invert(x), field.square_root(x))
        for position in range(2):
            for word in range(4):
                results[position, i, word] = values[position][word]


@numba.njit(nogil=True)
def scalar_operations(a, b, results):
    for i in range(len(a)):
        x, y = (a[i, 0], a[i, 1], a[i, 2], a[i, 3]), (b[i, 0], b[i, 1], b[i, 2], b[i, 3])
        values = (scalars.add(x, y), scalars.subtract(x, y), scalars.montgomery_product(x, y))
        for position in range(3):
            for word in range(4):
                results[position, i, word] = values[position][word]


def edges(modulus: int) -> list[int]:
    generator = random.Random(1)
    small = [0, 1, 2, 3, 2**32 + 977, 2**64 - 1, 2**64, 2**128 - 1, 2**192, 2**255, modulus // 2, (modulus + 1) // 2]
    near = [modulus - 1, modulus - 2, modulus - 2**32, modulus - 2**64, modulus - 2**128]
    # Products just below and just above a multiple of 2^256, and near the modulus, take the rare carries.
    carries = [2**256 // 3, 2**256 // 3 + 1, 2**129 + 1, 2**127 - 1, pow(2**128, -1, modulus), pow(3, -1, modulus)]
    return [*small, *near, *carries, *(generator.randrange(modulus) for _ in range(20))]


def pairs(modulus: int) -> tuple[list[int], list[int]]:
    left, right = zip(*itertools.product(edges(modulus), repeat=2), strict=True)
    return list(left), list(right)


def rows(results: Words) -> list[list[int]]:
    return [from_words(result) for result in results]


def test_field_operations_equal_integers() -> None:
    a, b = pairs(FIELD)
    results = np.zeros((5, len(a), 4), np.uint64)
    field_operations(to_words(a), to_words(b), results)
    assert rows(results) == [
        [(x + y) % FIELD for x, y in zip(a, b, strict=True)],
        [(x - y) % FIELD for x, y in zip(a, b, strict=True)],
        [x * y % FIELD for x, y in zip(a, b, strict=True)],
        [x * x % FIELD for x in a],
        [-x % FIELD for x in a],
    ]


def test_products_that_fold_to_just_around_the_modulus() -> None:
    """x y = FIELD - 1, 0 .. 1000 mod FIELD: the folded words lie in [FIELD, 2^256) or carry out of it."""
    a = [random.Random(2).randrange(1, FIELD) for _ in range(300)]
    wanted = [*range(-50, 250)]
    b = [pow(x, -1, FIELD) * w % FIELD for x, w in zip(a, wanted, strict=True)]
    results = np.zeros((5, len(a), 4), np.uint64)
    field_operations(to_words(a), to_words(b), results)
    assert from_words(results[2]) == [w % FIELD for w in wanted]


def test_inverses_and_roots() -> None:
    a = edges(FIELD)
    results = np.zeros((2, len(a), 4), np.uint64)
    field_powers(to_words(a), results)
    inverses, roots = rows(results)
    assert inverses == [pow(x, FIELD - 2, FIELD) for x in a]
    assert roots == [pow(x, (FIELD + 1) // 4, FIELD) for x in a]


def test_scalar_operations_equal_integers() -> None:
    a, b = pairs(ORDER)
    results = np.zeros((3, len(a), 4), np.uint64)
    scalar_operations(to_words(a), to_words(b), results)
    shrink = pow(2**256, -1, ORDER)
    assert rows(results) == [
        [(x + y) % ORDER for x, y in zip(a, b, strict=True)],
        [(x - y) % ORDER for x, y in zip(a, b, strict=True)],
        [x * y * shrink % ORDER for x, y in zip(a, b, strict=True)],
    ]


@pytest.mark.parametrize("width", [4, 5, 6])
def test_words_round_trip(width: int) -> None:
    values = [0, 1, 2**64, 2 ** (64 * width) - 1]
    assert from_words(to_words(values, width)) == values
