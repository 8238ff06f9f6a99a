"""Python integers and encoded points to arrays of 64-bit words, least significant first, and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import SupportsInt

import numpy as np

from proofs.arrays import Words
from proofs.curve import ORDER, POINT_SIZE
from proofs.errors import Misuse


def to_words(values: Iterable[int], width: int = 4) -> Words:
    """(n, width): integers in [0, 2^(64 width))."""
    data = b"".join([value.to_bytes(8 * width, "little") for value in values])
    return np.frombuffer(data, "<u8").reshape(-1, width).astype(np.uint64)


def from_words(words: Words) -> list[int]:
    """One integer per row of an (n, width) array."""
    size = 8 * words.shape[1]
    data = words.astype("<u8").tobytes()
    return [int.from_bytes(data[start : start + size], "little") for start in range(0, len(data), size)]


def integer(words: Iterable[SupportsInt]) -> int:
    """The integer that words spell, least significant first."""
    return sum(int(word) << (64 * position) for position, word in enumerate(words))


def reduced(words: Words) -> list[int]:
    """One scalar per row of an (n, width) array of exact sums."""
    return [value % ORDER for value in from_words(words)]


def check_scalars(name: str, values: Sequence[int], count: int | None = None) -> None:
    """Raises Misuse unless there are `count` integers (any number for None), all in [0, ORDER)."""
    if count is not None and len(values) != count:
        raise Misuse(f"{name}: expected {count} scalars, found {len(values)}")
    if len(values) and (min(values) < 0 or max(values) >= ORDER):
        raise Misuse(f"{name}: expected scalars in [0, ORDER)")


def encode_points(points: Words) -> bytes:
    """33 bytes each (SEC 1, 2.3.3, compressed); raises Misuse for the identity."""
    if not points[:, 4:].any(axis=1).all():
        raise Misuse("the identity has no encoding: a commitment needs a nonzero opening")
    encoded = np.empty((len(points), POINT_SIZE), np.uint8)
    encoded[:, 0] = 2 + (points[:, 4] & np.uint64(1))
    encoded[:, 1:] = points[:, 3::-1].astype(">u8").view(np.uint8)
    return encoded.tobytes()
