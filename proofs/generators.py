"""Generators G_0, G_1, ... and H with no known relation, by hashing to the curve (spec 5.2).

Try and increment: x = SHA-256(tag || index as 8 bytes || counter as 4 bytes, big-endian), the first counter for which
x < FIELD and x^3 + 7 is a square; of the two y the even one. Public input, so variable time is fine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from proofs.curve import FIELD
from proofs.domains import BLINDING_GENERATOR, GENERATOR
from proofs.errors import Misuse

AffinePoint = tuple[int, int]


def candidate(tag: bytes, index: int, counter: int) -> bytes:
    """The x (32 bytes, big-endian) to try after `counter` failures, for engines that lift many at once."""
    return hashlib.sha256(tag + index.to_bytes(8, "big") + counter.to_bytes(4, "big")).digest()


def _hash_to_curve(tag: bytes, index: int) -> AffinePoint:
    counter = 0
    while True:
        x = int.from_bytes(candidate(tag, index, counter), "big")
        if x < FIELD:
            square = (x * x * x + 7) % FIELD
            y = pow(square, (FIELD + 1) // 4, FIELD)
            if y * y % FIELD == square:
                return x, FIELD - y if y % 2 else y
        counter += 1


@lru_cache(maxsize=1 << 17)
def generator(index: int) -> AffinePoint:
    """Affine coordinates (x, y) of G_index, y even; raises Misuse for an index outside [0, 2^63)."""
    if not 0 <= index < 2**63:
        raise Misuse(f"index: expected 0 <= index < 2^63, found {index}")
    return _hash_to_curve(GENERATOR, index)


@lru_cache(maxsize=1)
def blinding_generator() -> AffinePoint:
    """Affine coordinates (x, y) of H, y even."""
    return _hash_to_curve(BLINDING_GENERATOR, 0)
