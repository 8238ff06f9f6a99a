"""The server step: from the decrypted integers to the next global model, bit for bit (spec 4.6).

Every operation is one IEEE 754 double operation (+ - * / sqrt, round to nearest even) on one coordinate, in the order
written here; no reduction, no power, no fused multiply-add. Whoever replays it gets the same bits on every machine.

x model, m first and v second moment, u the mean update, eta learning rate.
FedAvg (McMahan et al. 2017): x + eta u. FedAdam (Reddi et al. 2021, algorithm 2, without bias correction).
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Malformed, Misuse, Rejected
from protocols.fixed_point import LARGEST_FRACTION_BITS
from protocols.policy import Policy, StepRule

Vector = NDArray[np.float64]

FEDAVG = "fedavg"
FEDADAM = "fedadam"
_HEX_DOUBLE = re.compile(r"[0-9a-f]{16}")
_SMALLEST_SUBNORMAL = 5e-324
_LEAST_GAIN = Fraction(1, 1 << 16)
_MOST_RATE = Fraction(1 << 16)
_MOST_MOVE = Fraction(1 << 64)


@dataclass(frozen=True)
class StepState:
    """The model and what the rule remembers: float64 (d,) each; `round` counts the steps taken, 0 at the start."""

    model: Vector
    first: Vector | None
    second: Vector | None
    round: int


@dataclass(frozen=True)
class StepConstants:
    """A StepRule's hyper-parameters as doubles; the last three are None for fedavg."""

    rule: str
    learning_rate: float
    beta1: float | None
    beta2: float | None
    epsilon: float | None


def format_double(value: float) -> str:
    """16 lower-case hexadecimal digits: the big-endian bytes of a finite double; Misuse for another."""
    if not math.isfinite(value):
        raise Misuse(f"a hyper-parameter must be finite, not {value}")
    return struct.pack(">d", value).hex()


def parse_double(text: str) -> float:
    """Inverse of `format_double`; raises Malformed for any other spelling, NaN, infinity and minus zero."""
    if not _HEX_DOUBLE.fullmatch(text):
        raise Malformed("hyper-parameter", "16 lower-case hexadecimal digits", repr(text))
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    if not math.isfinite(value) or (value == 0.0 and text[0] == "8"):
        raise Malformed("hyper-parameter", "a finite double other than minus zero", text)
    return value


def fedavg(learning_rate: float = 1.0) -> StepRule:
    """The rule `fedavg`; raises Misuse unless learning_rate is positive and finite."""
    return _validated(StepRule(FEDAVG, format_double(learning_rate), None, None, None))


def fedadam(learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-3) -> StepRule:
    """The rule `fedadam`; raises Misuse unless learning_rate, epsilon > 0 and 0 <= beta1, beta2 < 1."""
    numbers = (format_double(value) for value in (learning_rate, beta1, beta2, epsilon))
    return _validated(StepRule(FEDADAM, *numbers))


def step_constants(rule: StepRule) -> StepConstants:
    """The rule decoded and range-checked; raises Rejected("policy-step") naming the field."""
    if rule.rule not in (FEDAVG, FEDADAM):
        raise Rejected("policy-step", f"the rule {FEDAVG} or {FEDADAM}", repr(rule.rule))
    moments = {name: getattr(rule, name) for name in ("beta1", "beta2", "epsilon")}
    for name, text in moments.items():
        if (text is None) != (rule.rule == FEDAVG):
            raise Rejected("policy-step", f"{name} for {FEDADAM} and for no other rule", f"{rule.rule} with {text!r}")
    learning_rate = _positive("learning_rate", rule.learning_rate)
    if rule.beta1 is None or rule.beta2 is None or rule.epsilon is None:
        return StepConstants(rule.rule, learning_rate, None, None, None)
    betas = _fraction("beta1", rule.beta1), _fraction("beta2", rule.beta2)
    return StepConstants(rule.rule, learning_rate, *betas, _positive("epsilon", rule.epsilon))


def step_floor(policy: Policy) -> bool:
    """Whether the first step moves the model by 2^-16 or more of a mean update that is as long as the bound allows and
    spread evenly over the coordinates, at every learning rate that the rule can use (spec 4.6).

    Exact: for fedadam with the upper bound e + max(e, r) of its divisor, r one coordinate of such an update.
    """
    constants = step_constants(policy.step)
    rate = Fraction(constants.learning_rate)
    if constants.beta1 is None or constants.epsilon is None:
        return rate >= _LEAST_GAIN
    epsilon = Fraction(constants.epsilon)
    room = rate * (1 - Fraction(constants.beta1)) / _LEAST_GAIN - epsilon
    return room >= epsilon and room * room * policy.dimension >= _longest(policy) ** 2


def step_ceiling(policy: Policy) -> bool:
    """Whether no step can overflow, at any learning rate that the rule can use: then a round that has an aggregate can
    always be closed (spec 4.6)."""
    constants = step_constants(policy.step)
    rate = Fraction(constants.learning_rate)
    if rate > _MOST_RATE or constants.epsilon is None:
        return rate <= _MOST_RATE
    return rate * _longest(policy) <= _MOST_MOVE * Fraction(constants.epsilon)


def _longest(policy: Policy) -> Fraction:
    """The norm bound, exactly, as a length of the mean update."""
    return Fraction(policy.update.norm_bound, 1 << min(policy.update.fraction_bits, LARGEST_FRACTION_BITS))


def initial_state(policy: Policy, model: Vector) -> StepState:
    """The state before the first step; `model` float64 (d,). FedAdam starts from m = 0, v = epsilon^2 (Reddi et al)."""
    constants = step_constants(policy.step)
    _check_shape("model", model, policy.dimension)
    if constants.epsilon is None:
        return StepState(model, None, None, 0)
    zeros = np.zeros(policy.dimension, dtype=np.float64)
    return StepState(model, zeros, zeros + constants.epsilon * constants.epsilon, 0)


def mean_update(aggregate: NDArray[np.int64], count: int, fraction_bits: int) -> Vector:
    """u = U / (count * 2^fraction_bits): U to the nearest double, the divisor an exact double, one division.

    aggregate int64 (d,), 1 <= count < 2^31, so that the divisor is exact.
    """
    if not 1 <= count < 2**31:
        raise Misuse(f"count must be between 1 and 2^31 - 1, not {count}")
    divisor = np.full(1, math.ldexp(count, fraction_bits))
    mean: Vector = aggregate.astype(np.float64) / divisor
    return mean


def apply_step(policy: Policy, state: StepState, aggregate: NDArray[np.int64], count: int) -> StepState:
    """The next state from the sum U (int64, (d,)) over `count` accepted clients.

    Raises Rejected("server-step") where a value is not finite; Misuse for shapes that do not fit the policy.
    """
    _require_subnormals()
    constants = step_constants(policy.step)
    _check_shape("aggregate", aggregate, policy.dimension)
    _check_shape("model", state.model, policy.dimension)
    with np.errstate(all="ignore"):  # overflow is found below, and named
        mean = mean_update(aggregate, count, policy.update.fraction_bits)
        model, first, second = _step(constants, state, mean)
    model = _clamp_nonnegative(policy, model)
    for name, vector in (("model", model), ("first moment", first), ("second moment", second)):
        _check_finite(name, vector)
    return StepState(model, first, second, state.round + 1)


def _step(constants: StepConstants, state: StepState, mean: Vector) -> tuple[Vector, Vector | None, Vector | None]:
    eta, beta1, beta2, epsilon = constants.learning_rate, constants.beta1, constants.beta2, constants.epsilon
    if beta1 is None or beta2 is None or epsilon is None:
        return state.model + eta * mean, None, None
    if state.first is None or state.second is None:
        raise Misuse("a fedadam step needs the moments of the step before")
    first = beta1 * state.first + (1.0 - beta1) * mean
    second = beta2 * state.second + (1.0 - beta2) * (mean * mean)
    return state.model + (eta * first) / (np.sqrt(second) + epsilon), first, second


def _clamp_nonnegative(policy: Policy, model: Vector) -> Vector:
    """x > 0 ? x : +0 for the tensors marked so; a maximum would leave the sign of zero to the machine. Keeps NaN."""
    start = 0
    for tensor in policy.tensors:
        stop = start + math.prod(tensor.shape)
        if tensor.nonnegative:
            part = model[start:stop]
            model[start:stop] = np.where(part <= 0.0, 0.0, part)
        start = stop
    return model


def encode_model(model: Vector) -> bytes:
    """d float64, little-endian."""
    return model.astype("<f8", copy=False).tobytes()


def decode_model(data: bytes, dimension: int) -> Vector:
    """float64 (dimension,); raises Malformed for another length and for NaN or infinity."""
    return _decode_vectors("model", data, 1, dimension).reshape(dimension)


def encode_optimizer(state: StepState) -> bytes | None:
    """First then second moment, 2 d float64 little-endian; None where the rule remembers nothing."""
    if state.first is None or state.second is None:
        return None
    return encode_model(state.first) + encode_model(state.second)


def decode_optimizer(data: bytes, dimension: int) -> tuple[Vector, Vector]:
    """(first, second) moments; raises Malformed for another length, NaN, infinity or a negative second moment."""
    first, second = _decode_vectors("optimizer", data, 2, dimension)
    if np.signbit(second).any():
        raise Malformed(
            "optimizer", "second moments of at least zero", f"one below at {int(np.signbit(second).argmax())}"
        )
    return first, second


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


def _check_finite(name: str, vector: Vector | None) -> None:
    if vector is not None and not np.isfinite(vector).all():
        index = int(np.isfinite(vector).argmin())
        raise Rejected("server-step", "finite values", f"{vector[index]} in the {name} at coordinate {index}")


def _require_subnormals() -> None:
    """Some libraries switch the processor to flush subnormals to zero; a replay there would differ."""
    if (np.array([_SMALLEST_SUBNORMAL]) * np.array([1.0]))[0] == 0.0:
        raise Misuse("this thread flushes subnormal numbers to zero; turn that off before a server step")


def _positive(name: str, text: str) -> float:
    value = _parse_field(name, text)
    if value <= 0.0:
        raise Rejected("policy-step", f"{name} above zero", f"{value}")
    return value


def _fraction(name: str, text: str) -> float:
    value = _parse_field(name, text)
    if not 0.0 <= value < 1.0:
        raise Rejected("policy-step", f"{name} at least 0 and below 1", f"{value}")
    return value


def _parse_field(name: str, text: str) -> float:
    try:
        return parse_double(text)
    except Malformed as error:
        raise Rejected("policy-step", f"{name} as {error.expected}", error.found) from error


def _validated(rule: StepRule) -> StepRule:
    try:
        step_constants(rule)
    except Rejected as error:
        raise Misuse(f"server step: expected {error.expected}, found {error.found}") from error
    return rule
