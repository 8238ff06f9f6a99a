"""Pedersen commitments to vectors: Com(v; b) = sum_i v_i G_i + b H (spec 5.2).

Perfectly hiding for uniform b, binding under discrete logarithm, and additive: sums of commitments open to sums.
"""

from __future__ import annotations

from collections.abc import Sequence

from proofs.curve import ORDER
from proofs.engine import Engine, Points
from proofs.errors import Rejected


def commit(engine: Engine, scalars: Sequence[int], blinding: int) -> bytes:
    """33 bytes: Com(scalars; blinding); raises Misuse in the (negligible) case of the identity."""
    return engine.commit(scalars, blinding)


def check_opening(
    engine: Engine, points: Points, weights: Sequence[int], scalars: Sequence[int], blinding: int, check: str
) -> None:
    """Raises Rejected(check) unless sum_i weights[i] points[i] = Com(scalars; blinding); all integers in [0, ORDER)."""
    negated = [-scalar % ORDER for scalar in scalars]
    if not engine.combination_is_zero(points, weights, negated, -blinding % ORDER):
        raise Rejected(check, "the opening of a commitment", "other values or another blinding")
