"""What the ring of the proof of encryption may be, at both ends of every range, and what its numbers follow from."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from proofs.encryption import (
    EncryptionParameters,
    EncryptionStatement,
    RingElements,
    _is_prime,
    array_digest,
    check_statement,
)
from proofs.errors import Malformed, Misuse
from tests.proofs.arguments import MODULUS

SMALL = EncryptionParameters(4, MODULUS, 2)


@pytest.mark.parametrize(
    "fields",
    [
        (4, MODULUS, 2),
        (4096, MODULUS, 2),
        (16, 2**39 + 23, 2),  # the smallest and the largest prime of these sizes
        (16, 2**62 - 57, 2),
        (16, MODULUS, 2, 1),
        (16, MODULUS, 2, 1024),
    ],
)
def test_ends_of_every_range(fields: tuple[int, ...]) -> None:
    EncryptionParameters(*fields)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ((2, MODULUS, 2), "degree"),
        ((16, 2**39 - 7, 2), "modulus"),
        ((16, 2**62 + 135, 2), "modulus"),
        ((16, MODULUS, 2, 0), "noise bound"),
        ((16, MODULUS, 2, 1025), "noise bound"),
    ],
)
def test_beyond_the_ends(fields: tuple[int, ...], name: str) -> None:
    with pytest.raises(Misuse, match=name):
        EncryptionParameters(*fields)


@pytest.mark.parametrize(
    ("modulus", "weight_bits", "combinations"),
    [
        (2**39 + 23, 39, 4),
        (0xFFFFFFFFC001, 47, 4),
        (2**50 + 55, 50, 4),  # 3 * 49 < 149 <= 3 * 50
        (2**51 + 65, 51, 3),
        (2**52 + 21, 52, 3),
        (2**62 - 57, 52, 3),
    ],
)
def test_weights_and_combinations(modulus: int, weight_bits: int, combinations: int) -> None:
    lattice = EncryptionParameters(4096, modulus, 2)
    assert (lattice.weight_bits, lattice.combinations) == (weight_bits, combinations)


def test_numbers_that_follow_from_the_degree() -> None:
    assert [EncryptionParameters(degree, MODULUS, 2).key_scalars for degree in (4, 16, 4096)] == [1, 2, 410]
    assert [SMALL.ring_elements(cells) for cells in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]


def test_primes_by_trial_division() -> None:
    for n in range(38, 3000):
        assert _is_prime(n) == all(n % divisor for divisor in range(2, math.isqrt(n) + 1)), n


@pytest.mark.parametrize(
    "composite",
    [
        3_825_123_056_546_413_051,  # passes for every base up to 31
        341_550_071_728_321,  # for those up to 19
        3_474_749_660_383,
        2_152_302_898_747,
        1_436_697_831_295_441,  # a Carmichael number
        6151 * 12301 * 18451,  # one where half of the exponent already gives 1, for every base
        (2**30 + 3) ** 2,
    ],
)
def test_pseudoprimes_are_no_moduli(composite: int) -> None:
    assert composite % 2 == 1
    with pytest.raises(Misuse, match="modulus"):
        EncryptionParameters(16, composite, 2)


def statement(
    elements: tuple[int, int] = (2, 4), ciphertext: tuple[int, ...] | None = (0,) * 8, hashed: int = 32, share: int = 33
) -> EncryptionStatement:
    residues = None if ciphertext is None else np.array(ciphertext, dtype=np.int64)
    return EncryptionStatement(RingElements(np.zeros(elements, dtype=np.int64)), residues, bytes(hashed), bytes(share))


def test_statements_in_form() -> None:
    check_statement(SMALL, 8, statement())
    check_statement(SMALL, 8, statement(ciphertext=None))
    check_statement(SMALL, 8, statement(ciphertext=(MODULUS - 1,) * 8))
    check_statement(SMALL, 7, statement(ciphertext=(0,) * 7))


@pytest.mark.parametrize(
    "ciphertext",
    [(), (0,) * 7, (0,) * 9, (*[0] * 7, MODULUS), (*[0] * 7, -1), (2**63 - 1, *[0] * 7), (-(2**63), *[0] * 7)],
)
def test_ciphertexts_out_of_form(ciphertext: tuple[int, ...]) -> None:
    with pytest.raises(Malformed) as excinfo:
        check_statement(SMALL, 8, statement(ciphertext=ciphertext))
    assert excinfo.value.where == "ciphertext"


@pytest.mark.parametrize("share", [0, 32, 34])
def test_share_commitments_of_another_length(share: int) -> None:
    with pytest.raises(Malformed) as excinfo:
        check_statement(SMALL, 8, statement(share=share))
    assert excinfo.value.where == "share-commitment-length"


@pytest.mark.parametrize("shape", [(1, 4), (3, 4), (2, 8), (4, 2)])
def test_elements_of_another_shape(shape: tuple[int, int]) -> None:
    with pytest.raises(Misuse, match="ring elements"):
        check_statement(SMALL, 8, statement(elements=shape))


def test_elements_and_ciphertext_of_another_type() -> None:
    """Equal numbers, but not the integers that the engines read."""
    good = statement()
    assert good.ciphertext is not None
    narrow: Any = good.elements.coefficients.astype(np.int32)
    with pytest.raises(Misuse, match="ring elements"):
        check_statement(SMALL, 8, replace(good, elements=RingElements(narrow)))
    narrow = good.ciphertext.astype(np.int32)
    with pytest.raises(Malformed, match="ciphertext"):
        check_statement(SMALL, 8, replace(good, ciphertext=narrow))


@pytest.mark.parametrize("hashed", [0, 31, 33])
def test_hashes_of_another_length(hashed: int) -> None:
    with pytest.raises(Misuse, match="ciphertext hash"):
        check_statement(SMALL, 8, statement(ciphertext=None, hashed=hashed))


def test_digest_is_of_the_numbers() -> None:
    """Row after row, little-endian, however the array lies in memory."""
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    expected = hashlib.sha256(b"".join(number.to_bytes(8, "little") for number in range(6))).digest()
    assert array_digest(array) == array_digest(np.asfortranarray(array)) == expected
