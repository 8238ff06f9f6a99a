"""Reduction of 128-bit integers modulo a word-sized odd q, by multiplications (spec 5, encryption relation)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from proofs.machine.jit import inner
from proofs.native.field import Word
from proofs.wide import umul128

Reducer: TypeAlias = NDArray[np.uint64]


def reducer(modulus: int) -> Reducer:
    """(4,): q, floor(2^64 / q), 2^64 mod q, floor(2^64 (2^64 mod q) / q): what `residue` needs."""
    fold = 2**64 % modulus
    return np.array([modulus, 2**64 // modulus, fold, 2**64 * fold // modulus], np.uint64)


@inner
def residue(high: Word, low: Word, constants: Reducer) -> Word:
    """high 2^64 + low modulo q < 2^62: quotients estimated by high products are at most one too small."""
    q, reciprocal, fold, companion = constants[0], constants[1], constants[2], constants[3]
    estimate, _ = umul128(high, companion)  # Shoup's product, for any high below 2^64
    upper = high * fold - estimate * q
    estimate, _ = umul128(low, reciprocal)
    value: Word = upper + (low - estimate * q)  # below 4 q
    if value >= q + q:
        value -= q + q
    if value >= q:
        value -= q
    return value
