"""Deterministic bytes where the product takes `os.urandom`: a test's randomness is its seed."""

from __future__ import annotations

import hashlib

from proofs.randomness import Randomness


def seeded(seed: bytes | str | int) -> Randomness:
    """A source of randomness determined by `seed`: block i is SHAKE-256(seed || i as 8 bytes), cut to what is asked."""
    prefix = seed if isinstance(seed, bytes) else str(seed).encode()
    calls = 0

    def draw(size: int) -> bytes:
        nonlocal calls
        calls += 1
        return hashlib.shake_256(prefix + calls.to_bytes(8, "big")).digest(size)

    return draw
