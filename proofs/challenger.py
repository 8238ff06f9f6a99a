"""Fiat-Shamir challenges from cSHAKE256 (NIST SP 800-185), with unambiguous framing (spec 5.4).

The state is 64 bytes. Every operation hashes

    state || kind (1 byte) || length of label (8 bytes) || label || length of data (8 bytes) || data

under the customisation string `tag`; the first 64 bytes of output are the next state, what a challenge needs follows.
Kind 0 absorbs; the others squeeze, and their data is the number of elements wanted. So a transcript determines its
sequence of operations, and each challenge depends on everything before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from Crypto.Hash import cSHAKE256
from numpy.typing import NDArray

from proofs.curve import ORDER
from proofs.errors import Misuse

_STATE_SIZE: Final = 64
_WIDE_SIZE: Final = 64  # 512 bits reduced modulo ORDER: within 2^-256 of uniform
WEIGHT_SIZE: Final = 16
_INTEGER_SIZE: Final = 8
_ABSORB, _SCALARS, _SIGNS, _WEIGHTS, _INTEGERS, _BITS = range(6)

# sign of each 2-bit pattern 00, 01, 10, 11; four signs to a byte, least significant pair first
_PATTERNS = np.array([0, 0, 1, -1], dtype=np.int8)
_SIGNS_OF_BYTE = np.ascontiguousarray(_PATTERNS[(np.arange(256)[:, None] >> np.array([0, 2, 4, 6])) & 3])
_FOUR_SIGNS = _SIGNS_OF_BYTE.view(np.uint32).reshape(256)  # the four signs of a byte, looked up at once


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(8, "big") + data


class Challenger:
    """One transcript: what is absorbed determines every later challenge. Prover and verifier drive equal copies."""

    def __init__(self, tag: bytes) -> None:
        self._tag = tag
        self._state = bytes(_STATE_SIZE)

    def _step(self, kind: int, label: str, data: bytes, size: int) -> bytes:
        message = self._state + bytes([kind]) + _framed(label.encode("ascii")) + _framed(data)
        output: bytes = cSHAKE256.new(data=message, custom=self._tag).read(_STATE_SIZE + size)
        self._state = output[:_STATE_SIZE]
        return output[_STATE_SIZE:]

    def absorb(self, label: str, data: bytes) -> None:
        """Bind `data` under `label` (ASCII)."""
        self._step(_ABSORB, label, data, 0)

    def scalar(self, label: str) -> int:
        """One challenge in [0, ORDER)."""
        return self.scalars(label, 1)[0]

    def scalars(self, label: str, count: int) -> list[int]:
        """`count` independent challenges in [0, ORDER), each 512 bits big-endian modulo ORDER."""
        stream = self._step(_SCALARS, label, _count(count), count * _WIDE_SIZE)
        starts = range(0, len(stream), _WIDE_SIZE)
        return [int.from_bytes(stream[start : start + _WIDE_SIZE], "big") % ORDER for start in starts]

    def weights(self, label: str, count: int) -> list[int]:
        """`count` independent integers in [0, 2^128), big-endian: for random combinations of equations."""
        stream = self._step(_WEIGHTS, label, _count(count), count * WEIGHT_SIZE)
        return weights_of(stream)

    def integers(self, label: str, rows: int, columns: int, bits: int) -> NDArray[np.int64]:
        """int64 (rows, columns), row after row, uniform in [0, 2^bits), bits <= 63: the low bits of 8 bytes each,
        little-endian."""
        size = rows * columns * _INTEGER_SIZE
        stream = self._step(_INTEGERS, label, _count(rows) + _count(columns) + _count(bits), size)
        words = np.frombuffer(stream, dtype="<u8").astype(np.uint64) & np.uint64((1 << bits) - 1)
        return words.astype(np.int64).reshape(rows, columns)

    def signs(self, label: str, rows: int, columns: int) -> NDArray[np.int8]:
        """int8 (rows, columns), row after row: 0 with probability 1/2, +1 and -1 with 1/4 each; two bits an entry."""
        count = rows * columns
        stream = self._step(_SIGNS, label, _count(rows) + _count(columns), (count + 3) // 4)
        signs = _FOUR_SIGNS[np.frombuffer(stream, dtype=np.uint8)].view(np.int8)[:count]
        return signs.reshape(rows, columns)

    def bits(self, label: str, rows: int, columns: int) -> NDArray[np.int8]:
        """int8 (rows, columns), row after row: uniform in {0, 1}, eight to a byte, least significant first."""
        count = rows * columns
        stream = self._step(_BITS, label, _count(rows) + _count(columns), (count + 7) // 8)
        unpacked = np.unpackbits(np.frombuffer(stream, dtype=np.uint8), bitorder="little")
        return unpacked[:count].view(np.int8).reshape(rows, columns)

    @property
    def state(self) -> bytes:
        """64 bytes that depend on all operations so far."""
        return self._state


def weights_of(stream: bytes) -> list[int]:
    """The integers in [0, 2^128) that a stream of WEIGHT_SIZE bytes each spells, big-endian."""
    return [int.from_bytes(stream[start : start + WEIGHT_SIZE], "big") for start in range(0, len(stream), WEIGHT_SIZE)]


def _count(value: int) -> bytes:
    if not 0 <= value < 2**63:
        raise Misuse(f"count: expected 0 <= count < 2^63, found {value}")
    return value.to_bytes(8, "big")
