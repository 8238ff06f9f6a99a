"""The compiled ring arithmetic against schoolbook products in plain integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.lattice import reference
from protocols.lattice.parameters import MODULI
from protocols.lattice.transform import multiply, transform


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_products_equal_the_reference(data: st.DataObject) -> None:
    modulus = data.draw(st.sampled_from(MODULI))
    degree = data.draw(st.sampled_from([4, 8, 32]))
    edge = st.sampled_from([0, 1, modulus - 1, modulus // 2, modulus // 2 + 1])
    residues = st.lists(st.integers(0, modulus - 1) | edge, min_size=degree, max_size=degree)
    rows = data.draw(st.lists(residues, min_size=1, max_size=3))
    key = data.draw(st.lists(st.integers(-(2**23), 2**23), min_size=degree, max_size=degree))
    public = transform(np.array(rows, dtype=np.uint64), modulus)
    products = multiply(public, np.array(key, dtype=np.int64), modulus)
    assert products.tolist() == [reference.multiply(row, key, modulus) for row in rows]


@pytest.mark.parametrize("modulus", MODULI)
def test_full_degree_with_largest_residues(modulus: int) -> None:
    """X^4095 (q - 1)-constant rows and a sparse key: every coefficient is a short sum, and wraps are frequent."""
    degree = 4096
    row = np.full(degree, modulus - 1, dtype=np.uint64)
    key = np.zeros(degree, dtype=np.int64)
    key[[0, 1, degree - 1]] = [-86, 86, 1]
    product = multiply(transform(row.reshape(1, -1).copy(), modulus), key, modulus)
    assert product[0].tolist() == reference.multiply(key.tolist(), row.tolist(), modulus)


@pytest.mark.parametrize("modulus", MODULI)
def test_moduli_are_the_largest_primes_of_their_size(modulus: int) -> None:
    assert is_prime(modulus)
    assert modulus % 8192 == 1
    assert modulus.bit_length() == 40 + 2 * MODULI.index(modulus)
    assert not any(is_prime(q) for q in range(modulus + 8192, 2 ** modulus.bit_length(), 8192))


def is_prime(number: int) -> bool:
    """Miller-Rabin to the first twelve primes: exact below 2^64 (Sorenson, Webster 2015)."""
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for base in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37):
        power = pow(base, odd, number)
        if power not in (1, number - 1) and all((power := power * power % number) != number - 1 for _ in range(twos)):
            return False
    return True
