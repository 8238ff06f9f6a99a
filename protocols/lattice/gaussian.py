"""The noise: a discrete Gaussian by exact cumulative table and 128-bit uniforms (spec 6.4).

sigma = 6.6, truncated to [-86, 86]: what lies outside has probability 2^-128. P(e) is proportional to
exp(-e^2 / (2 sigma^2)) = exp(-25 e^2 / 2178). Threshold x is C(x) = floor(2^128 P(X <= x)), and a uniform 128-bit word
u gives the e with C(e - 1) <= u < C(e): each probability is within 2^-128 of the exact one.

Uniforms are the keystream of AES-256-CTR under a key of 32 secret bytes: word i is block i.
"""

from __future__ import annotations

import decimal
from functools import cache

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse
from proofs.machine.workers import map_chunks
from proofs.randomness import Randomness
from proofs.wiping import wipe
from protocols.lattice.parameters import SIGMA_TENTHS, TAIL

_DIGITS = 80  # decimal digits of working precision: 128 bits are 39, sums of 173 terms lose 3
_KEY_SIZE = 32
_BLOCK = 16
_TABLE_SIZE = 256
_CHUNK = 2**14


@cache
def thresholds() -> tuple[int, ...]:
    """C(-86), ..., C(85): 172 integers below 2^128, strictly ascending."""
    with decimal.localcontext(decimal.Context(prec=_DIGITS)):
        exponent = decimal.Decimal(-100) / (2 * SIGMA_TENTHS**2)
        weights = [(exponent * x * x).exp() for x in range(-TAIL, TAIL + 1)]
        unit = decimal.Decimal(2**128) / sum(weights)
        return tuple(int(unit * sum(weights[: x + 1])) for x in range(2 * TAIL))


def sample(count: int, rand: Randomness) -> NDArray[np.int8]:
    """`count` independent samples in [-86, 86], int8; takes 32 bytes from `rand`."""
    seed = rand(_KEY_SIZE)
    if len(seed) != _KEY_SIZE:
        raise Misuse(f"rand must return the {_KEY_SIZE} bytes asked for, not {len(seed)}")
    samples = np.empty(count, dtype=np.int8)

    def fill(start: int, stop: int) -> None:
        for first in range(start, stop, _CHUNK):
            last = min(first + _CHUNK, stop)
            words = keystream(seed, first, last - first)
            look_up(words, samples[first:last])
            wipe(words)

    map_chunks(fill, count, _CHUNK)
    return samples


def keystream(seed: bytes, first: int, count: int) -> NDArray[np.uint64]:
    """Blocks first .. first + count - 1 of AES-256-CTR (128-bit counter from 0): uint64 (count, 2), low word first."""
    from Crypto.Cipher import AES

    cipher = AES.new(seed, AES.MODE_CTR, nonce=b"", initial_value=first)
    blocks = bytearray(_BLOCK * count)
    cipher.encrypt(bytes(len(blocks)), output=blocks)  # into what can be wiped
    return np.frombuffer(blocks, dtype="<u8").astype(np.uint64, copy=False).reshape(-1, 2)


def look_up(words: NDArray[np.uint64], out: NDArray[np.int8]) -> None:
    """The sample that each 128-bit word (uint64 (n, 2), low word first) stands for, into `out` (n,)."""
    from protocols.lattice.kernels import count_thresholds

    count_thresholds(words, _table(), np.int64(2 * TAIL), np.int64(-TAIL), out)


@cache
def _table() -> NDArray[np.uint64]:
    padded = [*thresholds(), *[2**128 - 1] * (_TABLE_SIZE - 2 * TAIL)]
    return np.array([(value & (2**64 - 1), value >> 64) for value in padded], dtype=np.uint64)
