"""Fiat-Shamir over cSHAKE256 (spec 5.4)."""

from __future__ import annotations

from tests.independent.curve import ORDER
from tests.independent.keccak import cshake256


class Challenger:
    """A state of 64 bytes; every operation hashes it with what is absorbed or asked for."""

    def __init__(self, tag: bytes) -> None:
        self.tag = tag
        self.state = bytes(64)

    def _step(self, kind: int, label: str, data: bytes, wanted: int) -> bytes:
        framed = bytes([kind]) + b"".join(len(part).to_bytes(8, "big") + part for part in (label.encode(), data))
        output = cshake256(self.state + framed, self.tag, 64 + wanted)
        self.state = output[:64]
        return output[64:]

    def absorb(self, label: str, data: bytes) -> None:
        self._step(0, label, data, 0)

    def scalars(self, label: str, count: int) -> list[int]:
        output = self._step(1, label, count.to_bytes(8, "big"), 64 * count)
        return [int.from_bytes(output[i : i + 64], "big") % ORDER for i in range(0, len(output), 64)]

    def scalar(self, label: str) -> int:
        return self.scalars(label, 1)[0]

    def signs(self, label: str, rows: int, columns: int) -> list[list[int]]:
        data = rows.to_bytes(8, "big") + columns.to_bytes(8, "big")
        output = self._step(2, label, data, (rows * columns + 3) // 4)
        signs = [(0, 0, 1, -1)[byte >> shift & 3] for byte in output for shift in (0, 2, 4, 6)]
        return [signs[row * columns : (row + 1) * columns] for row in range(rows)]

    def integers(self, label: str, rows: int, columns: int, bits: int) -> list[list[int]]:
        data = b"".join(number.to_bytes(8, "big") for number in (rows, columns, bits))
        output = self._step(4, label, data, 8 * rows * columns)
        words = [int.from_bytes(output[i : i + 8], "little") & (1 << bits) - 1 for i in range(0, len(output), 8)]
        return [words[row * columns : (row + 1) * columns] for row in range(rows)]

    def bits(self, label: str, rows: int, columns: int) -> list[list[int]]:
        output = self._step(5, label, rows.to_bytes(8, "big") + columns.to_bytes(8, "big"), (rows * columns + 7) // 8)
        return [[output[i // 8] >> i % 8 & 1 for i in range(y * columns, (y + 1) * columns)] for y in range(rows)]
