"""secp256k1 by py_ecc, the identity as (0, 0): what the kernels are compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from py_ecc.secp256k1 import secp256k1 as curve

from proofs.curve import ORDER
from proofs.generators import blinding_generator, generator

AffinePoint = tuple[int, int]

IDENTITY: AffinePoint = (0, 0)


def times(scalar: int, point: AffinePoint) -> AffinePoint:
    if scalar % ORDER == 0 or point == IDENTITY:
        return IDENTITY
    return curve.multiply(point, scalar % ORDER)


def total(points: Iterable[AffinePoint]) -> AffinePoint:
    result = IDENTITY
    for point in points:
        result = curve.add(result, point)
    return result


def combination(points: Sequence[AffinePoint], scalars: Sequence[int]) -> AffinePoint:
    return total(times(scalar, point) for point, scalar in zip(points, scalars, strict=True))


def commitment(scalars: Sequence[int], blinding: int) -> AffinePoint:
    points = [generator(index) for index in range(len(scalars))]
    return combination([*points, blinding_generator()], [*scalars, blinding])


def compressed(point: AffinePoint) -> bytes:
    return bytes([2 + point[1] % 2]) + point[0].to_bytes(32, "big")
