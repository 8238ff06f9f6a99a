"""secp256k1: points, the generators, sums of multiples (spec 5.2). Variable time, as all inputs are public."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache

from tests.independent.encoding import Unreadable

FIELD = 2**256 - 2**32 - 977
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

Point = tuple[int, int]
Jacobian = tuple[int, int, int]
IDENTITY: Jacobian = (1, 1, 0)


def double(point: Jacobian) -> Jacobian:
    x, y, z = point
    if not z:
        return point
    square = y * y % FIELD
    s = 4 * x * square % FIELD
    m = 3 * x * x % FIELD
    x3 = (m * m - 2 * s) % FIELD
    return x3, (m * (s - x3) - 8 * square * square) % FIELD, 2 * y * z % FIELD


def add(a: Jacobian, b: Jacobian) -> Jacobian:
    if not a[2]:
        return b
    if not b[2]:
        return a
    x1, y1, z1 = a
    x2, y2, z2 = b
    z1z1, z2z2 = z1 * z1 % FIELD, z2 * z2 % FIELD
    u1, s1 = x1 * z2z2 % FIELD, y1 * z2 * z2z2 % FIELD
    h = (x2 * z1z1 - u1) % FIELD
    r = (y2 * z1 * z1z1 - s1) % FIELD
    if not h:
        return IDENTITY if r else double(a)
    hh = h * h % FIELD
    hhh = h * hh % FIELD
    v = u1 * hh % FIELD
    x3 = (r * r - hhh - 2 * v) % FIELD
    return x3, (r * (v - x3) - s1 * hhh) % FIELD, z1 * z2 * h % FIELD


def add_affine(a: Jacobian, b: Point) -> Jacobian:
    x1, y1, z1 = a
    if not z1:
        return b[0], b[1], 1
    z1z1 = z1 * z1 % FIELD
    h = (b[0] * z1z1 - x1) % FIELD
    r = (b[1] * z1 * z1z1 - y1) % FIELD
    if not h:
        return IDENTITY if r else double(a)
    hh = h * h % FIELD
    hhh = h * hh % FIELD
    v = x1 * hh % FIELD
    x3 = (r * r - hhh - 2 * v) % FIELD
    return x3, (r * (v - x3) - y1 * hhh) % FIELD, z1 * h % FIELD


def combine(scalars: Sequence[int], points: Sequence[Point]) -> Jacobian:
    """The sum of scalar times point, by buckets (Pippenger)."""
    pairs = [(scalar % ORDER, point) for scalar, point in zip(scalars, points, strict=True) if scalar % ORDER]
    if not pairs:
        return IDENTITY
    width = 3 if len(pairs) < 32 else min(10, len(pairs).bit_length() - 2)
    mask = (1 << width) - 1
    total = IDENTITY
    highest = max(scalar for scalar, _ in pairs).bit_length()
    for shift in reversed(range(0, highest, width)):
        for _ in range(width):
            total = double(total)
        buckets = [IDENTITY] * (mask + 1)
        for scalar, point in pairs:
            digit = scalar >> shift & mask
            if digit:
                buckets[digit] = add_affine(buckets[digit], point)
        running = window = IDENTITY
        for bucket in reversed(buckets[1:]):
            running = add(running, bucket)
            window = add(window, running)
        total = add(total, window)
    return total


def vanishes(scalars: Sequence[int], points: Sequence[Point]) -> bool:
    """Whether the sum of scalar times point is the identity."""
    return _vanishes(tuple(scalars), tuple(points))


@lru_cache(maxsize=1 << 10)  # the same transcripts are audited again and again
def _vanishes(scalars: tuple[int, ...], points: tuple[Point, ...]) -> bool:
    return not combine(scalars, points)[2]


@lru_cache(maxsize=1 << 14)
def lift(x: int) -> Point | None:
    """The point with this x and even y, if there is one."""
    square = (pow(x, 3, FIELD) + 7) % FIELD
    y = pow(square, (FIELD + 1) // 4, FIELD)
    if y * y % FIELD != square:
        return None
    return x, y if y % 2 == 0 else FIELD - y


def decode_point(data: bytes) -> Point:
    x = int.from_bytes(data[1:], "big")
    point = lift(x) if len(data) == 33 and data[0] in (2, 3) and x < FIELD else None
    if point is None:
        raise Unreadable("not a point")
    return point if data[0] == 2 else (point[0], FIELD - point[1])


def decode_points(data: bytes) -> list[Point]:
    return [decode_point(data[i : i + 33]) for i in range(0, len(data), 33)]


def decode_scalars(data: bytes) -> list[int]:
    scalars = [int.from_bytes(data[i : i + 32], "big") for i in range(0, len(data), 32)]
    if any(scalar >= ORDER for scalar in scalars):
        raise Unreadable("not a scalar")
    return scalars


def _hashed(tag: bytes, index: int) -> Point:
    counter = 0
    while True:
        digest = hashlib.sha256(tag + index.to_bytes(8, "big") + counter.to_bytes(4, "big")).digest()
        x = int.from_bytes(digest, "big")
        point = lift(x) if x < FIELD else None
        if point:
            return point
        counter += 1


@cache
def generator(index: int) -> Point:
    return _hashed(b"verifl/v1/generator", index)


@cache
def blinding_generator() -> Point:
    return _hashed(b"verifl/v1/blinding-generator", 0)


class Relation:
    """A sum of multiples that must vanish; equations are added with weights (spec 5.10)."""

    def __init__(self) -> None:
        self.generators: list[int] = []
        self.blinding = 0
        self.scalars: list[int] = []
        self.points: list[Point] = []

    def subtract_commitment(self, values: Iterable[int], blinding: int, weight: int = 1) -> None:
        """Less weight Com(values; blinding)."""
        for i, value in enumerate(values):
            if i == len(self.generators):
                self.generators.append(0)
            self.generators[i] -= weight * value
        self.blinding -= weight * blinding

    def add_points(self, scalars: Iterable[int], points: Sequence[Point], weight: int = 1) -> None:
        self.scalars.extend(weight * scalar % ORDER for scalar in scalars)
        self.points.extend(points)

    def holds(self) -> bool:
        scalars = [*self.generators, self.blinding, *self.scalars]
        bases = [generator(i) for i in range(len(self.generators))]
        return vanishes(scalars, [*bases, blinding_generator(), *self.points])
