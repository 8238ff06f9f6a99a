"""Releases of summed shares and what they reconstruct (spec 7.5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.independent.curve import ORDER, Point, Relation, decode_scalars
from tests.independent.encoding import Unreadable
from tests.independent.parameters import Numbers

DIGIT = 1 << 24


def release_is_valid(share: bytes, x: int, commitments: Sequence[list[Point]]) -> bool:
    """Whether a released share opens the cohort's summed commitments at this trustee's point (7.2, 7.5)."""
    try:
        *values, blinding = decode_scalars(share)
    except Unreadable:
        return False
    relation = Relation()
    for points in commitments:
        relation.add_points([pow(x, power, ORDER) for power in range(len(points))], points)
    relation.subtract_commitment(values, blinding)
    return relation.holds()


def reconstruct(releases: Mapping[int, bytes], numbers: Numbers, count: int) -> tuple[list[int], list[int]]:
    """The summed key and the summed blindings from t releases by share point; `Unreadable` as `key-sum`."""
    secret = [0] * numbers.secret_length
    for x, share in releases.items():
        weight = 1
        for y in releases:
            if y != x:
                weight = weight * y * pow(y - x, -1, ORDER) % ORDER
        values = decode_scalars(share)[:-1]
        secret = [(total + weight * value) % ORDER for total, value in zip(secret, values, strict=True)]
    packed, blindings = secret[: numbers.key_scalars], secret[numbers.key_scalars :]
    key: list[int] = []
    for scalar in packed:
        key += signed_digits(scalar, min(10, numbers.N - len(key)))
    if any(abs(value) > count * numbers.noise_bound for value in key):
        raise Unreadable("key-sum")
    return key, blindings


def signed_digits(scalar: int, count: int) -> list[int]:
    """At most `count` signed digits in base 2^24, least significant first."""
    rest = scalar - ORDER if 2 * scalar > ORDER else scalar
    digits = []
    for _ in range(count):
        digit = (rest + DIGIT // 2) % DIGIT - DIGIT // 2
        digits.append(digit)
        rest = (rest - digit) // DIGIT
    if rest:
        raise Unreadable("key-sum")
    return digits
