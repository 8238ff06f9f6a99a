"""Uniform integers from a source of random bytes.

The source is an argument everywhere (`os.urandom` at the edge), so that test vectors are exact. All draws are by
rejection: exactly uniform, with fewer than two draws expected.
"""

from __future__ import annotations

from collections.abc import Callable

from proofs.curve import ORDER
from proofs.errors import Misuse

Randomness = Callable[[int], bytes]


def uniform_below(rand: Randomness, bound: int) -> int:
    """Uniform in [0, bound); raises Misuse unless bound >= 1. Takes bytes big-endian, excess high bits cleared."""
    if bound < 1:
        raise Misuse(f"bound: expected at least 1, found {bound}")
    bits = (bound - 1).bit_length()
    size = (bits + 7) // 8
    while True:
        candidate = int.from_bytes(rand(size), "big") & ((1 << bits) - 1)
        if candidate < bound:
            return candidate


def uniform_scalar(rand: Randomness) -> int:
    """Uniform in [0, ORDER)."""
    return uniform_below(rand, ORDER)


def uniform_scalars(rand: Randomness, count: int) -> list[int]:
    """`count` independent scalars, uniform in [0, ORDER)."""
    return [uniform_below(rand, ORDER) for _ in range(count)]


def symmetric(rand: Randomness, magnitude: int) -> int:
    """Uniform in [-magnitude, magnitude]; raises Misuse for a negative magnitude."""
    return uniform_below(rand, 2 * magnitude + 1) - magnitude
