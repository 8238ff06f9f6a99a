"""Combinations of residues modulo q below 2^32, in loops of vector instructions (spec 5, encryption relation).

Weights are cut into limbs, so short that a sum of 2^13 products fits 64 bits; then the sums of limbs are put together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers, Words
from proofs.engine import Table
from proofs.machine.jit import inner, kernel
from proofs.machine.workers import map_chunks
from proofs.native.field import ZERO, Word
from proofs.native.reduction import Reducer, residue
from proofs.wide import add_carry, multiply_add

LARGEST_MODULUS = 2**32
TERMS_BITS = 13  # of the number of products in a sum
_TERMS = 2**TERMS_BITS
_UNROLLED = 8  # windows added at once
_TILE = 128  # sums formed together: what they are formed of stays in the second-level cache
_SUMS = 2**18  # formed at once: bounds the memory
_LEAST = 2**18  # products that are worth a worker
_HALF = np.uint64(2**32 - 1)  # says that a factor has 32 bits: such products are single vector instructions

Limbs = NDArray[np.uint64]


def cut(weights: Table, modulus: int) -> tuple[Limbs, int]:
    """(.., limbs, n) from weights (.., n), least significant first, and the bits of a limb, 19 to 32."""
    bits = min(32, 64 - TERMS_BITS - (modulus - 1).bit_length())
    count = max(1, -(-int(weights.max()).bit_length() // bits))
    limbs = [weights >> (bits * limb) & (1 << bits) - 1 for limb in range(count)]
    return np.ascontiguousarray(np.stack(limbs, axis=-2), dtype=np.uint64), bits


@inner
def _add_windows(values: Integers, weights: Words, place: int, stride: int, sums: Words) -> None:
    """sums[m] = sum_j weights[j] values[place + j stride + m]."""
    terms, width = len(weights), len(sums)
    sums[:] = ZERO
    whole = terms - terms % _UNROLLED
    for j in range(0, whole, _UNROLLED):
        w0, w1, w2, w3 = weights[j] & _HALF, weights[j + 1] & _HALF, weights[j + 2] & _HALF, weights[j + 3] & _HALF
        w4, w5, w6, w7 = weights[j + 4] & _HALF, weights[j + 5] & _HALF, weights[j + 6] & _HALF, weights[j + 7] & _HALF
        first = place + j * stride
        v0, v1 = values[first : first + width], values[first + stride : first + stride + width]
        first += 2 * stride
        v2, v3 = values[first : first + width], values[first + stride : first + stride + width]
        first += 2 * stride
        v4, v5 = values[first : first + width], values[first + stride : first + stride + width]
        first += 2 * stride
        v6, v7 = values[first : first + width], values[first + stride : first + stride + width]
        for m in range(width):
            left = (np.uint64(v0[m]) & _HALF) * w0 + (np.uint64(v1[m]) & _HALF) * w1
            left += (np.uint64(v2[m]) & _HALF) * w2 + (np.uint64(v3[m]) & _HALF) * w3
            right = (np.uint64(v4[m]) & _HALF) * w4 + (np.uint64(v5[m]) & _HALF) * w5
            right += (np.uint64(v6[m]) & _HALF) * w6 + (np.uint64(v7[m]) & _HALF) * w7
            sums[m] += left + right
    for j in range(whole, terms):
        weight, own = weights[j] & _HALF, values[place + j * stride : place + j * stride + width]
        for m in range(width):
            sums[m] += (np.uint64(own[m]) & _HALF) * weight


@inner
def _shifted_in(high: Word, low: Word, bits: Word, limb: Word) -> tuple[Word, Word]:
    """(high 2^64 + low) 2^bits + limb, for bits 1 to 63."""
    high = high << bits | low >> (np.uint64(64) - bits)
    c, low = add_carry(low << bits, limb, ZERO)
    return high + c, low


@kernel
def window_sums(
    values: Integers, weights: Limbs, stride: int, bits: int, constants: Reducer, first: int, stop: int
) -> Integers:
    """(T, stop - first): sum over j of weights[t, j] values[m + j stride] modulo q, for m = first .. stop - 1.

    values (n,) in [0, q), q at most 2^32; weights (T, limbs, terms) as `cut` gives them, at most 2^13 terms, and
    stop + (terms - 1) stride at most n.
    """
    count, limbs, _ = weights.shape
    found = np.empty((count, stop - first), np.int64)
    sums = np.empty((limbs, _TILE), np.uint64)
    for start in range(first, stop, _TILE):
        width = min(_TILE, stop - start)
        for t in range(count):
            for limb in range(limbs):
                _add_windows(values, weights[t, limb], start, stride, sums[limb, :width])
            for m in range(width):
                high, low = ZERO, sums[limbs - 1, m]
                for limb in range(limbs - 2, -1, -1):
                    high, low = _shifted_in(high, low, np.uint64(bits), sums[limb, m])
                found[t, start - first + m] = np.int64(residue(high, low, constants))
    return found


@inner
def _dot(values: Integers, weights: Words) -> Word:
    """The sum of all products."""
    total = ZERO
    for i in range(len(values)):
        total += (np.uint64(values[i]) & _HALF) * (weights[i] & _HALF)
    return total


@kernel
def narrow_products(residues: Integers, row_weights: Integers, column_weights: Limbs, bits: int) -> Words:
    """(S, 4): the exact sums over cells of row_weights[s, r] column_weights[s, c] residues[r, c].

    As `cell_products`, for residues below 2^32; column_weights (S, limbs, columns) as `cut` gives them.
    """
    rows, columns = residues.shape
    count, limbs, _ = column_weights.shape
    sums = np.zeros((count, 4), np.uint64)
    for row in range(rows):
        for s in range(count):
            weight, own = np.uint64(row_weights[s, row]), sums[s]
            for first in range(0, columns, _TERMS):
                stop = min(columns, first + _TERMS)
                high, low = ZERO, ZERO
                for limb in range(limbs - 1, -1, -1):
                    part = _dot(residues[row, first:stop], column_weights[s, limb, first:stop])
                    high, low = _shifted_in(high, low, np.uint64(bits), part)
                c, own[0] = multiply_add(weight, low, own[0], ZERO)
                c, own[1] = multiply_add(weight, high, own[1], c)
                c, own[2] = add_carry(own[2], c, ZERO)
                own[3] += c
    return sums


def narrow_combined(elements: Table, weights: Table, constants: Reducer) -> Table:
    """(T, N): what `combine_elements` gives, from elements (chunks, N) as they are; chunks at most 2^13."""
    size, (count, in_chunk, _) = elements.shape[1], weights.shape
    step, most = size // in_chunk, max(1, _SUMS // (count * size))
    combined = np.zeros((count, size), np.int64)
    for start in range(0, in_chunk, most):
        block = weights[:, start : start + most]
        if not block.any():  # behind the last row
            continue
        sums = _narrow_sums(elements.reshape(-1), block.reshape(-1, block.shape[2]), size, constants, (0, size))
        for row, own in enumerate(sums.reshape(count, -1, size).swapaxes(0, 1), start):
            combined[:, : size - row * step] += own[:, row * step :]
            combined[:, size - row * step :] -= own[:, : row * step]
    return combined % np.int64(constants[0])


def narrow_correlations(extended: Table, weights: Table, constants: Reducer) -> Table:
    """(S, N): what `correlate` gives of each list; extended (S, 2 N), weights (S, columns), at most 2^13 columns."""
    size = extended.shape[1] // 2
    rows = [
        _narrow_sums(values, own[None], 1, constants, (1, size + 1))[0]
        for values, own in zip(extended, weights, strict=True)
    ]
    return np.ascontiguousarray(np.stack(rows)[:, ::-1])


def _narrow_sums(values: Integers, weights: Table, stride: int, constants: Reducer, bounds: tuple[int, int]) -> Table:
    """`window_sums` of weights (T, terms), on the workers."""
    (first, stop), (limbs, bits) = bounds, cut(weights, int(constants[0]))
    least = max(_TILE, _LEAST // limbs.size)
    parts = map_chunks(
        lambda a, b: window_sums(values, limbs, stride, bits, constants, first + a, first + b), stop - first, least
    )
    return np.concatenate(parts, axis=1)
