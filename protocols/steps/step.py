"""The server step: from the decrypted integers to the next global model, bit for bit (spec 4.6).

Every operation is one IEEE 754 double operation (+ - * / sqrt, round to nearest even) on one coordinate, in the order
written here and in the rule; no reduction, no power, no fused multiply-add. Whoever replays it gets the same bits on
every machine. What a rule does is in its own file: `protocols.steps.registry` has them all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Malformed, Misuse, Rejected
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.policy import Policy
from protocols.steps.doubles import Doubles
from protocols.steps.registry import server_rule, step_constants
from protocols.steps.rule import MOST_RATE, FullestUpdate, named

_SMALLEST_SUBNORMAL = 5e-324


@dataclass(frozen=True)
class StepState:
    """The model and the moments that the rule keeps: float64 (d,) each."""

    model: Doubles
    moments: tuple[Doubles, ...]


def fullest_update(policy: Policy) -> FullestUpdate:
    """Of the norm bound, and of the bounds on coordinates where there are any (spec 4.6)."""
    rule, unit = policy.update, _unit(policy)
    general = rule.norm_bound if rule.coordinate_bound is None else rule.coordinate_bound
    inside = [(group.stop - group.start, group.bound) for group in rule.groups]
    outside = policy.dimension - sum(count for count, _ in inside)
    bounds = [(count, min(bound, rule.norm_bound)) for count, bound in [(outside, general), *inside] if count > 0]
    squares = sum(count * bound * bound for count, bound in bounds)
    if squares == 0:
        return FullestUpdate(Fraction(0), Fraction(0), unit)
    length, peak = min(rule.norm_bound, math.isqrt(squares)), max(bound for _, bound in bounds)
    return FullestUpdate(length * unit, Fraction((peak * length) ** 2, squares) * unit * unit, unit)


def step_floor(policy: Policy) -> bool:
    """Whether the first step after the fullest mean update moves the model by 2^-16 of its length or more, and by 2^-16
    or more, at every learning rate that the rule can use, and not all of that update is rounded away (spec 4.6).
    Exact."""
    fullest, constants = fullest_update(policy), step_constants(policy.step)
    return not fullest.vanishes and server_rule(policy.step.rule).moves(constants.slowest, fullest)


def step_ceiling(policy: Policy) -> bool:
    """Whether no step can overflow, at any learning rate that the rule can use: then a round that has an aggregate can
    always be closed (spec 4.6)."""
    constants = step_constants(policy.step).fastest
    bounded = constants.exact("learning_rate") <= MOST_RATE
    return bounded and server_rule(policy.step.rule).stays(constants, policy.update.norm_bound * _unit(policy))


def _unit(policy: Policy) -> Fraction:
    return Fraction(1, 1 << min(policy.update.fraction_bits, LARGEST_FRACTION_BITS))


def initial_state(policy: Policy, model: Doubles) -> StepState:
    """The state before the first step; `model` float64 (d,)."""
    constants = step_constants(policy.step)
    _check_shape("model", model, policy.dimension)
    starts = (moment.start(constants) for moment in server_rule(policy.step.rule).moments)
    return StepState(model, tuple(np.full(policy.dimension, start, dtype=np.float64) for start in starts))


def mean_update(aggregate: NDArray[np.int64], count: int, fraction_bits: int) -> Doubles:
    """u = U / (count * 2^fraction_bits): U to the nearest double, the divisor an exact double, one division.

    aggregate int64 (d,), 1 <= count < 2^31, so that the divisor is exact.
    """
    if not 1 <= count < 2**31:
        raise Misuse(f"count must be between 1 and 2^31 - 1, not {count}")
    divisor = np.full(1, math.ldexp(count, fraction_bits))
    mean: Doubles = aggregate.astype(np.float64) / divisor
    return mean


def apply_step(policy: Policy, state: StepState, aggregate: NDArray[np.int64], count: int, number: int) -> StepState:
    """The next state from the sum U (int64, (d,)) over `count` accepted clients in round `number`, counted from 1.

    Raises Rejected("server-step") where a value is not finite; Misuse for shapes that do not fit the policy.
    """
    _require_subnormals()
    rule, constants = server_rule(policy.step.rule), step_constants(policy.step).in_round(number)
    _check_shape("aggregate", aggregate, policy.dimension)
    _check_shape("model", state.model, policy.dimension)
    if len(state.moments) != len(rule.moments):
        raise Misuse(f"a {rule.name} step needs the {named(rule.moments)} of the step before")
    with np.errstate(all="ignore"):  # overflow is found below, and named
        mean = mean_update(aggregate, count, policy.update.fraction_bits)
        model, moments = rule.step(constants, state.model, state.moments, mean)
    model = _clamp_nonnegative(policy, model)
    _check_finite("model", model)
    for moment, vector in zip(rule.moments, moments, strict=True):
        _check_finite(moment.name, vector)
    return StepState(model, moments)


def _clamp_nonnegative(policy: Policy, model: Doubles) -> Doubles:
    """x > 0 ? x : +0 for the tensors marked so; a maximum would leave the sign of zero to the machine. Keeps NaN."""
    start = 0
    for tensor in policy.tensors:
        stop = start + math.prod(tensor.shape)
        if tensor.nonnegative:
            part = model[start:stop]
            model[start:stop] = np.where(part <= 0.0, 0.0, part)
        start = stop
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
