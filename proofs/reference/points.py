"""Points of secp256k1 over py_ecc: Jacobian triples, and their SEC 1 compressed encoding (SEC 1, 2.3)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from proofs.curve import FIELD, ORDER, POINT_SIZE, not_a_point, not_points
from proofs.errors import Misuse

_DEEPEST = sys.getrecursionlimit()
from py_ecc.secp256k1 import secp256k1  # noqa: E402  between the two lines about the limit

sys.setrecursionlimit(_DEEPEST)  # py_ecc raises it so far that nesting in a stranger's bytes would end the process

Jacobian = tuple[int, int, int]  # (X / Z^2, Y / Z^3); py_ecc takes every triple with Y = 0 for the identity

IDENTITY: Final[Jacobian] = (0, 0, 1)


def from_affine(point: tuple[int, int]) -> Jacobian:
    """The affine point (x, y), not the identity."""
    return (point[0], point[1], 1)


def add(left: Jacobian, right: Jacobian) -> Jacobian:
    """Sum of any two points, equal, opposite and identity included."""
    return secp256k1.jacobian_add(left, right)


def negate(point: Jacobian) -> Jacobian:
    """The opposite of any point, the identity included."""
    return (point[0], -point[1] % FIELD, point[2])


def is_identity(point: Jacobian) -> bool:
    """Whether the point is the identity, in any of its representations."""
    return point[1] == 0  # the group has odd order: no other point has Y = 0


def combine(points: Sequence[Jacobian], scalars: Sequence[int]) -> Jacobian:
    """sum_i scalars[i] points[i], scalars any integers: double and add, the doublings shared (Straus), by digits 1, 0
    and -1 of which a third are not 0 (Reitwiesner's non-adjacent form)."""
    small = [min(scalar % ORDER, -scalar % ORDER) for scalar in scalars]
    terms = [
        (point if scalar % ORDER == magnitude else negate(point), *_digits(magnitude))
        for point, scalar, magnitude in zip(points, scalars, small, strict=True)
    ]
    total = IDENTITY
    for bit in reversed(range(max(small, default=0).bit_length() + 1)):
        total = secp256k1.jacobian_double(total)
        for point, plus, minus in terms:
            if plus >> bit & 1:
                total = add(total, point)
            elif minus >> bit & 1:
                total = add(total, negate(point))
    return total


def _digits(magnitude: int) -> tuple[int, int]:
    """Where the non-adjacent form has 1 and where it has -1: magnitude is the one less the other."""
    triple = 3 * magnitude
    return (triple & ~magnitude) >> 1, (magnitude & ~triple) >> 1


def encode(point: Jacobian) -> bytes:
    """33 bytes; raises Misuse for the identity, which has no encoding."""
    if is_identity(point):
        raise Misuse("point: the identity has no encoding; a fresh blinding avoids it")
    inverse = pow(point[2], -1, FIELD)
    x, y = point[0] * inverse**2 % FIELD, point[1] * inverse**3 % FIELD
    return bytes([2 + y % 2]) + x.to_bytes(32, "big")


def decode(encoded: bytes, index: int) -> Jacobian:
    """The point of 33 bytes; raises Malformed naming `index` for a bad prefix, x >= FIELD, or x off the curve."""
    prefix, x = encoded[0], int.from_bytes(encoded[1:], "big")
    if prefix not in (2, 3) or x >= FIELD:
        raise not_a_point(index, encoded)
    square = (pow(x, 3, FIELD) + 7) % FIELD
    y = pow(square, (FIELD + 1) // 4, FIELD)
    if y * y % FIELD != square:
        raise not_a_point(index, encoded)
    return (x, y if y % 2 == prefix % 2 else FIELD - y, 1)


def decode_all(encoded: bytes) -> list[Jacobian]:
    """All points of a whole multiple of 33 bytes, in order; raises Malformed for the first bad one."""
    if len(encoded) % POINT_SIZE:
        raise not_points(len(encoded))
    return [decode(encoded[i : i + POINT_SIZE], i // POINT_SIZE) for i in range(0, len(encoded), POINT_SIZE)]
