"""Ed25519 verification as spec 2.4 has it, in integers alone; the order of Curve25519 points by x alone."""

from __future__ import annotations

import hashlib
from functools import lru_cache

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, PRIME) % PRIME
ROOT = pow(2, (PRIME - 1) // 4, PRIME)  # of -1
MONTGOMERY = 486662  # A of Curve25519

Extended = tuple[int, int, int, int]  # X, Y, Z, T: x = X / Z, y = Y / Z, xy = T / Z
NEUTRAL: Extended = (0, 1, 1, 0)


def add(p: Extended, q: Extended) -> Extended:
    """Complete addition on -x^2 + y^2 = 1 + d x^2 y^2 (Hisil, Wong, Carter, Dawson 2008, section 3.1)."""
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * D * p[3] * q[3] % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def negate(p: Extended) -> Extended:
    return -p[0] % PRIME, p[1], p[2], -p[3] % PRIME


def double_multiple(s: int, p: Extended, k: int, q: Extended) -> Extended:
    """[s]P + [k]Q, bit by bit, the doublings shared."""
    both, total = add(p, q), NEUTRAL
    for bit in reversed(range(max(s.bit_length(), k.bit_length()))):
        total = add(total, total)
        chosen = (s >> bit & 1) + 2 * (k >> bit & 1)
        if chosen:
            total = add(total, (NEUTRAL, p, q, both)[chosen])
    return total


def encode(p: Extended) -> bytes:
    inverse = pow(p[2], -1, PRIME)
    x, y = p[0] * inverse % PRIME, p[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def decode(data: bytes) -> Extended | None:
    """Step 2 of verification: y is taken modulo p, and where x is 0 the sign does not count; None for no point."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, (number & (1 << 255) - 1) % PRIME
    u, v = (y * y - 1) % PRIME, (D * y * y + 1) % PRIME
    x = u * pow(v, 3, PRIME) * pow(u * pow(v, 7, PRIME), (PRIME - 5) // 8, PRIME) % PRIME
    if (v * x * x + u) % PRIME == 0:
        x = x * ROOT % PRIME
    if (v * x * x - u) % PRIME != 0:
        return None
    if x & 1 != sign:
        x = -x % PRIME
    return x, y, 1, x * y % PRIME


@lru_cache(maxsize=1)
def base() -> Extended:
    found = decode((4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little"))
    if found is None:
        raise ArithmeticError("the base point")
    return found


@lru_cache(maxsize=4096)
def verifies(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """The equation without the cofactor, R compared as bytes."""
    if len(public_key) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    point = decode(public_key)
    if s >= ORDER or point is None:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + public_key + data).digest(), "little") % ORDER
    return encode(double_multiple(s, base(), k, negate(point))) == signature[:32]


def has_small_order(u: int) -> bool:
    """Whether eight times a point of Curve25519 or of its twist, by its u, is the neutral element."""
    x, z = u, 1
    for _ in range(3):
        x, z = (x * x - z * z) ** 2 % PRIME, 4 * x * z * (x * x + MONTGOMERY * x * z + z * z) % PRIME
    return z == 0
