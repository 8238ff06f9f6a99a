"""The conditions that a policy has to meet (spec 4.2)."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from tests.independent.curve import ORDER
from tests.independent.encoding import Body
from tests.independent.parameters import DEGREE, TAIL, Numbers

MODULI = (
    0xFFFFFDC001,
    0x3FFFFFFA001,
    0xFFFFFFFC001,
    0x3FFFFFF84001,
    0xFFFFFFFFC001,
    0x3FFFFFFFFC001,
    0xFFFFFFFFCA001,
    0x3FFFFFFFFD6001,
    0xFFFFFFFFFBA001,
    0x3FFFFFFFFF72001,
    0xFFFFFFFFFFFC001,
    0x3FFFFFFFFFFF0001,
)
SECURITY = ((40, 388), (50, 291), (62, 218))
CHECKS = {f"I{i}" for i in range(1, 13)} | {f"P{i}" for i in range(1, 8)}
DTYPES = ("float16", "bfloat16", "float32", "float64")


def distinct(items: list[object]) -> bool:
    return len(items) == len(set(items))


def roster_conditions(policy: Body) -> Iterator[tuple[str, bool]]:
    """Those that I3 reports."""
    trustees = [(member["id"], member["public_key"]) for member in policy["trustees"]]
    clients = [(member["id"], member["public_key"]) for member in policy["roster"]]
    both = set(trustees) | set(clients)
    keys = {key for _, key in both}
    names = [name for name, _ in clients]
    yield "trustee-ids", distinct([name for name, _ in trustees])
    yield "trustee-keys", distinct([key for _, key in trustees])
    yield "client-ids", distinct(list(names))
    yield "client-keys", distinct([key for _, key in clients])
    yield "roster-order", all(a < b for a, b in pairwise(names))
    yield "one-key-per-id", distinct([name for name, _ in both])
    yield "one-id-per-key", distinct([key for _, key in both])
    yield "role-names", not {name for name, _ in both} & {"coordinator", "issuer"}
    yield "log-key", policy["log_key"] not in keys
    yield "issuer-key", policy["issuer_key"] not in keys | {policy["log_key"]}


def shape_conditions(policy: Body) -> Iterator[tuple[str, bool]]:
    """Conditions without which nothing else can be computed."""
    update, lattice, d = policy["update"], policy["lattice"], policy["dimension"]
    tensors = policy["tensors"]
    yield "dimension", d == sum(math.prod(tensor["shape"]) for tensor in tensors)
    yield "dimension-positive", d >= 1
    yield "dimension-limit", d <= 1 << 28
    yield "norm-bound-positive", update["norm_bound"] >= 1
    yield "norm-bound-limit", update["norm_bound"] <= 1 << 40
    yield "projections", policy["projections"] >= 360
    yield "degree", lattice["degree"] == DEGREE
    yield "modulus", lattice["modulus"] in MODULI
    yield "scale-power", lattice["plaintext_scale"].bit_count() == 1
    edges = [0, *(edge for group in update["groups"] for edge in (group["start"], group["stop"])), d]
    ordered = all(a <= b for a, b in pairwise(edges))
    ordered = ordered and all(group["start"] < group["stop"] for group in update["groups"])
    ordered = ordered and (update["coordinate_bound"] is not None or not update["groups"])
    yield "argument", ordered and policy["projections"] <= 4096


def number_conditions(policy: Body, numbers: Numbers) -> Iterator[tuple[str, bool]]:
    """The conditions on the numbers of the argument and the encryption."""
    n, E, message = numbers.n, numbers.noise_bound, numbers.message_bound
    bits = numbers.q.bit_length()
    lattice = policy["lattice"]
    yield "plaintext-int64", n * numbers.B < 1 << 63
    yield "argument", all(holds for _, holds in argument_conditions(numbers))
    yield (
        "lattice-security",
        any(cost >= 190 for size, cost in SECURITY if size == min(s for s, _ in SECURITY if s >= bits)),
    )
    yield "scale", 2 * n * message < numbers.T
    yield "decryption", 2 * n * (E * numbers.T + message) < numbers.q
    yield "sigma", lattice["sigma_tenths"] == 66
    yield "tail", lattice["tail"] == TAIL
    yield "key-digits", n * E < 1 << 23
    yield from step_conditions(numbers)


def step_conditions(numbers: Numbers) -> Iterator[tuple[str, bool]]:
    """What a step moves at least and at most (4.6)."""
    step = numbers.policy["step"]
    rate = Fraction(constant(step["learning_rate"]))
    clip = Fraction(numbers.B, 2 ** numbers.policy["update"]["fraction_bits"])
    if step["rule"] == "fedavg":
        yield "step-floor", rate * 2**16 >= 1
        yield "step-ceiling", rate <= 2**16
        return
    beta1, epsilon = Fraction(constant(step["beta1"])), Fraction(constant(step["epsilon"]))
    left = 2**16 * rate * (1 - beta1) - epsilon
    yield "step-floor", left >= epsilon and left**2 * numbers.d >= clip**2
    yield "step-ceiling", rate <= 2**16 and rate * clip <= 2**64 * epsilon


def argument_conditions(numbers: Numbers) -> Iterator[tuple[str, bool]]:
    """Ranges and no wrap-around (5.3)."""
    X = 4 * numbers.Z
    largest = max((beta for _, _, beta in numbers.slices), default=0)
    policy_bound = numbers.policy["update"]["coordinate_bound"]
    yield "beta", max(largest, policy_bound or 0) <= 1 << 20
    yield "projections", 2 * X < ORDER
    yield "norm", 2 * (numbers.R + 1) * numbers.C * X**2 < ORDER
    if numbers.ranged:
        yield "range", 2 * (4 * X**2 + X + largest**2) < ORDER
    if numbers.encrypted:
        group = max(numbers.error_groups.size, numbers.key_groups.size)
        yield "scale", numbers.T >= 2 and 2 * numbers.T * numbers.noise_bound < numbers.q
        yield "noise", 2 * (group + 4) * X**2 < ORDER
        yield "encryption", 2 * (numbers.combination_bound + numbers.q * numbers.quotient_bound) < ORDER


def federation_conditions(policy: Body) -> Iterator[tuple[str, bool]]:
    """The conditions on people, thresholds and names."""
    m, t, f = len(policy["trustees"]), policy["threshold"], policy["corrupt"]
    tensors = policy["tensors"]
    yield "trustees", m <= 16
    yield "threshold-reachable", t <= m
    yield "quorum-intersection", 2 * t > m + f
    yield "corrupt-below-threshold", f <= t - 1
    yield "min-cohort", policy["min_cohort"] >= 2
    yield "cohort-range", policy["max_cohort"] >= policy["min_cohort"]
    yield "roster-size", len(policy["roster"]) >= policy["min_cohort"]
    yield "max-rounds", policy["max_rounds"] >= 1
    yield "max-rounds-limit", policy["max_rounds"] <= 65536
    yield "cohort-entry", 92 * len(policy["roster"]) + 66 * m + 1024 <= 65535
    yield "required-checks", set(policy["required_checks"]) <= CHECKS
    yield "tensor-names", distinct([tensor["name"] for tensor in tensors])
    yield "tensor-types", all(tensor["dtype"] in DTYPES for tensor in tensors)
    yield "fraction-bits", policy["update"]["fraction_bits"] <= 128
    yield "step", step_is_sound(policy["step"])


def constant(text: str) -> float:
    """A double in 16 lower-case hexadecimal digits; NaN where it is none (4.6)."""
    if not re.fullmatch("[0-9a-f]{16}", text) or text == "8" + "0" * 15:
        return math.nan
    value: float = struct.unpack(">d", bytes.fromhex(text))[0]
    return value if math.isfinite(value) else math.nan


def step_is_sound(step: Body) -> bool:
    if not constant(step["learning_rate"]) > 0:
        return False
    moments = [step["beta1"], step["beta2"], step["epsilon"]]
    if step["rule"] == "fedavg":
        return moments == [None] * 3
    if step["rule"] != "fedadam" or None in moments:
        return False
    beta1, beta2, epsilon = map(constant, moments)
    return 0 <= beta1 < 1 and 0 <= beta2 < 1 and epsilon > 0
