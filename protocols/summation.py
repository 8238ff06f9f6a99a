"""Sums of ciphertexts modulo q, streamed, without overflow (spec 6.5)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse

Residues = NDArray[np.int64]


def group_size(modulus: int) -> int:
    """How many residues below `modulus` can be added in an int64 before a reduction: floor((2^63 - 1) / (q - 1))."""
    return (2**63 - 1) // (modulus - 1)


def add_residues(arrays: Iterable[Residues], modulus: int) -> Residues:
    """The sum modulo `modulus` of int64 arrays of one shape with entries in [0, modulus); `arrays` is read once.

    2 <= modulus < 2^62. Two arrays of memory whatever the number of summands. Raises Misuse for no array, for arrays
    of different shapes or another type, and for an entry out of range.
    """
    if not 2 <= modulus < 2**62:
        raise Misuse(f"modulus must be at least 2 and below 2^62, not {modulus}")
    total: Residues | None = None
    held = 0  # how many residues `total` may be the plain sum of
    for array in arrays:
        _check_residues(array, modulus, total)
        if total is None:
            total, held = array.copy(), 1
            continue
        if held == group_size(modulus):
            total %= modulus
            held = 1
        total += array
        held += 1
    if total is None:
        raise Misuse("a sum needs at least one array of residues")
    total %= modulus
    return total


def _check_residues(array: Residues, modulus: int, total: Residues | None) -> None:
    if array.dtype != np.int64:
        raise Misuse(f"residues must be int64, not {array.dtype}")
    if total is not None and array.shape != total.shape:
        raise Misuse(f"residues of shape {array.shape} cannot be added to {total.shape}")
    if array.size and not (array.min() >= 0 and array.max() < modulus):
        raise Misuse(f"residues must lie in [0, {modulus})")
