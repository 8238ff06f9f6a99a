"""From what a client trained to what it submits: delta, cut, clip, fixed point (spec 4.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proofs.arrays import Integers
from protocols import fixed_point
from protocols.policy import SCALE_BIAS, UpdateRule
from protocols.steps.doubles import Doubles
from protocols.weights import weight_of
from verifl.training.tensors import TensorLayout, check_finite

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True)
class EncodedUpdate:
    """units: int64 (d,), exact L2 norm and every coordinate at most the rule's bounds, times the weight.

    norm: of the real delta, each coordinate divided by its scale, and cut, before it was clipped and weighed. clip: the
    clip norm, in the same units. weight: what is stated or hidden of it; None where nothing is.
    """

    units: Integers
    norm: float
    clip: float
    weight: int | None = None

    @property
    def clipped(self) -> bool:
        """Whether it was longer than the clip norm."""
        return self.norm > self.clip

    @property
    def used(self) -> float:
        """The share of the clip norm that it has, 0 to 1; of any weight, as both are weighed."""
        return min(self.norm / self.clip, 1.0)

    @property
    def kept(self) -> float:
        """The share of its length that clipping left of it, 0 to 1."""
        return self.clip / self.norm if self.clipped else 1.0


def clip_norm(rule: UpdateRule) -> float:
    """The L2 bound of an update of which each coordinate is divided by its scale: B * 2^-fraction_bits."""
    return float(np.ldexp(float(rule.norm_bound), -rule.fraction_bits))


def scaled_down(delta: Doubles, rule: UpdateRule, start: int = 0) -> Doubles:
    """Coordinates start, start + 1, ... of an update, in the model's units, each divided by its scale; exact but where
    doubles end: there it is the largest, or rounded to zero."""
    if not rule.scales:
        return delta
    made, end = delta.copy(), start + len(delta)
    for each in rule.scales:
        if each.start < end and start < each.stop:
            where = slice(max(each.start - start, 0), each.stop - start)
            made[where] = np.ldexp(made[where], SCALE_BIAS - each.exponent)
    return np.clip(made, -_LARGEST, _LARGEST)


def encode_update(
    before: Doubles, after: Doubles, layout: TensorLayout, rule: UpdateRule, owner: str, weight: int | None = None
) -> EncodedUpdate:
    """The difference of two float64 vectors of shape (d,): coordinates cut, then clipped, weighed, and in fixed point.

    Cutting comes first: what a frozen tensor or a single outlier would have added takes nothing off the rest. Clipping
    only shortens, and rounding leads no coordinate beyond its bound, which is a whole number of units; the last cut
    makes sure of it in integers. Raises Misuse naming `owner` and the tensor when training left NaN or infinities
    behind.
    """
    check_finite(after, layout, owner)
    delta = scaled_down(after - before, rule)
    bounds = coordinate_bounds(rule, len(delta))
    if bounds is not None:
        limits = np.ldexp(bounds.astype(np.float64), -rule.fraction_bits)
        delta = np.clip(delta, -limits, limits)
    norm, clip = l2_norm(delta), clip_norm(rule)
    w = weight_of(weight)
    with np.errstate(over="ignore"):
        weighed = np.clip(w * delta, -_LARGEST, _LARGEST)
    units = fixed_point.quantize(weighed, w * clip, rule.fraction_bits, w * rule.norm_bound)
    return EncodedUpdate(cut(units, rule, w), norm, clip, weight)


def coordinate_bounds(rule: UpdateRule, dimension: int) -> Integers | None:
    """The bound of every coordinate in units, int64 (d,); None where there are none."""
    if rule.coordinate_bound is None:
        return None
    bounds = np.full(dimension, rule.coordinate_bound, dtype=np.int64)
    for group in rule.groups:
        bounds[group.start : group.stop] = group.bound
    return bounds


def cut(units: Integers, rule: UpdateRule, weight: int = 1) -> Integers:
    """Every coordinate of `units`, int64 (d,), brought within its own bound, times the weight; this only ever shortens
    the vector."""
    bounds = coordinate_bounds(rule, len(units))
    return units if bounds is None else np.clip(units, -weight * bounds, weight * bounds)


def l2_norm(vector: Doubles) -> float:
    """The L2 norm without overflow of the squares."""
    largest = float(np.abs(vector).max(initial=0.0))
    return largest * float(np.linalg.norm(vector / largest)) if largest > 0 else 0.0
