"""Compiled loops of the ring arithmetic (spec 6.3): one home, driven by the modules next to it.

q < 2^62 prime, n the degree, w' = floor(w 2^64 / q) the Shoup companion of a constant w < q: then
w y - floor(w' y / 2^64) q lies in [0, 2q) for every 64-bit y. Transforms are Harvey's (2014): values stay below 4q
until a last reduction. Root tables are in bit-reversed order of exponents, merged with the powers of psi, psi^n = -1
(Longa, Naehrig 2016).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers, Words
from proofs.machine.jit import inner, kernel
from proofs.wide import umul128


@inner
def _shoup(y: np.uint64, w: np.uint64, companion: np.uint64, q: np.uint64) -> np.uint64:
    """w y mod q, in [0, 2q), for any 64-bit y."""
    quotient, _ = umul128(companion, y)
    remainder: np.uint64 = w * y - quotient * q
    return remainder


@inner
def _reduce(value: np.uint64, bound: np.uint64) -> np.uint64:
    return value - bound if value >= bound else value


@inner
def _forward(a: Words, roots: Words, companions: Words, q: np.uint64) -> None:
    """Coefficients in [0, q) to evaluations in [0, q), in place (Cooley-Tukey)."""
    n = a.shape[0]
    double = q + q
    half, blocks = n // 2, 1
    while half >= 1:
        for block in range(blocks):
            w, companion = roots[blocks + block], companions[blocks + block]
            for j in range(2 * block * half, 2 * block * half + half):
                x = _reduce(a[j], double)
                y = _shoup(a[j + half], w, companion, q)
                a[j] = x + y
                a[j + half] = x + double - y
        half //= 2
        blocks *= 2
    for j in range(n):
        a[j] = _reduce(_reduce(a[j], double), q)


@inner
def _inverse(a: Words, roots: Words, companions: Words, scale: Words, q: np.uint64) -> None:
    """Evaluations in [0, 2q) to coefficients in [0, q), in place (Gentleman-Sande); scale = (1/n, its companion)."""
    n = a.shape[0]
    double = q + q
    half, blocks = 1, n // 2
    while blocks >= 1:
        for block in range(blocks):
            w, companion = roots[blocks + block], companions[blocks + block]
            for j in range(2 * block * half, 2 * block * half + half):
                x, y = a[j], a[j + half]
                a[j] = _reduce(x + y, double)
                a[j + half] = _shoup(x + double - y, w, companion, q)
        half *= 2
        blocks //= 2
    for j in range(n):
        a[j] = _reduce(_shoup(a[j], scale[0], scale[1], q), q)


@inner
def _product(factor: Words, key: Words, key_companions: Words, q: np.uint64, out: Words) -> None:
    for i in range(out.shape[0]):
        out[i] = _shoup(factor[i], key[i], key_companions[i], q)


@kernel
def transform_rows(rows: Words, roots: Words, companions: Words, q: np.uint64) -> None:
    """Transform every row of `rows` (count, n), coefficients in [0, q), in place."""
    for row in range(rows.shape[0]):
        _forward(rows[row], roots, companions, q)


@kernel
def multiply_rows(
    public: Words,
    key: Words,
    key_companions: Words,
    roots: Words,
    companions: Words,
    scale: Words,
    q: np.uint64,
    out: Words,
) -> None:
    """out[j] = public[j] * key as coefficients in [0, q); public (count, n) and key (n,) are transformed."""
    for row in range(public.shape[0]):
        _product(public[row], key, key_companions, q, out[row])
        _inverse(out[row], roots, companions, scale, q)


@kernel
def add_scaled(
    products: Words, errors: NDArray[np.int8], message: Integers, scale: np.int64, q: np.int64, out: Integers
) -> None:
    """out = products + scale * errors + message mod q, over flat arrays of out's length; |scale e + m| < q."""
    for i in range(out.shape[0]):
        noise = scale * np.int64(errors[i]) + message[i]
        value = np.int64(products[i]) + (noise + q if noise < 0 else noise)
        out[i] = value - q if value >= q else value


@kernel
def count_thresholds(words: Words, thresholds: Words, count: np.int64, least: np.int64, out: NDArray[np.int8]) -> None:
    """out[i] = least + how many of the first `count` thresholds are <= word i.

    words (n, 2) and thresholds (256, 2) are 128-bit, low word first; thresholds ascend, padded with all ones.
    The search takes the same eight steps for every word, and selects by arithmetic.
    """
    for i in range(words.shape[0]):
        low, high = words[i, 0], words[i, 1]
        position = 0
        for power in range(7, -1, -1):
            probe = position + (1 << power) - 1
            bound_low, bound_high = thresholds[probe, 0], thresholds[probe, 1]
            below = (high < bound_high) | ((high == bound_high) & (low < bound_low))
            position += (1 - int(below)) << power
        out[i] = np.int8(least + min(position, int(count)))
