"""Horner's rule on a few points of secp256k1, in Jacobian coordinates: a kernel.

A chain of doublings of one point has nothing to share an inversion with; here it needs a single one, at the end.
(X, Y, Z) stands for (X / Z^2, Y / Z^3); Z = 0 is the identity. Affine points are those of `points`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from proofs.arrays import Words
from proofs.machine.jit import inner, kernel
from proofs.native import field
from proofs.native.field import Element

Jacobian: TypeAlias = tuple[Element, Element, Element]


@inner
def _double(p: Jacobian) -> Jacobian:
    """2 p, the identity included ("dbl-2009-l" of the Explicit-Formulas Database)."""
    x, y, z = p
    a, b = field.square(x), field.square(y)
    c = field.square(b)
    d = field.subtract(field.subtract(field.square(field.add(x, b)), a), c)
    d = field.add(d, d)
    e = field.add(field.add(a, a), a)
    x3 = field.subtract(field.square(e), field.add(d, d))
    c = field.add(c, c)
    c = field.add(c, c)
    c = field.add(c, c)
    y3 = field.subtract(field.multiply(e, field.subtract(d, x3)), c)
    z3 = field.multiply(y, z)
    return x3, y3, field.add(z3, z3)


@inner
def _add_affine(p: Jacobian, x2: Element, y2: Element) -> Jacobian:
    """p + (x2, y2) for any two points; y2 = 0 for the identity."""
    x1, y1, z1 = p
    if field.is_zero(y2):
        return p
    if field.is_zero(z1):
        return x2, y2, field.UNIT
    squared = field.square(z1)
    h = field.subtract(field.multiply(x2, squared), x1)
    r = field.subtract(field.multiply(y2, field.multiply(z1, squared)), y1)
    if field.is_zero(h):
        if field.is_zero(r):
            return _double(p)
        return field.UNIT, field.UNIT, field.NOTHING
    h2 = field.square(h)
    h3 = field.multiply(h, h2)
    v = field.multiply(x1, h2)
    x3 = field.subtract(field.subtract(field.square(r), h3), field.add(v, v))
    y3 = field.subtract(field.multiply(r, field.subtract(v, x3)), field.multiply(y1, h3))
    return x3, y3, field.multiply(z1, h)


@kernel
def horner(points: Words, bits: int) -> Words:
    """(8,): sum_w 2^(bits w) points[w]; points (n, 8) affine, all words zero for the identity."""
    p = (field.UNIT, field.UNIT, field.NOTHING)
    for w in range(len(points) - 1, -1, -1):
        for _ in range(bits):
            p = _double(p)
        x = (points[w, 0], points[w, 1], points[w, 2], points[w, 3])
        y = (points[w, 4], points[w, 5], points[w, 6], points[w, 7])
        p = _add_affine(p, x, y)
    total = np.zeros(8, np.uint64)
    if not field.is_zero(p[2]):
        inverse = field.invert(p[2])
        squared = field.square(inverse)
        total[0], total[1], total[2], total[3] = field.multiply(p[0], squared)
        total[4], total[5], total[6], total[7] = field.multiply(p[1], field.multiply(squared, inverse))
    return total
