"""Models and server steps, one double after the other (spec 4.5, 4.6)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

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


FEDAVGM = Rule(
    ("beta1",),
    lambda c: c["learning_rate"] > 0 and 0 <= c["beta1"] < 1,
    lambda c: (0.0,),
    lambda c, x, kept, u: (x + c["learning_rate"] * (m := c["beta1"] * kept[0] + u), (m,)),
    FEDAVG.floor,
    FEDAVG.ceiling,
)


def adaptive(
    second: Callable[[Constants, float, float], float],
    largest: Callable[[Constants, Fraction], Fraction],
    constants: tuple[str, ...] = ("beta1", "beta2", "epsilon"),
) -> Rule:
    """second: v' of v and u u. largest: the square that bounds sqrt(v') after the first step, of w squared."""

    def sound(c: Constants) -> bool:
        return c["learning_rate"] > 0 and all(0 <= c[each] < 1 for each in constants[:-1]) and c["epsilon"] > 0

    def step(c: Constants, x: float, kept: Moments, u: float) -> tuple[float, Moments]:
        m = c["beta1"] * kept[0] + (1.0 - c["beta1"]) * u
        v = second(c, kept[1], u * u)
        return x + c["learning_rate"] * m / (math.sqrt(v) + c["epsilon"]), (m, v)

    def floor(c: Constants, scale: Fraction, steepest: Fraction) -> bool:
        left = 2**16 * Fraction(c["learning_rate"]) * (1 - Fraction(c["beta1"])) * scale - Fraction(c["epsilon"])
        return left >= 0 and left**2 >= largest(c, steepest)

    def ceiling(c: Constants, clip: Fraction) -> bool:
        return Fraction(c["learning_rate"]) * clip <= 2**64 * Fraction(c["epsilon"])

    return Rule(constants, sound, lambda c: (0.0, c["epsilon"] * c["epsilon"]), step, floor, ceiling)


def yogi_second(c: Constants, v: float, square: float) -> float:
    change = (1.0 - c["beta2"]) * square
    return v - change if v > square else v + change if v < square else v


FEDADAGRAD = adaptive(
    lambda c, v, square: v + square,
    lambda c, steepest: Fraction(c["epsilon"]) ** 2 + steepest,
    ("beta1", "epsilon"),
)
FEDADAM = adaptive(
    lambda c, v, square: c["beta2"] * v + (1.0 - c["beta2"]) * square,
    lambda c, steepest: max(Fraction(c["epsilon"]) ** 2, steepest),
)
FEDYOGI = adaptive(
    yogi_second,
    lambda c, steepest: Fraction(c["epsilon"]) ** 2 + (1 - Fraction(c["beta2"])) * steepest,
)

RULES = {
    "fedavg": FEDAVG,
    "fedavgm": FEDAVGM,
    "fedadagrad": FEDADAGRAD,
    "fedadam": FEDADAM,
    "fedyogi": FEDYOGI,
}


def rule_of(policy: Body) -> Rule:
    """`Unreadable` for a rule that is none of 4.6."""
    name = policy["step"]["rule"]
    if name not in RULES:
        raise Unreadable(f"no rule {name}")
    return RULES[name]


def rates_of(policy: Body) -> list[float]:
    """Of rounds 1, 2, and so on; the last one of all others, too."""
    return [constant(text) for text in policy["step"]["learning_rates"]]


def constants_of(policy: Body, rate: float) -> Constants:
    named = {name: constant(policy["step"][name]) for name in rule_of(policy).constants}
    return {"learning_rate": rate, **named}


def step_fault(policy: Body) -> str | None:
    """What is wrong with the rule and its constants, None if nothing is."""
    step = policy["step"]
    if step["rule"] not in RULES:
        return f"no rule {step['rule']}"
    rule = RULES[step["rule"]]
    for name in ("beta1", "beta2", "epsilon"):
        if (step[name] is None) == (name in rule.constants):
            return f"{step['rule']} and {name}"
    texts, rates = step["learning_rates"], rates_of(policy)
    if not texts or texts[-1:] == texts[-2:-1]:
        return "learning rates"
    sound = all(rule.sound(constants_of(policy, rate)) for rate in rates)
    return None if sound else f"constants of {step['rule']}"


def step_bounds(policy: Body) -> tuple[bool, bool]:
    """`step-floor` and `step-ceiling`: what a step moves at least and at most (4.6)."""
    rule, rates, update = rule_of(policy), rates_of(policy), policy["update"]
    unit = Fraction(1, 2 ** update["fraction_bits"])
    cells, trained = movable(policy)
    length, steepest, left = fullest(policy, cells)
    widest = max([Fraction(1), *(Fraction(2) ** (each["exponent"] - 64) for each in update["scales"])])
    noise = most_noise(policy)
    scale, clip = min(Fraction(1), length * unit), (update["norm_bound"] + noise) * unit * widest
    each_rate = [constants_of(policy, rate) for rate in sorted({min(rates), max(rates)})]
    if trained:
        floor = left and all(rule.floor(values, scale, steepest * unit**2) for values in each_rate)
    else:
        floor = left and length * unit >= Fraction(1, 2**16)
    return floor, all(values["learning_rate"] <= 2**16 and rule.ceiling(values, clip) for values in each_rate)


def most_noise(policy: Body) -> int:
    """Of a coordinate, for one update: E_n, or what all trustees and one client add."""
    noise = policy["noise"]
    if noise is None or noise["error"] is None:
        return 0 if noise is None else int(noise["group_bound"])
    return int(noise["error"]["group_bound"] + len(policy["trustees"]) * noise["group_bound"])


def fullest(policy: Body, cells: Mapping[tuple[int, int], int]) -> tuple[Fraction, Fraction, bool]:
    """l and the square of w, in units of scale 1, and whether something is left of that update (4.6)."""
    total = sum(count * beta**2 for (beta, _), count in cells.items())
    if total == 0:
        return Fraction(0), Fraction(0), False
    longest = min(policy["update"]["norm_bound"], math.isqrt(total))
    square = Fraction(longest**2, total)
    least = Fraction(2) ** min(power for _, power in cells)
    stretched = sum(count * (beta * Fraction(2) ** power / least) ** 2 for (beta, power), count in cells.items())
    length = math.isqrt(int(square * stretched)) * least
    steepest = max(beta * Fraction(2) ** power for beta, power in cells) ** 2 * square
    return length, steepest, 4 * max(beta for beta, _ in cells) ** 2 * square > 1


def movable(policy: Body) -> tuple[dict[tuple[int, int], int], bool]:
    """How many coordinates of parameters, or of all tensors if none of these may move, have the bound beta > 0 and the
    scale 2^power; and whether they are of parameters."""
    update, end = policy["update"], policy["dimension"]
    general = general_bound(policy)
    edges, start, roles = {0, end}, 0, list[tuple[int, int, int]]()
    for tensor in policy["tensors"]:
        stop = start + math.prod(tensor["shape"])
        roles.append((start, stop, int(tensor["role"] == "parameter")))
        start = stop
    slices = (
        roles,
        [(group["start"], group["stop"], group["bound"]) for group in update["groups"]],
        [(scale["start"], scale["stop"], scale["exponent"] - 64) for scale in update["scales"]],
    )
    edges |= {edge for kind in slices for start, stop, _ in kind for edge in (start, stop)}
    parameters: dict[tuple[int, int], int] = {}
    tensors: dict[tuple[int, int], int] = {}
    walks = [iter([*kind, (end, end + 1, 0)]) for kind in slices]
    current = [next(walk) for walk in walks]
    for low, high in pairwise(sorted(edges)):
        for number, walk in enumerate(walks):
            while current[number][1] <= low:
                current[number] = next(walk)
        inside = [start <= low for start, _, _ in current]
        trained = inside[0] and current[0][2] == 1
        beta = min(current[1][2] if inside[1] else general, update["norm_bound"])
        power = current[2][2] if inside[2] else 0
        if beta > 0:
            tensors[beta, power] = tensors.get((beta, power), 0) + high - low
            if trained:
                parameters[beta, power] = parameters.get((beta, power), 0) + high - low
    return parameters or tensors, bool(parameters)


def general_bound(policy: Body) -> int:
    """Of coordinates in no group, in units."""
    update = policy["update"]
    found: int = update["norm_bound"] if update["coordinate_bound"] is None else update["coordinate_bound"]
    return found


def frozen(policy: Body) -> list[bool]:
    """Of each coordinate, whether its bound is 0: the model does not move there, whatever the sum has (4.6)."""
    found = [general_bound(policy) == 0] * policy["dimension"]
    for group in policy["update"]["groups"]:
        found[group["start"] : group["stop"]] = [group["bound"] == 0] * (group["stop"] - group["start"])
    return found


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
    return 8 * policy["dimension"] * len(start_of(policy))


def start_of(policy: Body) -> Moments:
    return rule_of(policy).start(constants_of(policy, rates_of(policy)[0]))


def initial_state(policy: Body, model: list[float]) -> State:
    return State(model, [start_of(policy)] * len(model))


def server_step(policy: Body, state: State, aggregate: Sequence[int], weight: int, number: int) -> State:
    """The state after round `number`; `Unreadable` as `server-step` where a number is not finite, or the weight no
    sum of weights."""
    if not 1 <= weight < 1 << 53:
        raise Unreadable("server-step")
    rule, rates = rule_of(policy), rates_of(policy)
    values = constants_of(policy, rates[min(number, len(rates)) - 1])
    divisors = [math.ldexp(weight, policy["update"]["fraction_bits"])] * len(state.model)
    for scale in policy["update"]["scales"]:
        divisor = math.ldexp(weight, policy["update"]["fraction_bits"] - scale["exponent"] + 64)
        divisors[scale["start"] : scale["stop"]] = [divisor] * (scale["stop"] - scale["start"])
    each = zip(aggregate, divisors, frozen(policy), strict=True)
    means = [0.0 if still else float(total) / divisor for total, divisor, still in each]
    cells = zip(state.model, state.kept, means, strict=True)
    stepped = [rule.step(values, x, kept, mean) for x, kept, mean in cells]
    model, moments = [x for x, _ in stepped], [kept for _, kept in stepped]
    start = 0
    for tensor in policy["tensors"]:
        stop = start + math.prod(tensor["shape"])
        if tensor["role"] == "statistic":
            model[start:stop] = [x + u for x, u in zip(state.model[start:stop], means[start:stop], strict=True)]
            moments[start:stop] = state.kept[start:stop]
        if tensor["nonnegative"]:
            model[start:stop] = [0.0 if x <= 0 else x for x in model[start:stop]]
        start = stop
    if not all(map(math.isfinite, [*model, *(value for kept in moments for value in kept)])):
        raise Unreadable("server-step")
    return State(model, moments)
