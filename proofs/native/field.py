"""Arithmetic modulo FIELD = 2^256 - 2^32 - 977, the coordinates of secp256k1.

An element is a tuple of four uint64, least significant first, always reduced below FIELD: one form per value, so
equality is equality of words. Products are folded with 2^256 = FOLD (mod FIELD), which fits 33 bits.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from proofs.curve import FIELD
from proofs.machine.jit import inner
from proofs.wide import add_carry, multiply_add, subtract_borrow, umul128

Word: TypeAlias = np.uint64
Element: TypeAlias = tuple[Word, Word, Word, Word]

ZERO = np.uint64(0)
ONE = np.uint64(1)
FULL = np.uint64(2**64 - 1)
FOLD = np.uint64(2**256 - FIELD)
LOWEST = np.uint64(FIELD % 2**64)  # the other three words of FIELD are FULL
UNIT: Element = (ONE, ZERO, ZERO, ZERO)
NOTHING: Element = (ZERO, ZERO, ZERO, ZERO)


@inner
def _reduced(r0: Word, r1: Word, r2: Word, r3: Word, carry: Word) -> Element:
    """carry * 2^256 + r < 2 * FIELD, minus FIELD where that is needed (it almost never is)."""
    if carry != ZERO or (r3 == FULL and r2 == FULL and r1 == FULL and r0 >= LOWEST):
        c, r0 = add_carry(r0, FOLD, ZERO)
        c, r1 = add_carry(r1, ZERO, c)
        c, r2 = add_carry(r2, ZERO, c)
        c, r3 = add_carry(r3, ZERO, c)
    return r0, r1, r2, r3


@inner
def _folded(r0: Word, r1: Word, r2: Word, r3: Word, r4: Word, r5: Word, r6: Word, r7: Word) -> Element:
    """An eight-word product modulo FIELD."""
    c, r0 = multiply_add(r4, FOLD, r0, ZERO)
    c, r1 = multiply_add(r5, FOLD, r1, c)
    c, r2 = multiply_add(r6, FOLD, r2, c)
    c, r3 = multiply_add(r7, FOLD, r3, c)
    high, low = umul128(c, FOLD)
    c, r0 = add_carry(r0, low, ZERO)
    c, r1 = add_carry(r1, high, c)
    c, r2 = add_carry(r2, ZERO, c)
    c, r3 = add_carry(r3, ZERO, c)
    return _reduced(r0, r1, r2, r3, c)


@inner
def multiply(a: Element, b: Element) -> Element:
    """a b mod FIELD."""
    a0, a1, a2, a3 = a
    b0, b1, b2, b3 = b
    c, r0 = umul128(a0, b0)
    c, r1 = multiply_add(a0, b1, c, ZERO)
    c, r2 = multiply_add(a0, b2, c, ZERO)
    r4, r3 = multiply_add(a0, b3, c, ZERO)
    c, r1 = multiply_add(a1, b0, r1, ZERO)
    c, r2 = multiply_add(a1, b1, r2, c)
    c, r3 = multiply_add(a1, b2, r3, c)
    r5, r4 = multiply_add(a1, b3, r4, c)
    c, r2 = multiply_add(a2, b0, r2, ZERO)
    c, r3 = multiply_add(a2, b1, r3, c)
    c, r4 = multiply_add(a2, b2, r4, c)
    r6, r5 = multiply_add(a2, b3, r5, c)
    c, r3 = multiply_add(a3, b0, r3, ZERO)
    c, r4 = multiply_add(a3, b1, r4, c)
    c, r5 = multiply_add(a3, b2, r5, c)
    r7, r6 = multiply_add(a3, b3, r6, c)
    return _folded(r0, r1, r2, r3, r4, r5, r6, r7)


@inner
def square(a: Element) -> Element:
    """a^2 mod FIELD: the six mixed products once, doubled, and the four squares."""
    a0, a1, a2, a3 = a
    c, r1 = umul128(a0, a1)
    c, r2 = multiply_add(a0, a2, c, ZERO)
    r4, r3 = multiply_add(a0, a3, c, ZERO)
    c, r3 = multiply_add(a1, a2, r3, ZERO)
    r5, r4 = multiply_add(a1, a3, r4, c)
    r6, r5 = multiply_add(a2, a3, r5, ZERO)
    c, r1 = add_carry(r1, r1, ZERO)
    c, r2 = add_carry(r2, r2, c)
    c, r3 = add_carry(r3, r3, c)
    c, r4 = add_carry(r4, r4, c)
    c, r5 = add_carry(r5, r5, c)
    r7, r6 = add_carry(r6, r6, c)
    high, r0 = umul128(a0, a0)
    c, r1 = add_carry(r1, high, ZERO)
    high, low = umul128(a1, a1)
    c, r2 = add_carry(r2, low, c)
    c, r3 = add_carry(r3, high, c)
    high, low = umul128(a2, a2)
    c, r4 = add_carry(r4, low, c)
    c, r5 = add_carry(r5, high, c)
    high, low = umul128(a3, a3)
    c, r6 = add_carry(r6, low, c)
    c, r7 = add_carry(r7, high, c)
    return _folded(r0, r1, r2, r3, r4, r5, r6, r7)


@inner
def add(a: Element, b: Element) -> Element:
    """a + b mod FIELD."""
    c, r0 = add_carry(a[0], b[0], ZERO)
    c, r1 = add_carry(a[1], b[1], c)
    c, r2 = add_carry(a[2], b[2], c)
    c, r3 = add_carry(a[3], b[3], c)
    return _reduced(r0, r1, r2, r3, c)


@inner
def subtract(a: Element, b: Element) -> Element:
    """a - b mod FIELD."""
    c, r0 = subtract_borrow(a[0], b[0], ZERO)
    c, r1 = subtract_borrow(a[1], b[1], c)
    c, r2 = subtract_borrow(a[2], b[2], c)
    c, r3 = subtract_borrow(a[3], b[3], c)
    c, r0 = subtract_borrow(r0, FOLD * c, ZERO)  # + FIELD = - FOLD (mod 2^256)
    c, r1 = subtract_borrow(r1, ZERO, c)
    c, r2 = subtract_borrow(r2, ZERO, c)
    c, r3 = subtract_borrow(r3, ZERO, c)
    return r0, r1, r2, r3


@inner
def is_zero(a: Element) -> bool:
    """Whether a = 0."""
    return bool((a[0] | a[1] | a[2] | a[3]) == ZERO)


@inner
def equal(a: Element, b: Element) -> bool:
    """Whether a = b."""
    return bool(((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3])) == ZERO)


@inner
def below_modulus(a: Element) -> bool:
    """Whether four words are the reduced form of an element."""
    return bool(a[3] != FULL or a[2] != FULL or a[1] != FULL or a[0] < LOWEST)


@inner
def negate(a: Element) -> Element:
    """-a mod FIELD."""
    return subtract(NOTHING, a)


@inner
def _shifted(a: Element, count: np.int64, b: Element) -> Element:
    """a^(2^count) b."""
    for _ in range(count):
        a = square(a)
    return multiply(a, b)


@inner
def _ones(a: Element) -> tuple[Element, Element, Element]:
    """The powers a^(2^n - 1) for n = 2, 22, 223: what the chains for the inverse and the root share.

    The counts are spelled as np.int64 because numba compiles a function anew for every literal argument.

    FIELD = 2^256 - 2^32 - 977 has 223 leading ones, then 0, then 22 ones (libsecp256k1's addition chain).
    """
    x2 = _shifted(a, np.int64(1), a)
    x3 = _shifted(x2, np.int64(1), a)
    x6 = _shifted(x3, np.int64(3), x3)
    x9 = _shifted(x6, np.int64(3), x3)
    x11 = _shifted(x9, np.int64(2), x2)
    x22 = _shifted(x11, np.int64(11), x11)
    x44 = _shifted(x22, np.int64(22), x22)
    x88 = _shifted(x44, np.int64(44), x44)
    x176 = _shifted(x88, np.int64(88), x88)
    x220 = _shifted(x176, np.int64(44), x44)
    return x2, x22, _shifted(x220, np.int64(3), x3)


@inner
def invert(a: Element) -> Element:
    """a^(FIELD - 2): the inverse, and 0 for 0."""
    x2, x22, x223 = _ones(a)
    r = _shifted(x223, np.int64(23), x22)
    r = _shifted(r, np.int64(5), a)
    r = _shifted(r, np.int64(3), x2)
    return _shifted(r, np.int64(2), a)


@inner
def square_root(a: Element) -> Element:
    """a^((FIELD + 1) / 4): a root of a if it has one (FIELD = 3 mod 4); the caller squares and compares."""
    x2, x22, x223 = _ones(a)
    r = _shifted(x223, np.int64(23), x22)
    r = _shifted(r, np.int64(6), x2)
    return square(square(r))
