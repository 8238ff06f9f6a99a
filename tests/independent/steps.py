"""Models and server steps, one double after the other (spec 4.5, 4.6)."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from tests.independent.encoding import Body, Unreadable
from tests.independent.policies import constant


def doubles(data: bytes) -> list[float]:
    """Little-endian doubles, every one finite."""
    values = list(struct.unpack(f"<{len(data) // 8}d", data))
    if not all(map(math.isfinite, values)):
        raise Unreadable("a number that is not finite")
    return values


def packed(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


@dataclass(frozen=True)
class State:
    """The model, and FedAdam's moments (empty for FedAvg)."""

    model: list[float]
    first: list[float]
    second: list[float]

    @property
    def optimizer(self) -> bytes | None:
        return packed(self.first + self.second) if self.first else None


def initial_state(policy: Body, model: list[float]) -> State:
    if policy["step"]["rule"] == "fedavg":
        return State(model, [], [])
    epsilon = constant(policy["step"]["epsilon"])
    return State(model, [0.0] * len(model), [epsilon * epsilon] * len(model))


def server_step(policy: Body, state: State, aggregate: Sequence[int], count: int) -> State:
    """The state after a round; `Unreadable` as `server-step` where a number is not finite."""
    step = policy["step"]
    divisor = math.ldexp(count, policy["update"]["fraction_bits"])
    means = [float(value) / divisor for value in aggregate]
    rate = constant(step["learning_rate"])
    first, second = state.first, state.second
    if step["rule"] == "fedavg":
        model = [x + rate * u for x, u in zip(state.model, means, strict=True)]
    else:
        b1, b2, epsilon = (constant(step[name]) for name in ("beta1", "beta2", "epsilon"))
        first = [b1 * m + (1.0 - b1) * u for m, u in zip(first, means, strict=True)]
        second = [b2 * v + (1.0 - b2) * (u * u) for v, u in zip(second, means, strict=True)]
        moments = zip(state.model, first, second, strict=True)
        model = [x + rate * m / (math.sqrt(v) + epsilon) for x, m, v in moments]
    start = 0
    for tensor in policy["tensors"]:
        stop = start + math.prod(tensor["shape"])
        if tensor["nonnegative"]:
            model[start:stop] = [0.0 if x <= 0 else x for x in model[start:stop]]
        start = stop
    if not all(map(math.isfinite, model + first + second)):
        raise Unreadable("server-step")
    return State(model, first, second)
