"""The public ring elements a_j of a round, expanded from its seed (spec 6.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from proofs.domains import PUBLIC_ELEMENT
from proofs.encryption import RingElements
from proofs.errors import Misuse
from protocols.hashes import shake_128
from protocols.lattice.parameters import LatticeParameters
from protocols.lattice.transform import transform

SEED_SIZE = 32
_SPARE_WORDS = 16
_CACHED_ROUNDS = 2  # of 16 bytes a coordinate each


@dataclass(frozen=True, eq=False)
class PublicElements:
    """a_0, a_1, ... for `cells` coefficients, read-only: as coefficients, and transformed (uint64, same shape)."""

    parameters: LatticeParameters
    cells: int
    elements: RingElements
    transforms: NDArray[np.uint64]


@lru_cache(maxsize=_CACHED_ROUNDS)
def expand(parameters: LatticeParameters, seed: bytes, cells: int) -> PublicElements:
    """The ring elements that encrypt `cells` >= 1 coefficients under a 32-byte seed; Misuse for other arguments."""
    if len(seed) != SEED_SIZE:
        raise Misuse(f"a round's seed is {SEED_SIZE} bytes, not {len(seed)}")
    if cells < 1:
        raise Misuse(f"cells must be at least 1, not {cells}")
    rows = np.stack([ring_element(parameters, seed, j) for j in range(parameters.ring_elements(cells))])
    transforms = transform(rows.copy(), parameters.modulus)
    for array in (rows, transforms):
        array.flags.writeable = False
    return PublicElements(parameters, cells, RingElements(rows.view(np.int64)), transforms)


def ring_element(parameters: LatticeParameters, seed: bytes, index: int) -> NDArray[np.uint64]:
    """Coefficients of a_index, uint64 (degree,), uniform in [0, q).

    SHAKE128(tag || seed || index as 8 bytes, big-endian) is read as 64-bit little-endian words; each keeps its low
    bits(q) bits, those >= q are skipped, and the first N that are left are the coefficients.
    """
    stream = shake_128(PUBLIC_ELEMENT + seed + index.to_bytes(8, "big"))
    wanted = parameters.degree + _SPARE_WORDS
    while True:
        words = np.frombuffer(stream.digest(8 * wanted), dtype="<u8") & np.uint64(
            2 ** parameters.modulus.bit_length() - 1
        )
        accepted = words[words < parameters.modulus]
        if len(accepted) >= parameters.degree:
            return accepted[: parameters.degree]
        wanted *= 2
