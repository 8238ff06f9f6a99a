"""Models and server steps, one double after the other (spec 4.5, 4.6)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from tests.independent.encoding import Body, Unreadable

Constants = Mapping[str, float]
Moments = tuple[float, ...]


def doubles(data: bytes) -> list[float]:
    """Little-endian doubles, every one finite."""
    values = list(struct.unpack(f"<{len(data) // 8}d", data))
    if not all(map(math.isfinite, values)):
        raise Unreadable("a number that is not finite")
    return values


def packed(values: Sequence[float]) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


def constant(text: str) -> float:
    """A double in 16 lower-case hexadecimal digits; NaN where it is none (4.6)."""
    if not re.fullmatch("[0-9a-f]{16}", text) or text == "8" + "0" * 15:
        return math.nan
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return value if math.isfinite(value) else math.nan


# --- the rules ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rule:
    """constants: beside the learning rate. start, step: what is kept of one coordinate at first, and (x', kept') of
    (x, kept, u). sound: of its constants. floor: of constants, min(1, l) and w squared. ceiling: of constants and L."""

    constants: tuple[str, ...]
    sound: Callable[[Constants], bool]
    start: Callable[[Constants], Moments]
    step: Callable[[Constants, float, Moments, float], tuple[float, Moments]]
    floor: Callable[[Constants, Fraction, Fraction], bool]
    ceiling: Callable[[Constants, Fraction], bool]


FEDAVG = Rule(
    (),
    lambda c: c["learning_rate"] > 0,
    lambda c: (),
    lambda c, x, kept, u: (x + c["learning_rate"] * u, kept),
    lambda c, scale, steepest: Fraction(c["learning_rate"]) * scale * 2**16 >= 1,
    lambda c, clip: True,
)


def adam_step(c: Constants, x: float, kept: Moments, u: float) -> tuple[float, Moments]:
    m, v = kept
    m = c["beta1"] * m + (1.0 - c["beta1"]) * u
    v = c["beta2"] * v + (1.0 - c["beta2"]) * (u * u)
    return x + c["learning_rate"] * m / (math.sqrt(v) + c["epsilon"]), (m, v)


def adam_floor(c: Constants, scale: Fraction, steepest: Fraction) -> bool:
    epsilon = Fraction(c["epsilon"])
    left = 2**16 * Fraction(c["learning_rate"]) * (1 - Fraction(c["beta1"])) * scale - epsilon
    return left >= epsilon and left**2 >= steepest


FEDADAM = Rule(
    ("beta1", "beta2", "epsilon"),
    lambda c: c["learning_rate"] > 0 and 0 <= c["beta1"] < 1 and 0 <= c["beta2"] < 1 and c["epsilon"] > 0,
    lambda c: (0.0, c["epsilon"] * c["epsilon"]),
    adam_step,
    adam_floor,
    lambda c, clip: Fraction(c["learning_rate"]) * clip <= 2**64 * Fraction(c["epsilon"]),
)

RULES = {"fedavg": FEDAVG, "fedadam": FEDADAM}


def rule_of(policy: Body) -> Rule:
    """`Unreadable` for a rule that is none of 4.6."""
    name = policy["step"]["rule"]
    if name not in RULES:
        raise Unreadable(f"no rule {name}")
    return RULES[name]


def constants_of(policy: Body) -> Constants:
    names = ("learning_rate", *rule_of(policy).constants)
    return {name: constant(policy["step"][name]) for name in names}


def step_fault(policy: Body) -> str | None:
    """What is wrong with the rule and its constants, None if nothing is."""
    step = policy["step"]
    if step["rule"] not in RULES:
        return f"no rule {step['rule']}"
    rule = RULES[step["rule"]]
    for name in ("beta1", "beta2", "epsilon"):
        if (step[name] is None) == (name in rule.constants):
            return f"{step['rule']} and {name}"
    return None if rule.sound(constants_of(policy)) else f"constants of {step['rule']}"


def step_bounds(policy: Body) -> tuple[bool, bool]:
    """`step-floor` and `step-ceiling`: what a step moves at least and at most (4.6)."""
    rule, values, update = rule_of(policy), constants_of(policy), policy["update"]
    unit = Fraction(1, 2 ** update["fraction_bits"])
    longest, steepest = fullest(policy)
    floor = 4 * steepest > 1 and rule.floor(values, min(Fraction(1), longest * unit), steepest * unit**2)
    return floor, values["learning_rate"] <= 2**16 and rule.ceiling(values, update["norm_bound"] * unit)


def fullest(policy: Body) -> tuple[int, Fraction]:
    """M, and the square of w, in units (4.6)."""
    update, left = policy["update"], policy["dimension"]
    counts: dict[int, int] = {}
    for group in update["groups"]:
        beta, count = min(group["bound"], update["norm_bound"]), group["stop"] - group["start"]
        counts[beta] = counts.get(beta, 0) + count
        left -= count
    general = update["norm_bound"] if update["coordinate_bound"] is None else update["coordinate_bound"]
    beta = min(general, update["norm_bound"])
    counts[beta] = counts.get(beta, 0) + left
    total = sum(count * beta**2 for beta, count in counts.items())
    if total == 0:
        return 0, Fraction(0)
    longest = min(update["norm_bound"], math.isqrt(total))
    return longest, Fraction((max(beta for beta, count in counts.items() if count) * longest) ** 2, total)


# --- the step -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """The model, and what the rule keeps of each coordinate."""

    model: list[float]
    kept: list[Moments]

    @property
    def optimizer(self) -> bytes | None:
        """One moment after the other; None where nothing is kept."""
        return packed([value for moment in zip(*self.kept, strict=True) for value in moment]) or None


def kept_size(policy: Body) -> int:
    """Bytes of an optimizer blob."""
    return 8 * policy["dimension"] * len(rule_of(policy).start(constants_of(policy)))


def initial_state(policy: Body, model: list[float]) -> State:
    start = rule_of(policy).start(constants_of(policy))
    return State(model, [start] * len(model))


def server_step(policy: Body, state: State, aggregate: Sequence[int], count: int) -> State:
    """The state after a round; `Unreadable` as `server-step` where a number is not finite."""
    rule, values = rule_of(policy), constants_of(policy)
    divisor = math.ldexp(count, policy["update"]["fraction_bits"])
    cells = zip(state.model, state.kept, aggregate, strict=True)
    stepped = [rule.step(values, x, kept, float(total) / divisor) for x, kept, total in cells]
    model, moments = [x for x, _ in stepped], [kept for _, kept in stepped]
    start = 0
    for tensor in policy["tensors"]:
        stop = start + math.prod(tensor["shape"])
        if tensor["nonnegative"]:
            model[start:stop] = [0.0 if x <= 0 else x for x in model[start:stop]]
        start = stop
    if not all(map(math.isfinite, [*model, *(value for kept in moments for value in kept)])):
        raise Unreadable("server-step")
    return State(model, moments)
