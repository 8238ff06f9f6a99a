"""From measured updates to a clip norm, scales, a bound on coordinates and a resolution."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.derivation import default_fraction_bits
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.policy import SCALE_BIAS, Policy, placed
from protocols.steps.doubles import Doubles
from verifl.enrolment.coordinate_groups import common_scale
from verifl.planning.measured import Measurement, Scales, usual
from verifl.training.update import clip_norm

MARGIN = 1.25  # times the longest update: the norms of rounds to come are not those measured
SHARE = 0.25  # of the parameters' norm: as long as all statistics together are in their scales, about
STATISTIC_BITS = 10  # bits: of a statistic with a scale, how many its longest movement has, about
_STEP = 2  # bits: scales of statistics are powers of four, so that they are few
QUANTILES = (0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True)
class ProposedBounds:
    """clip_norm: on updates divided by their scales. scales: powers of two by tensor, 1 left out; of a tensor that
    needs several one for each coordinate. coordinate_bound: on the same, or None where it would bound nothing.
    fraction_bits: those that follow from the clip norm and d; finer: or more, as statistics would lose their digits.

    lengths: of all measured updates in these scales, (turns,). largest: coordinate of any. unit: of data, that
    weighs 1; None where they are not weighed.
    """

    clip_norm: float
    scales: Mapping[str, Scales]
    coordinate_bound: float | None
    fraction_bits: int
    lengths: Doubles
    largest: float = 0.0
    finer: bool = False
    unit: float | None = None

    def touched(self, clip_norm: float) -> float:
        """The share of measured updates that are longer than this."""
        return share_beyond(self.lengths, clip_norm)

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        return {
            "clip_norm": self.clip_norm,
            "scales": {name: each if isinstance(each, float) else list(each) for name, each in self.scales.items()},
            "coordinate_bound": self.coordinate_bound,
            "fraction_bits": self.fraction_bits,
            "unit": self.unit,
            "norms": quantiles(self.lengths),
            "clipped": self.touched(self.clip_norm),
        }


def propose(measured: Measurement, largest_weight: int = 1) -> ProposedBounds:
    """A clip norm that leaves honest updates as they are, and what goes with it. largest_weight: W, that the heaviest
    client is to have."""
    scales = _scales(measured)
    lengths = measured.lengths(scales)
    clip = _two_digits(MARGIN * float(usual(lengths))) or 1.0
    largest = float(measured.largest_coordinates(scales).max())
    bound = 2.0 ** math.ceil(math.log2(2 * largest)) if largest > 0 else clip
    usual_bits = default_fraction_bits(measured.dimension, clip)
    bits = max(usual_bits, _bits_of_statistics(measured) if scales else 0)
    return ProposedBounds(
        clip,
        measured.by_tensor(scales),
        bound if bound < clip else None,
        bits,
        lengths,
        largest,
        finer=bits > usual_bits,
        unit=_unit(list(measured.data.values()), largest_weight),
    )


def _unit(data: Sequence[float], largest: int) -> float | None:
    """The finest in which the heaviest data weigh no more than `largest`; 1 where that is exact."""
    if not data:
        return None
    exact = all(each.is_integer() for each in data)
    return 1.0 if exact and max(data) <= largest else _two_digits(max(data) / largest)


def share_beyond(lengths: Doubles, clip_norm: float) -> float:
    """The share of updates of these lengths that are longer than a clip norm."""
    return float(np.mean(lengths > clip_norm))


def quantiles(values: Doubles) -> dict[str, float]:
    """By percentage."""
    return {f"{share:.0%}": float(np.quantile(values, share)) for share in QUANTILES}


def _scales(measured: Measurement) -> dict[str, float]:
    """Scales in which all statistics together are about `SHARE` as long as the parameters; none where they are no
    longer than the parameters by themselves, and none loses its digits in the parameters' units."""
    kinds, trained, largest = _kinds(measured), _trained(measured), usual(measured.norms)
    if trained == 0 or not kinds.any() or not largest[kinds].any():
        return {}
    unit = math.ldexp(1.0, -default_fraction_bits(measured.dimension, trained))
    sizes = _sizes(measured)
    coarse = kinds & (largest > 0) & (largest / np.sqrt(sizes) < 16 * unit)
    if np.sqrt((largest[kinds] ** 2).sum()) <= trained and not coarse.any():
        return {}
    target = _target(measured)
    made = {
        tensor.label: _power(float(length) / (target * math.sqrt(tensor.size)))
        for tensor, length in zip(measured.tensors, largest, strict=True)
        if tensor.statistic and length > 0
    }
    return {name: scale for name, scale in made.items() if scale != 1.0}


def _bits_of_statistics(measured: Measurement) -> int:
    """Fraction bits with which the longest movements of statistics in their scales have `STATISTIC_BITS` bits."""
    return min(math.ceil(STATISTIC_BITS - math.log2(_target(measured))), LARGEST_FRACTION_BITS)


def _target(measured: Measurement) -> float:
    """How far each coordinate of a statistic moves in its scale, about."""
    return SHARE * _trained(measured) / math.sqrt(_sizes(measured)[_kinds(measured)].sum())


def _trained(measured: Measurement) -> float:
    """How long the parameters' changes are."""
    return float(usual(np.sqrt((measured.norms[:, ~_kinds(measured)] ** 2).sum(axis=1))))


def _kinds(measured: Measurement) -> NDArray[np.bool_]:
    """Which tensors are statistics."""
    return np.array([tensor.statistic for tensor in measured.tensors])


def _sizes(measured: Measurement) -> Doubles:
    return np.array([float(tensor.size) for tensor in measured.tensors])


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
    if sizes != list(measured.whole_sizes().items()):
        return ("what was measured beside this configuration is of another model: run `verifl measure --write` again",)
    scales = _policy_scales(policy, measured)
    if scales is None:
        return ("the scales cut tensors otherwise than was measured: run `verifl measure --write` again",)
    clip, lengths = clip_norm(policy.update), measured.lengths(scales)
    longest = float(lengths.max())
    note = (
        f"of {len(lengths)} updates that were measured {share_beyond(lengths, clip):.1%} are longer than the clip norm "
        f"{clip:g}; the longest is {longest:.4g}, half are no longer than {float(np.median(lengths)):.4g}"
    )
    return (note,)


def _policy_scales(policy: Policy, measured: Measurement) -> dict[str, float] | None:
    """By label; None where what was measured together has several scales."""
    starts = {spec.name: start for spec, start, _ in placed(policy.tensors)}
    found = {}
    for tensor in measured.tensors:
        start = starts[tensor.name] + tensor.start
        scale = common_scale(policy.update, start, start + tensor.size)
        if scale is None:
            return None
        found[tensor.label] = scale
    return found
