"""Combinations of residues modulo a word-sized odd q by small weights (spec 5, encryption relation).

Weights are below 2^52 and residues below q < 2^62, so 2^13 products fit 128 bits: reductions are rare.
"""

from __future__ import annotations

import numpy as np

from proofs.arrays import Integers, Words
from proofs.engine import Table
from proofs.machine.jit import inner, kernel
from proofs.machine.workers import map_chunks
from proofs.native.field import ZERO, Word
from proofs.native.narrow import LARGEST_MODULUS, cut, narrow_combined, narrow_correlations, narrow_products
from proofs.native.reduction import Reducer, reducer, residue
from proofs.native.words import from_words
from proofs.wide import add_carry, multiply_add

WEIGHT_BITS, MODULUS_BITS = 52, 62
_TERMS = 2**13  # products summed in 128 bits
_CHUNKS = 256  # laid out at once: bounds the memory
_LINE = 8  # coefficients moved at once: a cache line of an element
_AT_ONCE = 4  # sums formed together, so that the carries of one do not wait for another's


@kernel
def cell_products(residues: Integers, row_weights: Integers, column_weights: Integers) -> Words:
    """(S, 4): the exact sums over cells of row_weights[s, r] column_weights[s, c] residues[r, c].

    All non-negative, weights (S, rows), (S, columns) below 2^52, residues below 2^62, up to 2^13 products a flush.
    """
    rows, columns = residues.shape
    sums = np.zeros((len(row_weights), 4), np.uint64)
    for row in range(rows):
        for s in range(len(row_weights)):
            weight = np.uint64(row_weights[s, row])
            for first in range(0, columns, _TERMS):
                high, low = ZERO, ZERO
                for column in range(first, min(columns, first + _TERMS)):
                    c, low = multiply_add(
                        np.uint64(residues[row, column]), np.uint64(column_weights[s, column]), low, ZERO
                    )
                    high += c
                c, sums[s, 0] = multiply_add(weight, low, sums[s, 0], ZERO)
                c, sums[s, 1] = multiply_add(weight, high, sums[s, 1], c)
                c, sums[s, 2] = add_carry(sums[s, 2], c, ZERO)
                sums[s, 3] += c
    return sums


@kernel
def lay_out(elements: Integers, laid_out: Integers, first: int, stop: int) -> None:
    """laid_out[m] = elements[:, m] for the coefficients m = first .. stop - 1: each one's terms are neighbours."""
    for start in range(first, stop, _LINE):
        for chunk in range(len(elements)):
            for m in range(start, min(stop, start + _LINE)):
                laid_out[m, chunk] = elements[chunk, m]


@inner
def _four_sums(
    laid_out: Integers, weights: Integers, constants: Reducer, place: int, step: int
) -> tuple[Word, Word, Word, Word]:
    """Modulo q, for each of four t: the sum over r, j of weights[t, r, j] laid_out[place + r step, j]."""
    h0, l0, h1, l1, h2, l2, h3, l3 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for r in range(weights.shape[1]):
        for j in range(weights.shape[2]):
            value = np.uint64(laid_out[place + r * step, j])
            c, l0 = multiply_add(value, np.uint64(weights[0, r, j]), l0, ZERO)
            h0 += c
            c, l1 = multiply_add(value, np.uint64(weights[1, r, j]), l1, ZERO)
            h1 += c
            c, l2 = multiply_add(value, np.uint64(weights[2, r, j]), l2, ZERO)
            h2 += c
            c, l3 = multiply_add(value, np.uint64(weights[3, r, j]), l3, ZERO)
            h3 += c
    return (
        residue(h0, l0, constants),
        residue(h1, l1, constants),
        residue(h2, l2, constants),
        residue(h3, l3, constants),
    )


@kernel
def combine_elements(laid_out: Integers, weights: Integers, constants: Reducer, first: int, stop: int) -> Integers:
    """(T, stop - first): sum over rows r, chunks j of weights[t, r, j] E_j[m + r step] modulo q, m = first .. stop - 1.

    laid_out (N, chunks) in [0, q): coefficient m of element j; what is past N is the negative of what is N before.
    weights (T, N / step, chunks) in [0, 2^52), at most 2^13 of each t; T a multiple of _AT_ONCE.
    """
    size, in_chunk = len(laid_out), weights.shape[1]
    step, q = size // in_chunk, constants[0]
    combined = np.empty((len(weights), stop - first), np.int64)
    for m in range(first, stop):
        kept = (size - m + step - 1) // step
        for t in range(0, len(weights), _AT_ONCE):
            own = weights[t : t + _AT_ONCE]
            kept_sums = _four_sums(laid_out, own[:, :kept], constants, m, step)
            moved_sums = _four_sums(laid_out, own[:, kept:], constants, m + kept * step - size, step)
            for i in range(_AT_ONCE):
                value = kept_sums[i] + q - moved_sums[i]
                combined[t + i, m - first] = np.int64(value - q if value >= q else value)
    return combined


@kernel
def correlate(extended: Integers, weights: Integers, constants: Reducer, first: int, stop: int) -> Integers:
    """(stop - first,): for i = first .. stop - 1 the sum over c of weights[c] extended[N - i + c], modulo q.

    extended (N + columns,) in [0, q), weights (columns,) in [0, 2^52), columns at most 2^13; stop - first a multiple
    of _AT_ONCE.
    """
    columns = len(weights)
    size = len(extended) - columns
    result = np.empty(stop - first, np.int64)
    for i in range(first, stop, _AT_ONCE):
        place = size - i
        h0, l0, h1, l1, h2, l2, h3, l3 = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
        for column in range(columns):
            weight = np.uint64(weights[column])
            c, l0 = multiply_add(weight, np.uint64(extended[place + column]), l0, ZERO)
            h0 += c
            c, l1 = multiply_add(weight, np.uint64(extended[place + column - 1]), l1, ZERO)
            h1 += c
            c, l2 = multiply_add(weight, np.uint64(extended[place + column - 2]), l2, ZERO)
            h2 += c
            c, l3 = multiply_add(weight, np.uint64(extended[place + column - 3]), l3, ZERO)
            h3 += c
        result[i - first] = np.int64(residue(h0, l0, constants))
        result[i - first + 1] = np.int64(residue(h1, l1, constants))
        result[i - first + 2] = np.int64(residue(h2, l2, constants))
        result[i - first + 3] = np.int64(residue(h3, l3, constants))
    return result


def residue_combinations(residues: Table, row_weights: Table, column_weights: Table, modulus: int) -> list[int]:
    """See `Engine`; arguments checked and contiguous."""

    limbs, bits = cut(column_weights, modulus) if modulus <= LARGEST_MODULUS else (None, 0)

    def part(start: int, stop: int) -> list[int]:
        own, rows = residues[start:stop], np.ascontiguousarray(row_weights[:, start:stop])
        if limbs is not None:
            return from_words(narrow_products(own, rows, limbs, bits))
        return from_words(cell_products(own, rows, column_weights))

    parts = map_chunks(part, len(residues), 16)
    return [sum(values) % modulus for values in zip(*parts, strict=True)]


def adjoint_combinations(elements: Table, row_weights: Table, column_weights: Table, modulus: int) -> Table:
    """See `Engine`; arguments checked and contiguous.

    With Q the sum of the elements combined by row weights, each moved to where its row begins, entry i is
    sum_c column_weights[c] Q[c - i], where Q[t - N] = -Q[t].
    """
    count, columns = column_weights.shape
    size = elements.shape[1]
    constants = reducer(modulus)
    moved = _row_combinations(elements, row_weights, columns, constants)
    total = np.zeros((count, size), np.int64)
    for part, sums in enumerate(moved):
        extended = np.concatenate([-sums % modulus, sums], axis=1)
        weights = np.ascontiguousarray(column_weights[:, part * size : (part + 1) * size])
        total = (total + _correlations(extended, weights, constants)) % modulus
    return total


def _row_combinations(elements: Table, row_weights: Table, columns: int, constants: Reducer) -> list[Table]:
    """Q (S, N), one for each piece of N columns that a row is made of: several where columns > N."""
    size = elements.shape[1]
    if columns > size:
        pieces = columns // size
        each = [np.ascontiguousarray(elements[part::pieces]) for part in range(pieces)]
        return [_combined(own, row_weights, size, constants) for own in each]
    return [_combined(elements, row_weights, columns, constants)]


def _combined(elements: Table, row_weights: Table, step: int, constants: Reducer) -> Table:
    """(S, N): the rows' parts of N / step elements' coefficients, each moved to where its row begins, weighted."""
    chunks, size = elements.shape
    in_chunk, count = size // step, len(row_weights)
    lanes = 1 if _is_narrow(constants) else _AT_ONCE
    padded = np.zeros((count + -count % lanes, chunks * in_chunk), np.int64)
    padded[:count, : row_weights.shape[1]] = row_weights
    weights = padded.reshape(-1, chunks, in_chunk).transpose(0, 2, 1)
    total = np.zeros((count, size), np.int64)
    most = min(_CHUNKS, max(1, _TERMS // in_chunk))
    for start in range(0, chunks, most):
        block = np.ascontiguousarray(weights[:, :, start : start + most])
        total = (total + _combined_block(elements[start : start + most], block, constants)[:count]) % int(constants[0])
    return total


def _is_narrow(constants: Reducer) -> bool:
    return int(constants[0]) <= LARGEST_MODULUS


def _combined_block(elements: Table, weights: Table, constants: Reducer) -> Table:
    if _is_narrow(constants):
        return narrow_combined(elements, weights, constants)
    chunks, size = elements.shape
    laid_out = np.empty((size, chunks), np.int64)
    map_chunks(lambda start, stop: lay_out(elements, laid_out, start, stop), size, 8 * _LINE)
    parts = map_chunks(lambda start, stop: combine_elements(laid_out, weights, constants, start, stop), size, 8 * _LINE)
    return np.concatenate(parts, axis=1)


def _correlations(extended: Table, weights: Table, constants: Reducer) -> Table:
    """(S, N); extended (S, 2 N): -Q, then Q."""
    if _is_narrow(constants):
        return narrow_correlations(extended, weights, constants)
    size, columns = extended.shape[1] // 2, weights.shape[1]

    def part(start: int, stop: int) -> Table:
        rows = [
            correlate(np.ascontiguousarray(row[: size + columns]), own, constants, start * _AT_ONCE, stop * _AT_ONCE)
            for row, own in zip(extended, weights, strict=True)
        ]
        return np.stack(rows)

    return np.concatenate(map_chunks(part, size // _AT_ONCE, 64), axis=1)
