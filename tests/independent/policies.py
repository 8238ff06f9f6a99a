"""The conditions that a policy has to meet (spec 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

from tests.independent import account
from tests.independent.case import CHECKS
from tests.independent.curve import ORDER
from tests.independent.encoding import Body
from tests.independent.noise_alone import training
from tests.independent.parameters import DEGREE, TAIL, Numbers, estimate
from tests.independent.steps import constant, step_bounds, step_fault

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
SMALL_MODULI = (0xFFC001, 0x3FFA001, 0xFFF0001, 0x3FFF4001, 0xFFFDE001, 0x3FFFE4001, 0xFFFFEE001, 0x3FFFFEA001)
WEIGHTS = ("equal", "declared", "private")
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
    weights = policy["weights"]
    yield "weights-kind", weights["kind"] in WEIGHTS
    yield "weights-least", weights["largest"] >= 1
    yield "weights-limit", weights["largest"] <= 1 << 20
    equal = weights["kind"] == "equal"
    unit = constant(weights["unit"]) if weights["unit"] is not None else math.nan
    yield "weights-unit", (weights["largest"], weights["unit"]) == (1, None) if equal else unit > 0
    yield "weights-consecutive", equal or not policy["strict_consecutive"]
    yield "norm-bound-positive", update["norm_bound"] >= 1
    yield "norm-bound-limit", weights["largest"] * update["norm_bound"] <= 1 << 40
    yield "coordinate-scales", all(scale["exponent"] in {*range(64), *range(65, 129)} for scale in update["scales"])
    edges = [0, *(edge for scale in update["scales"] for edge in (scale["start"], scale["stop"])), d]
    yield "coordinate-scales", all(a <= b for a, b in pairwise(edges))
    yield "coordinate-scales", all(scale["start"] < scale["stop"] for scale in update["scales"])
    yield "projections", policy["projections"] >= 360
    yield "degree", lattice["degree"] == DEGREE
    noisy = policy["noise"] is not None
    yield "modulus", lattice["modulus"] in MODULI or (noisy and lattice["modulus"] in SMALL_MODULI)
    yield "scale-power", lattice["plaintext_scale"].bit_count() == 1
    yield from account.conditions(policy)
    edges = [0, *(edge for group in update["groups"] for edge in (group["start"], group["stop"])), d]
    ordered = all(a <= b for a, b in pairwise(edges))
    ordered = ordered and all(group["start"] < group["stop"] for group in update["groups"])
    ordered = ordered and (update["coordinate_bound"] is not None or not update["groups"])
    yield "argument", ordered and policy["projections"] <= 4096


def number_conditions(policy: Body, numbers: Numbers) -> Iterator[tuple[str, bool]]:
    """The conditions on the numbers of the argument and the encryption."""
    n, E, message = numbers.n, numbers.noise_bound, numbers.W * numbers.message_bound
    lattice = policy["lattice"]
    yield "plaintext-int64", n * numbers.W * numbers.B < 1 << 63
    yield "argument", all(holds for _, holds in argument_conditions(numbers))
    yield "lattice-security", estimate(lattice) >= 190
    if policy["noise"] is None:
        yield "scale", 2 * n * message < numbers.T
        yield "decryption", 2 * n * (E * numbers.T + message) < numbers.q
    else:
        yield "decryption", 2 * n * (message + numbers.widest_noise) < numbers.q
    yield "sigma", lattice["sigma_tenths"] == 66
    yield "tail", lattice["tail"] == TAIL
    yield "key-digits", n * E < 1 << 23
    floor, ceiling = step_bounds(policy)
    yield "step-floor", floor
    yield "step-ceiling", ceiling


def argument_conditions(numbers: Numbers) -> Iterator[tuple[str, bool]]:
    """Ranges and no wrap-around (5.3)."""
    X = 4 * numbers.Z
    largest = max((beta for _, _, beta in numbers.weighed_slices(numbers.W)), default=0)
    policy_bound = numbers.policy["update"]["coordinate_bound"]
    yield "beta", max(largest, numbers.W * (policy_bound or 0)) <= 1 << 20
    yield "projections", 2 * X < ORDER
    cells = 4 * numbers.cells + numbers.C if numbers.noisy else (numbers.R + 1) * numbers.C
    squares = cells * X**2 + (numbers.hidden and (numbers.B**2 + 1) * X)
    yield "norm", 2 * squares < ORDER
    if numbers.ranged:
        bound = (largest // numbers.W) ** 2 * X if numbers.hidden else largest**2
        yield "range", 2 * ((7 if numbers.noisy else 4) * X**2 + X + bound) < ORDER
    if numbers.hidden:
        yield "weight-squares", 2 * (X**2 + X) < ORDER
        yield "weight-interval", 2 * ((numbers.W + 6) * X + numbers.W) < ORDER
    if numbers.noisy:
        groups = numbers.error_groups
        for group_bound, least, most in numbers.laws:
            yield "noise-range", 1 <= group_bound <= 1 << 28
            yield "noise-range", 0 <= least <= most <= groups.rows * groups.per_row * group_bound**2
            yield "noise-energy", 2 * ((numbers.cells + 4) * X**2 + most) < ORDER
        yield "noise-range", numbers.largest_message <= 1 << 40
        yield "noise-group", 2 * (groups.size + 4) * X**2 < ORDER
        yield "noise-weights", not numbers.hidden
    if numbers.encrypted:
        group = max(0 if numbers.noisy else numbers.error_groups.size, numbers.key_groups.size)
        yield "scale", (numbers.T == 1) == numbers.noisy and 2 * numbers.T * numbers.noise_bound < numbers.q
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
    k = policy["per_round"]
    if k is not None:
        yield "per-round", policy["min_cohort"] <= k <= min(policy["max_cohort"], len(training(policy)))
        yield "per-round-consecutive", not policy["strict_consecutive"]
    yield "roster-size", len(training(policy)) >= policy["min_cohort"]
    yield "max-rounds", policy["max_rounds"] >= 1
    yield "max-rounds-limit", policy["max_rounds"] <= 65536
    yield "cohort-entry", 2 * len(policy["roster"]) + 67 * m + 29024 <= 65535
    yield "roster-changes", 9044 * (len(policy["roster"]) + m) + 2**21 <= 2**26
    yield "required-checks", set(policy["required_checks"]) <= set(CHECKS)
    yield "approvals", policy["approvals"] in ([], ["client"], ["trustee"], ["client", "trustee"])
    previous = policy["previous"]
    yield "previous-size", previous is None or previous["size"] >= 1
    names = [each["federation"] for each in (policy["privacy_budget"] or {"former": []})["former"]]
    yield "previous-name", previous is None or policy["federation"] not in [previous["federation"], *names]
    yield "tensor-names", distinct([tensor["name"] for tensor in tensors])
    yield "tensor-types", all(tensor["dtype"] in DTYPES for tensor in tensors)
    yield "tensor-roles", {tensor["role"] for tensor in tensors} <= {"parameter", "statistic"}
    yield "fraction-bits", policy["update"]["fraction_bits"] <= 128
    fault = step_fault(policy)
    yield "step" if fault is None else f"step, {fault}", fault is None
