"""Real updates as short integer vectors (spec 4.4).

One unit is 2^-fraction_bits. `quantize` is the only way from a real update to what is committed and encrypted: its
result never has an exact integer norm above the bound that the client will have to prove.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse
from proofs.parameters import MAXIMUM_NORM_BOUND

LARGEST_FRACTION_BITS = 128
_LIMB_BITS = 22
_LIMB_BLOCK = 2**18  # products of two limbs are below 2^44, so a block's sum stays below 2^62


def norm_bound(clip: float, fraction_bits: int) -> int:
    """B = floor(clip * 2^fraction_bits), exactly; `clip` positive and finite, else Misuse."""
    _check_scale(clip, fraction_bits)
    return math.floor(Fraction(clip) * (1 << fraction_bits))


def quantize(delta: NDArray[np.float64], clip: float, fraction_bits: int, norm_bound: int) -> NDArray[np.int64]:
    """The update in units: clipped to L2 norm `clip`, rounded to nearest, and at most `norm_bound` long.

    delta float64 (d,), every value finite; the result int64 (d,), with exact integer norm <= norm_bound. Rounding can
    lengthen a vector; then single coordinates step one unit toward zero, those that were rounded away from zero by
    most first, and as few as suffice. Raises Misuse for a value that is not finite (naming the first index), for a
    scale that does not fit, and for a bound outside 1 .. 2^40.
    """
    vector = np.asarray(delta, dtype=np.float64)
    _check_vector(vector)
    _check_scale(clip, fraction_bits)
    if not 1 <= norm_bound <= MAXIMUM_NORM_BOUND:
        raise Misuse(f"norm_bound must be between 1 and 2^40, not {norm_bound}")
    radius = min(clip, math.ldexp(norm_bound, -fraction_bits))
    scaled = np.ldexp(_clip(vector, radius), fraction_bits)
    return _shorten(np.rint(scaled).astype(np.int64), np.abs(scaled), norm_bound)


def dequantize(units: NDArray[np.int64], fraction_bits: int) -> NDArray[np.float64]:
    """The real vector that `units` (int64) stands for: units * 2^-fraction_bits, rounded once to float64."""
    return np.ldexp(units.astype(np.float64), -fraction_bits)


def exact_norm_squared(units: NDArray[np.int64]) -> int:
    """sum of units^2 as an exact integer, for any int64 values and any length."""
    magnitudes = np.abs(units).view(np.uint64)  # |-2^63| wraps to -2^63, which reads as 2^63: still the magnitude
    return sum(
        _block_norm_squared(magnitudes[start : start + _LIMB_BLOCK]) for start in range(0, len(magnitudes), _LIMB_BLOCK)
    )


def _block_norm_squared(magnitudes: NDArray[np.uint64]) -> int:
    mask = np.uint64(2**_LIMB_BITS - 1)
    limbs = [(magnitudes >> np.uint64(shift * _LIMB_BITS)) & mask for shift in range(3)]
    total = 0
    for i in range(3):
        for j in range(i, 3):
            weight = 1 if i == j else 2
            total += weight * (int(np.dot(limbs[i], limbs[j])) << (_LIMB_BITS * (i + j)))
    return total


def _check_vector(vector: NDArray[np.float64]) -> None:
    if vector.ndim != 1:
        raise Misuse(f"an update is one vector, not an array of shape {vector.shape}")
    finite = np.isfinite(vector)
    if not finite.all():
        index = int(np.argmin(finite))
        raise Misuse(f"update[{index}] is {vector[index]}: every value must be finite")


def _check_scale(clip: float, fraction_bits: int) -> None:
    if not (math.isfinite(clip) and clip > 0):
        raise Misuse(f"clip norm must be positive and finite, not {clip}")
    if not 0 <= fraction_bits <= LARGEST_FRACTION_BITS:
        raise Misuse(f"fraction_bits must be between 0 and {LARGEST_FRACTION_BITS}, not {fraction_bits}")


def _clip(vector: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Scale `vector` into the ball, up to float64 rounding; dividing by the peak first avoids overflow in squares."""
    peak = float(np.max(np.abs(vector), initial=0.0))
    if peak == 0.0:
        return vector
    direction = vector / peak
    length = math.sqrt(float(np.dot(direction, direction)))
    if length <= radius / peak:
        return vector
    return direction * (radius / length)


def _shorten(units: NDArray[np.int64], targets: NDArray[np.float64], bound: int) -> NDArray[np.int64]:
    """Step coordinates toward zero until the exact norm is at most `bound`.

    A step takes 2|u| - 1 >= 1 off the squared norm and every pass makes at least one, so this ends, at the zero vector
    at the latest. In practice it is one pass.
    """
    excess = exact_norm_squared(units) - bound * bound
    while excess > 0:
        order = _farthest_out(units, targets, excess)
        gains = np.cumsum(2 * np.abs(units[order]) - 1)
        steps = int(np.searchsorted(gains, min(excess, int(gains[-1])))) + 1
        chosen = order[:steps]
        units[chosen] -= np.sign(units[chosen])
        excess = exact_norm_squared(units) - bound * bound
    return units


def _farthest_out(units: NDArray[np.int64], targets: NDArray[np.float64], excess: int) -> NDArray[np.intp]:
    """Indices of coordinates other than zero that rounding moved outward, by most first; about as many as it takes.

    How many is a guess from the mean step: sorting a million coordinates to change a few dozen would be slow.
    """
    magnitudes = np.abs(units)
    candidates = int(np.count_nonzero(units))
    mean_step = max(1, int(2 * magnitudes.sum()) // candidates - 1)
    count = min(candidates, 2 * excess // mean_step + 16)
    inward = np.where(units == 0, np.inf, targets - magnitudes)
    nearest = np.argpartition(inward, count - 1)[:count]
    return nearest[np.argsort(inward[nearest], kind="stable")]
