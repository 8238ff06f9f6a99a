"""Sums of ciphertexts modulo q, streamed, without overflow (spec 6.5).

Reductions are few and cheap. `group_size(q)` = floor(2^63 / q) = g residues are added before anything is reduced;
then h q is subtracted, h = floor(g / 2), where the sum has that much, and adding goes on. With `held` counting what a
sum may amount to,

    0 <= sum < held q <= g q <= 2^63

at all times: a sum below h q stays below h q, a larger one, below g q, falls below (g - h) q, so that afterwards held
is g - h >= h; an added residue raises it by 1. As q < 2^62, g >= 2 and h >= 1. Only the end is a division.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse

Residues = NDArray[np.int64]  # (cells,), in [0, q)


def group_size(modulus: int) -> int:
    """How many residues below `modulus` are added in an int64 before it is reduced: floor(2^63 / q)."""
    return 2**63 // modulus


class RunningSum:
    """A sum modulo `modulus`, 2 <= modulus < 2^62 (else Misuse), to which one array after the other is added.

    Holds one array, another while it is reduced.
    """

    def __init__(self, modulus: int) -> None:
        if not 2 <= modulus < 2**62:
            raise Misuse(f"modulus must be at least 2 and below 2^62, not {modulus}")
        self._modulus = modulus
        self._group = group_size(modulus)
        self._total: Residues | None = None
        self._held = 0  # the sum is below this many moduli

    def add(self, residues: Residues) -> None:
        """Add int64 residues in [0, modulus). Raises Misuse for another type or shape, and for one out of range."""
        self._check(residues)
        if self._total is None:
            self._total = residues.copy()
        else:
            if self._held == self._group:
                self._reduce(self._total)
            self._total += residues
        self._held += 1

    def total(self) -> Residues:
        """The sum so far, in [0, modulus), as an array of its own; Misuse if nothing was added."""
        if self._total is None:
            raise Misuse("a sum needs at least one array of residues")
        return self._total % self._modulus

    def _reduce(self, total: Residues) -> None:
        """Subtract h q where there is as much. A smaller sum would wrap to above 2^63, so the minimum leaves it."""
        half = self._group // 2
        words = total.view(np.uint64)
        np.minimum(words, words - np.uint64(half * self._modulus), out=words)
        self._held = self._group - half

    def _check(self, residues: Residues) -> None:
        if residues.dtype != np.int64:
            raise Misuse(f"residues must be int64, not {residues.dtype}")
        if self._total is not None and residues.shape != self._total.shape:
            raise Misuse(f"residues of shape {residues.shape} cannot be added to {self._total.shape}")
        # Read without a sign a negative residue is 2^63 or more: one pass for both bounds.
        if residues.size and residues.view(np.uint64).max() >= self._modulus:
            raise Misuse(f"residues must lie in [0, {self._modulus})")


def add_residues(arrays: Iterable[Residues], modulus: int) -> Residues:
    """The sum modulo `modulus` of int64 arrays of one shape with entries in [0, modulus); `arrays` is read once.

    2 <= modulus < 2^62. Three arrays of memory whatever the number of summands. Raises Misuse for no array, for arrays
    of different shapes or another type, and for an entry out of range.
    """
    total = RunningSum(modulus)
    for array in arrays:
        total.add(array)
    return total.total()
