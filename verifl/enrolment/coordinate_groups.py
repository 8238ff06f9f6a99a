"""Bounds on single coordinates: from patterns over tensor names to the slices of a policy, and back (spec 4.3).

Needs neither the model nor torch: a policy's tensors, in their order, say where each lies in the vector.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import frexp, ldexp, prod
from operator import itemgetter
from typing import TypeVar

from proofs.errors import Misuse
from proofs.ranges import MAXIMUM_COORDINATE_BOUND, CoordinateGroup, coordinate_segments
from protocols.derivation import coordinate_units
from protocols.policy import (
    LARGEST_EXPONENT,
    SCALE_BIAS,
    CoordinateRule,
    Policy,
    ScaleRule,
    TensorSpec,
    UpdateRule,
    placed,
)
from verifl.config import UpdateConfig
from verifl.training.patterns import matches, no_match

MOST_SLICES = 4096  # of a policy (spec 4.1)

Slice = TypeVar("Slice")
Value = TypeVar("Value")


@dataclass(frozen=True)
class TensorBound:
    """Coordinates start <= i < stop of a flattened tensor are each at most `units` in magnitude."""

    tensor: str
    start: int
    stop: int
    units: int


def scaled(update: UpdateRule, config: UpdateConfig, tensors: Sequence[TensorSpec]) -> UpdateRule:
    """`update` with the scales of tensors that `config` asks for; as it was where it asks for none.

    Raises Misuse, naming the field, for patterns and groups that match nothing, and for tensors of another size than
    there are scales.
    """
    if all(group.scale == 1 and not group.scales for group in config.groups):
        return update
    slices = tuple(
        ScaleRule(start, stop, SCALE_BIAS - 1 + frexp(scale)[1])
        for start, stop, scale in _joined(_scales(config, tensors))
        if scale != 1
    )
    return replace(update, scales=_few(slices, "scales"))


def _scales(config: UpdateConfig, tensors: Sequence[TensorSpec]) -> Iterator[tuple[int, int, float]]:
    """The whole vector in slices of one scale."""
    for owner, (spec, start, stop) in zip(_owners(config, tensors), placed(tensors), strict=True):
        group = None if owner is None else config.groups[owner]
        if group is None or not group.scales:
            yield start, stop, 1.0 if group is None else group.scale
        elif len(group.scales) != stop - start:
            raise Misuse(
                f"update.groups.{owner}.scales: expected as many as {spec.name!r} has coordinates, {stop - start}, "
                f"found {len(group.scales)}"
            )
        else:
            yield from ((start + place, start + place + 1, scale) for place, scale in enumerate(group.scales))


def tensor_scales(policy: Policy) -> dict[float, list[str]]:
    """The tensors with a scale other than 1, by scale in the order of the model; of one with several its slices, as
    `name[start:stop]`."""
    found: dict[float, list[str]] = {}
    scales, position = policy.update.scales, 0
    for spec, start, stop in placed(policy.tensors):
        while position < len(scales) and scales[position].stop <= start:
            position += 1
        following = position
        while following < len(scales) and scales[following].start < stop:
            each = scales[following]
            exponent = min(each.exponent, LARGEST_EXPONENT) - SCALE_BIAS
            first, last = max(each.start, start) - start, min(each.stop, stop) - start
            found.setdefault(ldexp(1.0, exponent), []).append(slice_name(spec.name, first, last, stop - start))
            following += 1
    return found


def slice_name(tensor: str, start: int, stop: int, size: int) -> str:
    """What coordinates of a tensor are called; all of them as the tensor."""
    return tensor if (start, stop) == (0, size) else f"{tensor}[{start}:{stop}]"


def common_scale(update: UpdateRule, start: int, stop: int) -> float | None:
    """The scale of these coordinates; None where they have several."""
    index = bisect_right(update.scales, start, key=lambda each: each.stop)
    if index == len(update.scales) or update.scales[index].start >= stop:
        return 1.0
    each = update.scales[index]
    return ldexp(1.0, each.exponent - SCALE_BIAS) if each.start <= start and stop <= each.stop else None


def bounded(
    update: UpdateRule, config: UpdateConfig, tensors: Sequence[TensorSpec], largest_weight: int = 1
) -> UpdateRule:
    """`update` with the bounds on coordinates that `config` asks for; as it was where it asks for none.

    largest_weight: W, by which they may be multiplied. Raises Misuse, naming the field, for patterns and groups that
    match nothing, bounds that cannot be written in units, or where nothing at all could be trained.
    """
    if not config.bounds_coordinates:
        return update
    owners = _owners(config, tensors)
    groups = [
        None
        if group.coordinate_bound is None
        else coordinate_units(
            group.coordinate_bound,
            update,
            f"update.groups.{index}.coordinate_bound",
            scale=group.scale,
            largest_weight=largest_weight,
        )
        for index, group in enumerate(config.groups)
    ]
    own = [None if owner is None else groups[owner] for owner in owners]
    general = _general(update, config, None in own, [each for each in groups if each is not None], largest_weight)
    bounds = [general if each is None else each for each in own]
    sizes = [prod(spec.shape) for spec in tensors]
    if any(sizes) and not any(size * bound for size, bound in zip(sizes, bounds, strict=True)):
        raise Misuse("update.groups: every tensor is frozen, so nothing could be trained; raise one of the bounds")
    slices = tuple(CoordinateRule(*each) for each in _slices(tensors, bounds) if each[2] != general)
    return replace(update, coordinate_bound=general, groups=_few(slices, "bounds"))


def _few(slices: tuple[Slice, ...], what: str) -> tuple[Slice, ...]:
    if len(slices) > MOST_SLICES:
        raise Misuse(
            f"update.groups: tensors of different {what} alternate so often that they make {len(slices)} slices, "
            f"expected at most {MOST_SLICES}; give neighbouring tensors the same {what[:-1]}"
        )
    return slices


def tensor_bounds(policy: Policy) -> tuple[TensorBound, ...]:
    """Every coordinate's bound, tensor after tensor; nothing where the policy has none.

    Raises Misuse for groups that are no ascending disjoint slices of the vector.
    """
    rule = policy.update
    if rule.coordinate_bound is None:
        return ()
    groups = [CoordinateGroup(group.start, group.stop, group.bound) for group in rule.groups]
    segments = coordinate_segments(policy.dimension, rule.coordinate_bound, groups)
    found: list[TensorBound] = []
    for spec, start, stop in placed(policy.tensors):
        for segment in segments:
            first, last = max(start, segment.start), min(stop, segment.stop)
            if first < last:
                found.append(TensorBound(spec.name, first - start, last - start, segment.bound))
    return tuple(found)


def idle_bounds(config: UpdateConfig, tensors: Sequence[TensorSpec]) -> list[str]:
    """What of the bounds on coordinates changes nothing, a sentence each. `bounded` accepts the configuration."""
    named = [
        (f"update.groups.{index}", group.coordinate_bound, group.scale)
        for index, group in enumerate(config.groups)
        if group.coordinate_bound is not None
    ]
    found: list[str] = []
    if config.coordinate_bound is not None:
        bounding = {index for index, group in enumerate(config.groups) if group.coordinate_bound is not None}
        if config.groups and set(_owners(config, tensors)) <= bounding:
            found.append("update.coordinate_bound: every tensor belongs to a group, so it bounds nothing")
        else:
            named.insert(0, ("update.coordinate_bound", config.coordinate_bound, 1.0))
    return found + [
        f"{name}: {bound:g} is not below clip_norm = {config.clip_norm:g}{times}, so the norm alone bounds these "
        "coordinates"
        for name, bound, scale in named
        for times in ["" if scale == 1 else f" x scale {scale:g}"]
        if bound >= config.clip_norm * scale
    ]


def _owners(config: UpdateConfig, tensors: Sequence[TensorSpec]) -> list[int | None]:
    """For every tensor the position of the group it belongs to, the first that matches; None for no group."""
    names = [spec.name for spec in tensors]
    for index, group in enumerate(config.groups):
        for position, pattern in enumerate(group.tensors):
            if not any(matches(name, [pattern]) for name in names):
                where = f"update.groups.{index}.tensors.{position}"
                raise Misuse(f"{where}: {no_match(pattern, names, 'that travels')}")
    owners = [next((i for i, each in enumerate(config.groups) if matches(name, each.tensors)), None) for name in names]
    for index in range(len(config.groups)):
        if index not in owners:
            raise Misuse(
                f"update.groups.{index}: every tensor that it matches belongs to a group before it (the first that "
                "matches counts); put it before them, or remove it"
            )
    return owners


def _general(update: UpdateRule, config: UpdateConfig, needed: bool, groups: Sequence[int], weight: int) -> int:
    """The bound outside the slices; where no tensor is outside, the largest of the groups."""
    if groups and not needed:
        return max(groups)
    if config.coordinate_bound is not None:
        return coordinate_units(config.coordinate_bound, update, "update.coordinate_bound", largest_weight=weight)
    if weight * update.norm_bound <= MAXIMUM_COORDINATE_BOUND:
        return update.norm_bound
    largest = ldexp(MAXIMUM_COORDINATE_BOUND // weight, -update.fraction_bits)
    weighed = "" if weight == 1 else f", times the largest weight {weight},"
    raise Misuse(
        f"update.coordinate_bound: missing, and clip_norm = {config.clip_norm:g}{weighed} is too large to take its "
        f"place (2^20 units at most); add coordinate_bound = {largest} or less for the tensors that are in no group"
    )


def _slices(tensors: Sequence[TensorSpec], values: Sequence[Value]) -> Iterator[tuple[int, int, Value]]:
    """The whole vector in slices; neighbouring tensors of the same value are one. Empty tensors are in none."""
    ranges = zip(placed(tensors), values, strict=True)
    yield from _joined((start, stop, value) for (_, start, stop), value in ranges)


def _joined(ranges: Iterable[tuple[int, int, Value]]) -> Iterator[tuple[int, int, Value]]:
    located = (each for each in ranges if each[0] < each[1])
    for value, run in groupby(located, key=itemgetter(2)):
        members = list(run)
        yield members[0][0], members[-1][1], value
