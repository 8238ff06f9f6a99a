"""From measured updates to a clip norm, scales, a bound on coordinates and a resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from protocols.parameters import default_fraction_bits
from protocols.policy import SCALE_BIAS, Policy, placed
from protocols.steps.doubles import Doubles
from verifl.enrolment.coordinate_groups import tensor_scales
from verifl.planning.measurement import Measurement
from verifl.training.update import clip_norm

MARGIN = 1.25  # times the longest update: the norms of rounds to come are not those measured
OUTLIER = 4.0  # times the 90th percentile: an update that is longer is clipped
SHARE = 0.25  # of the parameters' norm: as long as all statistics together are in their scales, about
_STEP = 2  # bits: scales of statistics are powers of four, so that they are few
QUANTILES = (0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class ProposedBounds:
    """clip_norm: on updates divided by their scales. scales: powers of two by tensor, 1 left out. coordinate_bound: on
    the same, or None where it would bound nothing. fraction_bits: those that follow from the clip norm and d.

    lengths: of all measured updates in these scales, (turns,).
    """

    clip_norm: float
    scales: Mapping[str, float]
    coordinate_bound: float | None
    fraction_bits: int
    lengths: Doubles

    def touched(self, clip_norm: float) -> float:
        """The share of measured updates that are longer than this."""
        return share_beyond(self.lengths, clip_norm)

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        return {
            "clip_norm": self.clip_norm,
            "scales": dict(self.scales),
            "coordinate_bound": self.coordinate_bound,
            "fraction_bits": self.fraction_bits,
            "norms": quantiles(self.lengths),
            "clipped": self.touched(self.clip_norm),
        }


def propose(measured: Measurement) -> ProposedBounds:
    """A clip norm that leaves honest updates as they are, and what goes with it."""
    scales = _scales(measured)
    lengths = measured.lengths(scales)
    clip = _two_digits(MARGIN * float(_usual(lengths))) or 1.0
    peak = 2 * float(measured.largest_coordinates(scales).max())
    bound = 2.0 ** math.ceil(math.log2(peak)) if peak > 0 else clip
    bits = default_fraction_bits(measured.dimension, clip)
    return ProposedBounds(clip, scales, bound if bound < clip else None, bits, lengths)


def share_beyond(lengths: Doubles, clip_norm: float) -> float:
    """The share of updates of these lengths that are longer than a clip norm."""
    return float(np.mean(lengths > clip_norm))


def quantiles(values: Doubles) -> dict[str, float]:
    """By percentage."""
    return {f"{share:.0%}": float(np.quantile(values, share)) for share in QUANTILES}


def _scales(measured: Measurement) -> dict[str, float]:
    """Scales in which all statistics together are about `SHARE` as long as the parameters; none where they are no
    longer than the parameters by themselves, and none loses its digits in the parameters' units."""
    kinds = np.array([tensor.statistic for tensor in measured.tensors])
    norms = measured.norms
    trained = float(_usual(np.sqrt((norms[:, ~kinds] ** 2).sum(axis=1))))
    largest = _usual(norms)
    if trained == 0 or not kinds.any() or not largest[kinds].any():
        return {}
    unit = math.ldexp(1.0, -default_fraction_bits(measured.dimension, trained))
    sizes = np.array([tensor.size for tensor in measured.tensors])
    coarse = kinds & (largest > 0) & (largest / np.sqrt(sizes) < 16 * unit)
    if np.sqrt((largest[kinds] ** 2).sum()) <= trained and not coarse.any():
        return {}
    target = SHARE * trained / math.sqrt(np.count_nonzero(kinds))
    made = {
        tensor.name: _power(float(length) / target)
        for tensor, length in zip(measured.tensors, largest, strict=True)
        if tensor.statistic and length > 0
    }
    return {name: scale for name, scale in made.items() if scale != 1.0}


def _usual(values: Doubles) -> Doubles:
    """The largest of each column, but no more than `OUTLIER` times its 90th percentile where that is not 0."""
    largest, most = values.max(axis=0), OUTLIER * np.quantile(values, 0.9, axis=0)
    usual: Doubles = np.where(most > 0, np.minimum(largest, most), largest)
    return usual


def _power(ratio: float) -> float:
    """The smallest power of four that is no less, within what a policy can say."""
    exponent = _STEP * math.ceil(math.log2(ratio) / _STEP)
    return 2.0 ** min(max(exponent, -SCALE_BIAS), SCALE_BIAS)


def _two_digits(value: float) -> float:
    """Rounded up to two significant digits."""
    if value <= 0:
        return 0.0
    digits = 1 - math.floor(math.log10(value))
    return round(math.ceil(round(value * 10.0**digits, 6)) / 10.0**digits, 12)


def measured_notes(policy: Policy, measured: Measurement | None) -> tuple[str, ...]:
    """What a policy's clip norm would do to the updates that were measured, in a sentence; none without any."""
    if measured is None:
        return ()
    sizes = [(spec.name, stop - start) for spec, start, stop in placed(policy.tensors)]
    if sizes != [(tensor.name, tensor.size) for tensor in measured.tensors]:
        return ("what was measured beside this configuration is of another model: run `verifl measure --write` again",)
    scales = {name: scale for scale, names in tensor_scales(policy).items() for name in names}
    clip, lengths = clip_norm(policy.update), measured.lengths(scales)
    longest = float(lengths.max())
    note = (
        f"of {len(lengths)} updates that were measured {share_beyond(lengths, clip):.1%} are longer than the clip norm "
        f"{clip:g}; the longest is {longest:.4g}, half are no longer than {float(np.median(lengths)):.4g}"
    )
    return (note,)
