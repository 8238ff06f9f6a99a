"""The server step: from the decrypted integers to the next global model, bit for bit (spec 4.6).

Every operation is one IEEE 754 double operation (+ - * / sqrt, round to nearest even) on one coordinate, in the order
written here and in the rule; no reduction, no power, no fused multiply-add. Whoever replays it gets the same bits on
every machine. What a rule does is in its own file: `protocols.steps.registry` has them all.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Malformed, Misuse, Rejected
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.policy import LARGEST_EXPONENT, SCALE_BIAS, STATISTIC, Policy, UpdateRule, placed
from protocols.steps.doubles import Doubles
from protocols.steps.registry import server_rule, step_constants
from protocols.steps.rule import LEAST_GAIN, MOST_RATE, FullestUpdate, named

_SMALLEST_SUBNORMAL = 5e-324


@dataclass(frozen=True)
class StepState:
    """The model and the moments that the rule keeps: float64 (d,) each."""

    model: Doubles
    moments: tuple[Doubles, ...]


def fullest_update(policy: Policy) -> FullestUpdate:
    """Of the norm bound, and of the bounds on coordinates where there are any, in the parameters; in all tensors where
    no parameter may move (spec 4.6)."""
    rule, unit = policy.update, _unit(policy)
    trained = _kinds(policy, _parameters(policy))
    kinds = trained or _kinds(policy, [(0, policy.dimension)])
    if not kinds:
        return FullestUpdate(Fraction(0), Fraction(0), vanishes=True)
    least = min(exponent for _, exponent in kinds)
    squares = sum(count * bound * bound for (bound, _), count in kinds.items())
    stretched = sum(count * bound * bound << 2 * (exponent - least) for (bound, exponent), count in kinds.items())
    longest = min(rule.norm_bound, math.isqrt(squares))
    share = Fraction(longest * longest, squares)
    length = math.isqrt(longest * longest * stretched // squares) * _power(least)
    widest = max(bound * _power(exponent) for bound, exponent in kinds)
    most = max(bound for bound, _ in kinds)
    peak = widest * widest * share * unit * unit
    return FullestUpdate(length * unit, peak, 4 * most * most * share <= 1, averaged=not trained)


def _kinds(policy: Policy, ranges: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """How many coordinates of the ranges have a bound of so many units, not 0, and an exponent of a scale. Total on any
    policy, and near linear in its slices and tensors."""
    rule = policy.update
    scales = sorted((each.start, each.stop, min(each.exponent, LARGEST_EXPONENT) - SCALE_BIAS) for each in rule.scales)
    found: dict[tuple[int, int], int] = {}
    for start, stop in ranges:
        for first, last, bound in _bounded(rule, start, stop):
            for low, high, exponent in _filled(scales, first, last, 0):
                if bound > 0:
                    kind = (bound, exponent)
                    found[kind] = found.get(kind, 0) + high - low
    return found


def _bounded(rule: UpdateRule, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """start .. stop as slices, each with the bound beta of its coordinates in units, 0 where they are frozen."""
    general = rule.norm_bound if rule.coordinate_bound is None else rule.coordinate_bound
    groups = sorted((group.start, group.stop, group.bound) for group in rule.groups)
    for first, last, bound in _filled(groups, start, stop, general):
        yield first, last, min(bound, rule.norm_bound)


def _parameters(policy: Policy) -> list[tuple[int, int]]:
    """Where the tensors are that the rule moves; neighbours are one."""
    found: list[tuple[int, int]] = []
    for tensor, start, stop in placed(policy.tensors):
        if tensor.role != STATISTIC and start < stop:
            begun = found.pop()[0] if found and found[-1][1] == start else start
            found.append((begun, stop))
    return found


def _filled(
    slices: Sequence[tuple[int, int, int]], start: int, stop: int, general: int
) -> Iterator[tuple[int, int, int]]:
    """start .. stop as slices and what is between them, which has the `general` value; none of them is empty."""
    for each, end, value in slices[max(bisect_right(slices, start, key=itemgetter(0)) - 1, 0) :]:
        if each >= stop:
            break
        if start < each:
            yield start, each, general
            start = each
        if start < min(end, stop):
            yield start, min(end, stop), value
            start = min(end, stop)
    if start < stop:
        yield start, stop, general


def step_floor(policy: Policy) -> bool:
    """Whether the first step after the fullest mean update moves the model by 2^-16 of its length or more, and by 2^-16
    or more, at every learning rate that the rule can use, and not all of that update is rounded away (spec 4.6).
    Exact."""
    fullest, rule, constants = fullest_update(policy), server_rule(policy.step.rule), step_constants(policy.step)
    if fullest.vanishes:
        return False
    return fullest.length >= LEAST_GAIN if fullest.averaged else rule.moves(constants.slowest, fullest)


def step_ceiling(policy: Policy) -> bool:
    """Whether no step can overflow, at any learning rate that the rule can use: then a round that has an aggregate can
    always be closed (spec 4.6)."""
    constants = step_constants(policy.step).fastest
    bounded = constants.exact("learning_rate") <= MOST_RATE
    widest = max((min(each.exponent, LARGEST_EXPONENT) for each in policy.update.scales), default=SCALE_BIAS)
    most = policy.update.norm_bound + _most_noise(policy)  # of one, per weight
    longest = most * _unit(policy) * _power(max(widest - SCALE_BIAS, 0))
    return bounded and server_rule(policy.step.rule).stays(constants, longest)


def _most_noise(policy: Policy) -> int:
    """Of a coordinate of a sum, for each update in it: with trustees' noise of all of them for one update."""
    noise = policy.noise
    if noise is None:
        return 0
    if noise.error is None:
        return noise.group_bound
    return noise.error.group_bound + len(policy.trustees) * noise.group_bound


def _power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def _unit(policy: Policy) -> Fraction:
    return Fraction(1, 1 << min(policy.update.fraction_bits, LARGEST_FRACTION_BITS))


def initial_state(policy: Policy, model: Doubles) -> StepState:
    """The state before the first step; `model` float64 (d,)."""
    constants = step_constants(policy.step)
    _check_shape("model", model, policy.dimension)
    starts = (moment.start(constants) for moment in server_rule(policy.step.rule).moments)
    return StepState(model, tuple(np.full(policy.dimension, start, dtype=np.float64) for start in starts))


def mean_update(aggregate: NDArray[np.int64], weight: int, rule: UpdateRule) -> Doubles:
    """u = U / (weight * 2^fraction_bits / scale): U to the nearest double, the divisor an exact double, one division.

    Where a coordinate's bound is 0, u is 0: with noise for privacy U has some there, too, and the model is not to move.
    aggregate int64 (d,). Raises Rejected("server-step") unless 1 <= weight < 2^53, so that the divisor is exact: more
    than any cohort of lawful weights has.
    """
    if not 1 <= weight < 2**53:
        raise Rejected("server-step", "a sum of weights of 1 to 2^53 - 1", str(weight))
    total = aggregate.astype(np.float64)
    mean: Doubles = total / np.full(1, math.ldexp(weight, rule.fraction_bits))
    for scale in rule.scales:
        where = slice(scale.start, scale.stop)
        mean[where] = total[where] / np.full(1, math.ldexp(weight, rule.fraction_bits - scale.exponent + SCALE_BIAS))
    for start, stop, bound in _bounded(rule, 0, len(mean)):
        if bound == 0:
            mean[start:stop] = 0.0
    return mean


def apply_step(policy: Policy, state: StepState, aggregate: NDArray[np.int64], weight: int, number: int) -> StepState:
    """The next state from the sum U (int64, (d,)) of the accepted updates of round `number`, counted from 1, of this
    weight in all: how many they are, where all weigh 1.

    Raises Rejected("server-step") where a value is not finite, or the weight no sum of weights; Misuse for shapes that
    do not fit the policy.
    """
    _check_shape("aggregate", aggregate, policy.dimension)
    with np.errstate(all="ignore"):  # overflow is found later, and named
        mean = mean_update(aggregate, weight, policy.update)
    return step_by(policy, state, mean, number)


def step_by(policy: Policy, state: StepState, mean: Doubles, number: int) -> StepState:
    """The next state from a mean update, float64 (d,), in the model's units; the rest as of `apply_step`."""
    _require_subnormals()
    rule, constants = server_rule(policy.step.rule), step_constants(policy.step).in_round(number)
    _check_shape("model", state.model, policy.dimension)
    if len(state.moments) != len(rule.moments):
        raise Misuse(f"a {rule.name} step needs the {named(rule.moments)} of the step before")
    with np.errstate(all="ignore"):  # overflow is found below, and named
        model, moments = rule.step(constants, state.model, state.moments, mean)
        _average_statistics(policy, state, mean, model, moments)
    model = _clamp_nonnegative(policy, model)
    _check_finite("model", model)
    for moment, vector in zip(rule.moments, moments, strict=True):
        _check_finite(moment.name, vector)
    return StepState(model, moments)


def _average_statistics(
    policy: Policy, state: StepState, mean: Doubles, model: Doubles, moments: tuple[Doubles, ...]
) -> None:
    """In tensors of the role `statistic`: x + u, and moments that stay; `model` and `moments` are changed in place."""
    for tensor, start, stop in placed(policy.tensors):
        if tensor.role == STATISTIC:
            model[start:stop] = state.model[start:stop] + mean[start:stop]
            for moment, before in zip(moments, state.moments, strict=True):
                moment[start:stop] = before[start:stop]


def _clamp_nonnegative(policy: Policy, model: Doubles) -> Doubles:
    """x > 0 ? x : +0 for the tensors marked so; a maximum would leave the sign of zero to the machine. Keeps NaN."""
    for tensor, start, stop in placed(policy.tensors):
        if tensor.nonnegative:
            part = model[start:stop]
            model[start:stop] = np.where(part <= 0.0, 0.0, part)
    return model


def encode_model(model: Doubles) -> bytes:
    """d float64, little-endian."""
    return model.astype("<f8", copy=False).tobytes()


def decode_model(data: bytes, dimension: int) -> Doubles:
    """float64 (dimension,); raises Malformed for another length and for NaN or infinity."""
    return _decode_vectors("model", data, 1, dimension).reshape(dimension)


def encode_optimizer(state: StepState) -> bytes | None:
    """The moments one after the other, d float64 little-endian each; None where the rule keeps nothing."""
    return b"".join(map(encode_model, state.moments)) if state.moments else None


def decode_optimizer(policy: Policy, data: bytes) -> tuple[Doubles, ...]:
    """The moments; raises Malformed for another length, NaN, infinity, or one below zero that cannot be."""
    moments = server_rule(policy.step.rule).moments
    vectors = tuple(_decode_vectors("optimizer", data, len(moments), policy.dimension))
    for moment, vector in zip(moments, vectors, strict=True):
        if moment.nonnegative and np.signbit(vector).any():
            found = f"one below at {int(np.signbit(vector).argmax())}"
            raise Malformed("optimizer", f"{moment.name}s of at least zero", found)
    return vectors


def _decode_vectors(where: str, data: bytes, count: int, dimension: int) -> NDArray[np.float64]:
    if len(data) != count * dimension * 8:
        raise Malformed(where, f"{count * dimension * 8} bytes", f"{len(data)}")
    vectors = np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(count, dimension)
    finite = np.isfinite(vectors)
    if not finite.all():
        raise Malformed(where, "finite values", f"{vectors.flat[int(finite.argmin())]} at {int(finite.argmin())}")
    return vectors


def _check_shape(name: str, vector: NDArray[np.generic], dimension: int) -> None:
    if vector.shape != (dimension,):
        raise Misuse(f"{name} has shape {vector.shape}, the policy says ({dimension},)")


def _check_finite(name: str, vector: Doubles) -> None:
    if not np.isfinite(vector).all():
        index = int(np.isfinite(vector).argmin())
        raise Rejected("server-step", "finite values", f"{vector[index]} in the {name} at coordinate {index}")


def _require_subnormals() -> None:
    """Some libraries switch the processor to flush subnormals to zero; a replay there would differ."""
    if (np.array([_SMALLEST_SUBNORMAL]) * np.array([1.0]))[0] == 0.0:
        raise Misuse("this thread flushes subnormal numbers to zero; turn that off before a server step")
