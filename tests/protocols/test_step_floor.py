"""What a policy's step moves at least (spec 4.6): whatever scales it down too far is refused, by both auditors."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.policy import STATISTIC, CoordinateRule, Policy, ScaleRule, StepRule, TensorSpec, UpdateRule
from protocols.steps.fedavg import fedavg
from protocols.steps.fedavgm import fedavgm
from protocols.steps.fedopt import fedadagrad, fedadam, fedyogi
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import spelled
from protocols.steps.step import apply_step, fullest_update, initial_state, step_ceiling, step_floor
from tests.independent.steps import step_bounds
from tests.protocols.noisy_policies import NOISY
from tests.protocols.test_parameters import GOOD, failing, update

UNIT = 2.0**-16


def slow(length: float, **changes: Any) -> Policy:
    """With a norm bound of this length in units that are fine enough for it."""
    bits = 24 - math.frexp(length)[1]
    return update(GOOD, norm_bound=int(math.ldexp(length, bits)), fraction_bits=bits, **changes)


def bounded(bound: int, *groups: CoordinateRule) -> Policy:
    """1000 coordinates of at most `bound` units of 2^-24."""
    return update(GOOD, norm_bound=1 << 24, fraction_bits=24, coordinate_bound=bound, groups=groups)


REFUSED = {
    "a learning rate": replace(GOOD, step=fedavg(math.nextafter(UNIT, 0))),
    "a learning rate of fedadam": replace(GOOD, step=fedadam(learning_rate=1e-12)),
    "a beta1": replace(GOOD, step=fedadam(beta1=1 - 2.0**-40)),
    "one learning rate of many": replace(GOOD, step=spelled(SERVER_RULES.find("fedavg"), rates=(1.0, 1e-9, 1.0))),
    "a learning rate of fedavgm": replace(GOOD, step=fedavgm(math.nextafter(UNIT, 0))),
    "an epsilon of fedadagrad": replace(GOOD, step=fedadagrad(epsilon=1e5)),
    "a beta1 of fedyogi": replace(GOOD, step=fedyogi(beta1=1 - 2.0**-40)),
    "an epsilon": replace(GOOD, step=fedadam(epsilon=1e3)),
    "a clip norm": slow(math.nextafter(UNIT, 0)),
    "a clip norm that is next to nothing": slow(1e-12),
    "a clip norm and a learning rate": replace(slow(2.0**-8), step=fedavg(math.nextafter(2.0**-8, 0))),
    "a clip norm under fedadam": replace(slow(1e-9), step=fedadam()),
    "bounds on all coordinates": bounded(8),
    "all coordinates frozen": bounded(0),
    "bounds on groups": bounded(0, CoordinateRule(0, 500, 8), CoordinateRule(600, 1000, 8)),
    "all but one coordinate frozen": bounded(0, CoordinateRule(7, 8, 255)),
    "coarse units": update(GOOD, norm_bound=15, fraction_bits=0),
    "coarse units and many frozen": update(
        GOOD, norm_bound=7, fraction_bits=0, coordinate_bound=0, groups=(CoordinateRule(0, 200, 7),)
    ),
}

ACCEPTED = {
    "a learning rate": replace(GOOD, step=fedavg(UNIT)),
    "a learning rate of fedavgm": replace(GOOD, step=fedavgm(UNIT)),
    "fedadagrad as it is": replace(GOOD, step=fedadagrad()),
    "fedyogi as it is": replace(GOOD, step=fedyogi()),
    "a clip norm": slow(UNIT),
    "a clip norm and a learning rate": replace(slow(2.0**-8), step=fedavg(2.0**-8)),
    "a clip norm that fedadam makes up for": replace(slow(1e-9), step=fedadam(epsilon=1e-9)),
    "bounds on all coordinates": bounded(9),  # 9 sqrt(1000) > 256
    "all but one coordinate frozen": bounded(0, CoordinateRule(7, 8, 256)),
    "coarse units": update(GOOD, norm_bound=16, fraction_bits=0),  # 16 > sqrt(1000) / 2
    "coarse units and many frozen": update(
        GOOD, norm_bound=8, fraction_bits=0, coordinate_bound=0, groups=(CoordinateRule(0, 200, 8),)
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_scales_a_step_down_too_far_is_refused(name: str) -> None:
    assert "step-floor" in failing(REFUSED[name])


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_floor_is_where_the_specification_says(name: str) -> None:
    assert "step-floor" not in failing(ACCEPTED[name])


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Of a few coordinates, with any bounds and any step."""
    dimension = draw(st.integers(1, 6))
    bits, bound = draw(st.integers(0, 60)), draw(st.integers(1, 1 << draw(st.integers(1, 40))))
    general, groups = None, tuple[CoordinateRule, ...]()
    if draw(st.booleans()):
        bounds = st.integers(0, 1 << draw(st.integers(1, 20)))
        general, edges = draw(bounds), sorted(draw(st.sets(st.integers(0, dimension), max_size=4)))
        groups = tuple(CoordinateRule(*pair, draw(bounds)) for pair in zip(edges[::2], edges[1::2], strict=False))
    rate = math.ldexp(1.0, draw(st.integers(-40, 10)))
    epsilon, name = draw(st.floats(1e-12, 1e3)), draw(st.sampled_from(SERVER_RULES.names))
    own = {"epsilon": epsilon, "beta1": draw(st.sampled_from([0.0, 0.5, 0.999])), "beta2": draw(st.floats(0, 0.999))}
    rule = SERVER_RULES.find(name)
    given = {each.name: own[each.name] for each in rule.constants[1:]}
    rates = (rate, *(math.ldexp(rate, power) for power in draw(st.lists(st.integers(-20, 20), max_size=2))))
    step: StepRule = spelled(rule, rates, **given)
    scales, edges = [], sorted(draw(st.sets(st.integers(0, dimension), max_size=5)))
    for start, stop in pairwise(edges):
        exponent = draw(st.integers(61, 67))
        scales += [ScaleRule(start, stop, exponent)] if exponent != 64 else []
    update_rule = UpdateRule(bound, bits, general, groups, tuple(scales))
    trained = draw(st.integers(0, dimension))
    tensors = (
        TensorSpec("w", (trained,), "float32", False),
        TensorSpec("running_mean", (dimension - trained,), "float32", False, STATISTIC),
    )
    return replace(GOOD, dimension=dimension, tensors=tensors, update=update_rule, step=step)


@given(policies())
def test_both_auditors_agree_on_floor_and_ceiling(policy: Policy) -> None:
    assert step_bounds(asdict(policy)) == (step_floor(policy), step_ceiling(policy))


def divisor(name: str, epsilon: float, peak: float) -> float:
    """What the first step divides by at most, with beta1 0.5 and beta2 0.9."""
    return {
        "fedavg": 1.0,
        "fedavgm": 1.0,
        "fedadagrad": 2 * (epsilon + math.hypot(epsilon, peak)),
        "fedadam": 2 * (epsilon + max(epsilon, peak)),
        "fedyogi": 2 * (epsilon + math.sqrt(epsilon**2 + 0.1 * peak**2)),
    }[name]


@pytest.mark.parametrize("name", SERVER_RULES.names)
@given(policy=policies(), epsilon=st.floats(1e-9, 1e3))
def test_at_the_floor_the_fullest_update_moves_the_model(name: str, policy: Policy, epsilon: float) -> None:
    """By 2^-16 of its length and by 2^-16, and no less a rate is enough; where rounding to units changes little."""
    fullest = fullest_update(policy)
    unit = Fraction(1, 1 << policy.update.fraction_bits)
    movable, scales = bounds_of(policy), scales_of(policy)
    trained = policy.tensors[0].shape[0]
    if movable[:trained].any():
        movable[trained:] = 0
    assume(movable.any())
    assume(fullest.length >= 300 * unit * Fraction(scales[movable > 0].max()))
    length, peak = float(fullest.length), math.sqrt(fullest.peak_squared)
    least = UNIT / min(1.0, length) * divisor(name, epsilon, peak)
    rule, values = SERVER_RULES.find(name), {"beta1": 0.5, "beta2": 0.9, "epsilon": epsilon}
    given = {each.name: values[each.name] for each in rule.constants[1:]}
    at, below = (
        replace(policy, step=spelled(rule, learning_rate=rate, **given)) for rate in (least * 1.0001, least * 0.9999)
    )
    assert step_floor(at) == (not fullest.averaged or length >= UNIT)
    assert not step_floor(below) or fullest.averaged
    units = movable * (min(policy.update.norm_bound, np.linalg.norm(movable)) / np.linalg.norm(movable))
    assert np.linalg.norm(units * scales) * float(unit) == pytest.approx(length, rel=1e-2)
    state = initial_state(at, np.zeros(policy.dimension))
    moved = np.linalg.norm(apply_step(at, state, np.rint(units).astype(np.int64), 1, 1).model)
    assert moved >= 0.97 * (length if fullest.averaged else UNIT * max(1.0, length))


def scales_of(policy: Policy) -> np.ndarray:
    """Of every coordinate."""
    scales = np.ones(policy.dimension)
    for each in policy.update.scales:
        scales[each.start : each.stop] = 2.0 ** (each.exponent - 64)
    return scales


def bounds_of(policy: Policy) -> np.ndarray:
    """Of every coordinate, in units."""
    rule = policy.update
    bounds = np.full(policy.dimension, rule.norm_bound if rule.coordinate_bound is None else rule.coordinate_bound)
    for group in rule.groups:
        bounds[group.start : group.stop] = group.bound
    return np.minimum(bounds, rule.norm_bound).astype(np.float64)


def test_with_noise_the_ceiling_is_of_what_a_client_can_send() -> None:
    """A coordinate of what is sent may be B + E_n: a step that cannot overflow without the noise may do so with it."""
    assert NOISY.noise is not None
    unit = Fraction(1, 2**NOISY.update.fraction_bits)
    reach = (NOISY.update.norm_bound + NOISY.noise.group_bound) * unit
    largest, least = 2.0**16, float(2**16 * reach / 2**64)
    for epsilon, within in ((least, True), (math.nextafter(least, 0.0), False)):
        policy = replace(NOISY, step=fedadam(largest, 0.0, 0.0, epsilon))
        assert step_ceiling(policy) is within
        assert step_bounds(asdict(policy))[1] is within
        assert step_ceiling(replace(policy, noise=None))
