"""Keccak-f[1600] and cSHAKE256 (FIPS 202, NIST SP 800-185), in integers alone."""

from __future__ import annotations

from functools import lru_cache

MASK = (1 << 64) - 1
RATE = 136  # bytes, of SHAKE256 and cSHAKE256
LANES = RATE // 8


def round_constants() -> list[int]:
    """The 24 constants of iota, from the linear feedback shift register of FIPS 202, 3.2.5."""
    constants, register = [], 1
    for _ in range(24):
        constant = 0
        for j in range(7):
            constant |= (register & 1) << ((1 << j) - 1)
            register = register << 1 ^ (register >> 7) * 0x171
        constants.append(constant)
    return constants


def moves() -> list[tuple[int, int, int]]:
    """rho and pi at once: from lane, to lane, by how many bits; lane (x, y) is x + 5 y (FIPS 202, 3.2.2 and 3.2.3)."""
    found, x, y = [(0, 0, 0)], 1, 0
    for t in range(24):
        found.append((x + 5 * y, y + 5 * ((2 * x + 3 * y) % 5), (t + 1) * (t + 2) // 2 % 64))
        x, y = y, (2 * x + 3 * y) % 5
    return found


CONSTANTS, MOVES = round_constants(), moves()


def permute(lanes: list[int]) -> list[int]:
    """Keccak-f[1600] of 25 lanes of 64 bits."""
    for constant in CONSTANTS:
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        turned = [(column << 1 | column >> 63) & MASK for column in columns]
        parity = [columns[x - 1] ^ turned[(x + 1) % 5] for x in range(5)]
        moved = [0] * 25
        for source, target, by in MOVES:
            lane = lanes[source] ^ parity[source % 5]
            moved[target] = (lane << by | lane >> (64 - by)) & MASK
        lanes = []
        for row in range(0, 25, 5):
            a, b, c, d, e = moved[row : row + 5]
            lanes += [a ^ (~b & c), b ^ (~c & d), c ^ (~d & e), d ^ (~e & a), e ^ (~a & b)]
        lanes[0] ^= constant
    return lanes


@lru_cache(maxsize=1 << 12)  # the same transcripts are audited again and again
def sponge(data: bytes, suffix: int, length: int) -> bytes:
    """`length` bytes of the sponge; suffix: what follows the data, with the first bit of the padding."""
    padded = bytearray(data + bytes([suffix]) + bytes(-(len(data) + 1) % RATE))
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), RATE):
        for i in range(LANES):
            lanes[i] ^= int.from_bytes(padded[start + 8 * i : start + 8 * i + 8], "little")
        lanes = permute(lanes)
    output = b""
    while True:
        output += b"".join(lane.to_bytes(8, "little") for lane in lanes[:LANES])
        if len(output) >= length:
            return output[:length]
        lanes = permute(lanes)


def shake256(data: bytes, length: int) -> bytes:
    """SHAKE256."""
    return sponge(data, 0x1F, length)


def cshake256(data: bytes, custom: bytes, length: int) -> bytes:
    """cSHAKE256 without a function name; without customization either, SHAKE256."""
    if not custom:
        return shake256(data, length)
    encoded = left_encode(8 * 0) + left_encode(8 * len(custom)) + custom
    framed = left_encode(RATE) + encoded
    return sponge(framed + bytes(-len(framed) % RATE) + data, 0x04, length)


def left_encode(number: int) -> bytes:
    """SP 800-185, 2.3.1."""
    digits = number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")
    return bytes([len(digits)]) + digits
