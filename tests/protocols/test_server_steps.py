"""Server steps: exact doubles, canonical hyper-parameters, refusals."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols.policy import (
    STATISTIC,
    CoordinateRule,
    LatticeRule,
    Member,
    Policy,
    StepRule,
    TensorSpec,
    UpdateRule,
)
from protocols.steps import step as server_steps
from protocols.steps.doubles import format_double, parse_double
from protocols.steps.fedavg import fedavg
from protocols.steps.fedavgm import FedAvgM, fedavgm
from protocols.steps.fedopt import FedYogi, fedadagrad, fedadam, fedyogi
from protocols.steps.registry import SERVER_RULES, step_constants
from protocols.steps.rule import spelled
from protocols.steps.step import StepState, apply_step, encode_model, encode_optimizer, initial_state
from protocols.weights import EQUAL_WEIGHTS
from tests.independent import steps as second


def policy(step: StepRule, dimension: int = 4, fraction_bits: int = 8, nonnegative: bool = False) -> Policy:
    return Policy(
        federation="test",
        origin="test.example/log",
        log_key=bytes([1]) * 32,
        issuer_key=bytes([2]) * 32,
        trustees=tuple(Member(f"t{i}", bytes([10 + i]) * 32) for i in range(3)),
        threshold=3,
        corrupt=1,
        roster=tuple(Member(f"c{i}", bytes([20 + i]) * 32) for i in range(4)),
        min_cohort=2,
        max_cohort=4,
        max_rounds=3,
        max_aborts=1,
        per_round=None,
        strict_consecutive=False,
        tensors=(
            TensorSpec("weight", (dimension // 2, 1), "float32", False),
            TensorSpec("variance", (dimension - dimension // 2,), "float32", nonnegative),
        ),
        dimension=dimension,
        initial_model=bytes(32),
        update=UpdateRule(1000, fraction_bits, None, ()),
        lattice=LatticeRule(4096, 0xFFFFFDC001, 8192, 66, 86, False),
        step=step,
        projections=360,
        required_checks=(),
        approvals=(),
        task=None,
        initial_file=None,
        previous=None,
        weights=EQUAL_WEIGHTS,
        noise=None,
        privacy_budget=None,
    )


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_doubles_have_one_spelling(value: float) -> None:
    text = format_double(value)
    if value == 0.0 and math.copysign(1.0, value) < 0:
        with pytest.raises(Malformed):
            parse_double(text)
    else:
        assert parse_double(text) == value
        assert format_double(parse_double(text)) == text


def test_format_is_big_endian_hexadecimal() -> None:
    assert format_double(1.0) == "3ff0000000000000"


@pytest.mark.parametrize(
    "text",
    ["", "3ff", "3FF0000000000000", " 3ff0000000000000", "3ff0000000000000\n", "0x3ff00000000000", "7ff0000000000000",
     "fff0000000000000", "7ff8000000000001", "8000000000000000", "3ff000000000000g", "３ff0000000000000"],
)  # fmt: skip
def test_other_spellings_are_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_double(text)


@given(st.integers(-(2**62), 2**62), st.integers(1, 97541), st.integers(0, 40))
def test_mean_is_the_conversion_then_the_division(total: int, count: int, bits: int) -> None:
    mean = server_steps.mean_update(integers(total), count, UpdateRule(1, bits, None, ()))
    nearest = float(total)  # int to double, to nearest even
    assert mean[0] == float(Fraction(nearest) / (count * 2**bits))


def test_fedavg_by_hand() -> None:
    state = server_steps.initial_state(policy(fedavg(0.5)), np.array([1.0, 2.0, 3.0, 0.1]))
    after = apply_step(policy(fedavg(0.5)), state, integers(256, -512, 0, 7), 2, 1)
    assert after.model.tolist() == [1.0 + 0.5 * 0.5, 2.0 + 0.5 * -1.0, 3.0, 0.1 + 0.5 * (7 / 512)]
    assert after.moments == ()
    assert state.model.tolist() == [1.0, 2.0, 3.0, 0.1]
    assert server_steps.encode_optimizer(after) is None


@given(st.lists(st.lists(st.integers(-5000, 5000), min_size=4, max_size=4), min_size=1, max_size=4))
def test_fedadam_equals_python_floats(aggregates: list[list[int]]) -> None:
    """Python's floats are IEEE doubles, and each operation below is one of them in the order of spec 4.6."""
    rule = fedadam(0.1, 0.9, 0.99, 1e-3)
    state = server_steps.initial_state(policy(rule), np.array([0.1, -0.2, 0.3, 0.0]))
    x, m, v = state.model.tolist(), [0.0] * 4, [1e-3 * 1e-3] * 4
    for aggregate in aggregates:
        state = apply_step(policy(rule), state, integers(*aggregate), 3, 1)
        for i in range(4):
            u = float(aggregate[i]) / (3 * 2.0**8)
            m[i] = 0.9 * m[i] + (1.0 - 0.9) * u
            v[i] = 0.99 * v[i] + (1.0 - 0.99) * (u * u)
            x[i] = x[i] + (0.1 * m[i]) / (math.sqrt(v[i]) + 1e-3)
    assert state.model.tolist() == x
    assert [moment.tolist() for moment in state.moments] == [m, v]
    blob = server_steps.encode_optimizer(state)
    assert [moment.tolist() for moment in server_steps.decode_optimizer(policy(rule), blob)] == [m, v]


SUMS = [[400, -3, 0, 5000], [-70, 0, 0, 5000], [1, 1, -1, -5000]]


def test_fedavgm_equals_numpy() -> None:
    """Hsu, Qi and Brown 2019: v = b v + u, w = w + eta v."""
    w, v = np.array([0.1, -0.2, 0.3, 0.0]), np.zeros(4)
    state = server_steps.initial_state(policy(fedavgm(0.3, 0.7)), w)
    for total in SUMS:
        state = apply_step(policy(fedavgm(0.3, 0.7)), state, integers(*total), 3, 1)
        v = np.multiply(0.7, v) + np.array(total) / (3 * 256.0)
        w = w + np.multiply(0.3, v)
    assert state.model.tobytes() == w.tobytes()
    assert state.moments[0].tobytes() == v.tobytes()


@pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
def test_adaptive_rules_equal_algorithm_2(name: str) -> None:
    """Reddi et al. 2021, algorithm 2, line by line, over vectors of float64."""
    eta, beta_1, beta_2, tau = 0.3, 0.6, 0.9, 1e-3
    rules = {
        "fedadagrad": fedadagrad(eta, beta_1, tau),
        "fedadam": fedadam(eta, beta_1, beta_2, tau),
        "fedyogi": fedyogi(eta, beta_1, beta_2, tau),
    }
    following = {
        "fedadagrad": lambda v, delta: v + delta**2,
        "fedadam": lambda v, delta: beta_2 * v + (1 - beta_2) * delta**2,
        "fedyogi": lambda v, delta: v - (1 - beta_2) * delta**2 * np.sign(v - delta**2),
    }
    x, m, v = np.array([0.1, -0.2, 0.3, 0.0]), np.zeros(4), np.full(4, tau**2)
    state = server_steps.initial_state(policy(rules[name]), x)
    for total in SUMS:
        state = apply_step(policy(rules[name]), state, integers(*total), 3, 1)
        delta = np.array(total) / (3 * 256.0)
        m = beta_1 * m + (1 - beta_1) * delta
        v = following[name](v, delta)
        x = x + eta * m / (np.sqrt(v) + tau)
    assert state.model.tobytes() == x.tobytes()
    assert [each.tobytes() for each in state.moments] == [m.tobytes(), v.tobytes()]


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1, exclude_max=True))
def test_yogi_never_takes_a_second_moment_below_zero(v: float, square: float, beta2: float) -> None:
    constants = step_constants(fedyogi(beta2=abs(beta2)))
    after = FedYogi().second(constants, np.array([v]), np.array([square]))
    assert not np.signbit(after).any()


def test_each_round_has_its_learning_rate() -> None:
    """By the round's number, so that a round that was aborted takes its own along."""
    rule = policy(spelled(FedAvgM(), rates=(1.0, 0.5, 0.25), beta1=0.0))
    start = server_steps.initial_state(rule, np.zeros(4))
    moved = [apply_step(rule, start, integers(256, 0, 0, 0), 1, number).model[0] for number in (1, 2, 3, 4, 2**16)]
    assert moved == [1.0, 0.5, 0.25, 0.25, 0.25]


def test_learning_rates_have_one_spelling() -> None:
    assert spelled(FedAvgM(), rates=(1.0, 0.5, 0.5, 0.5)) == spelled(FedAvgM(), rates=(1.0, 0.5))
    assert spelled(FedAvgM(), rates=(0.5, 0.5)) == fedavgm(0.5)
    for texts in ((), (format_double(1.0),) * 2, (format_double(0.5), format_double(1.0), format_double(1.0))):
        with pytest.raises(Rejected) as excinfo:
            step_constants(StepRule("fedavg", texts, None, None, None))
        assert excinfo.value.check == "policy-step"


def test_fedadam_needs_its_moments() -> None:
    with pytest.raises(Misuse, match="a fedadam step needs the first moment and second moment of the step before"):
        apply_step(policy(fedadam()), StepState(np.zeros(4), ()), integers(1, 1, 1, 1), 2, 1)


def test_negative_variance_is_clamped_to_plus_zero() -> None:
    rule = policy(fedavg(1.0), nonnegative=True)
    after = apply_step(rule, server_steps.initial_state(rule, np.zeros(4)), integers(-256, -256, -256, 256), 1, 1)
    assert after.model.tolist() == [-1.0, -1.0, 0.0, 1.0]
    assert not np.signbit(after.model[2:]).any()


def test_minus_zero_is_clamped_to_plus_zero() -> None:
    rule = policy(fedavg(1.0), nonnegative=True)
    state = server_steps.initial_state(rule, np.array([0.0, 0.0, -0.0, -0.0]))
    assert not np.signbit(apply_step(rule, state, integers(0, 0, 0, 0), 1, 1).model).any()


def test_subnormal_results_are_kept() -> None:
    rule = policy(fedavg(5e-324), fraction_bits=0)
    after = apply_step(rule, server_steps.initial_state(rule, np.zeros(4)), integers(1, 2, 3, 0), 1, 1)
    assert after.model.tolist() == [5e-324, 1e-323, 1.5e-323, 0.0]


def test_overflow_is_rejected_with_its_place() -> None:
    rule = policy(fedavg(1e308), fraction_bits=0)
    with pytest.raises(Rejected) as excinfo:
        apply_step(rule, server_steps.initial_state(rule, np.zeros(4)), integers(0, 0, 1000, 0), 1, 1)
    assert excinfo.value.check == "server-step"
    assert "coordinate 2" in excinfo.value.found


def test_overflow_in_a_clamped_tensor_is_rejected() -> None:
    rule = policy(fedavg(1e308), fraction_bits=0, nonnegative=True)
    state = server_steps.initial_state(rule, np.zeros(4))
    with pytest.raises(Rejected) as excinfo:
        apply_step(rule, StepState(state.model + math.nan, ()), integers(0, 0, 0, 0), 1, 1)
    assert excinfo.value.check == "server-step"


@pytest.mark.parametrize(
    "rule",
    [
        StepRule("sgd", (format_double(1.0),), None, None, None),
        StepRule("fedavg", (format_double(1.0),), format_double(0.9), None, None),
        StepRule("fedavg", (format_double(0.0),), None, None, None),
        StepRule("fedavg", (format_double(-1.0),), None, None, None),
        StepRule("fedavg", ("1.0",), None, None, None),
        StepRule("fedavg", ("7ff0000000000000",), None, None, None),
        StepRule("fedavg", (format_double(1.0), format_double(0.0)), None, None, None),
        StepRule("fedavgm", (format_double(1.0),), None, None, None),
        StepRule("fedavgm", (format_double(1.0),), format_double(1.0), None, None),
        StepRule("fedadagrad", (format_double(1.0),), format_double(0.0), format_double(0.9), format_double(1e-3)),
        StepRule("fedyogi", (format_double(1.0),), format_double(0.9), format_double(1.0), format_double(1e-3)),
        StepRule("fedadam", (format_double(1.0),), None, None, None),
        StepRule("fedadam", (format_double(1.0),), format_double(0.9), format_double(0.99), None),
        StepRule("fedadam", (format_double(1.0),), format_double(1.0), format_double(0.99), format_double(1e-3)),
        StepRule("fedadam", (format_double(1.0),), format_double(0.9), format_double(-0.1), format_double(1e-3)),
        StepRule("fedadam", (format_double(1.0),), format_double(0.9), format_double(0.99), format_double(0.0)),
    ],
)
def test_rules_out_of_range_are_rejected(rule: StepRule) -> None:
    with pytest.raises(Rejected) as excinfo:
        step_constants(rule)
    assert excinfo.value.check == "policy-step"


def test_constructors_refuse_what_the_policy_would() -> None:
    with pytest.raises(Misuse, match="learning_rate"):
        fedavg(0.0)
    with pytest.raises(Misuse, match="beta2"):
        fedadam(beta2=1.0)
    with pytest.raises(Misuse, match="finite"):
        fedavg(math.inf)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=9))
def test_model_encoding_round_trips(values: list[float]) -> None:
    model = np.array(values)
    data = server_steps.encode_model(model)
    assert len(data) == 8 * len(values)
    assert server_steps.encode_model(server_steps.decode_model(data, len(values))) == data


@given(st.binary(max_size=64))
def test_model_decoding_is_total(data: bytes) -> None:
    try:
        model = server_steps.decode_model(data, 3)
    except Malformed:
        return
    assert server_steps.encode_model(model) == data


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_models_that_are_not_finite_are_malformed(value: float) -> None:
    data = np.array([0.0, value]).tobytes()
    with pytest.raises(Malformed, match="at 1"):
        server_steps.decode_model(data, 2)


def test_negative_second_moments_are_malformed() -> None:
    blob = np.array([-1.0, 0.0, 0.0, 0.0, 1.0, -0.0, 1.0, 1.0]).tobytes()
    with pytest.raises(Malformed, match="second moments of at least zero, found one below at 1"):
        server_steps.decode_optimizer(policy(fedadam()), blob)


def test_shapes_that_do_not_fit_are_misuse() -> None:
    rule = policy(fedavg())
    with pytest.raises(Misuse, match="aggregate"):
        apply_step(rule, server_steps.initial_state(rule, np.zeros(4)), integers(1, 2, 3), 1, 1)
    with pytest.raises(Misuse, match="model"):
        server_steps.initial_state(rule, np.zeros(3))


@pytest.mark.parametrize("weight", [0, -1, 2**53])
def test_what_is_no_sum_of_weights_is_refused(weight: int) -> None:
    rule = policy(fedavg())
    with pytest.raises(Rejected, match=r"server-step: expected a sum of weights of 1 to 2\^53 - 1"):
        apply_step(rule, server_steps.initial_state(rule, np.zeros(4)), integers(1, 2, 3, 4), weight, 1)


@pytest.mark.parametrize("name", SERVER_RULES.names)
@pytest.mark.parametrize("general", [0, 5])
def test_a_frozen_coordinate_stays_whatever_is_in_the_sum(name: str, general: int) -> None:
    """With noise a sum has some there. Model and moments, of parameters and statistics, have the bits of a step whose
    sum is 0 there; elsewhere they are as without bounds. The second auditor makes the same of it."""
    tensors = (TensorSpec("w", (4,), "float32", False), TensorSpec("s", (4,), "float32", False, STATISTIC))
    free = replace(policy(spelled(SERVER_RULES.find(name)), 8), tensors=tensors)
    groups = (CoordinateRule(1, 3, 0), CoordinateRule(3, 4, 7), CoordinateRule(5, 6, 0), CoordinateRule(6, 7, 7))
    bounded = replace(free, update=replace(free.update, coordinate_bound=general, groups=groups))
    still = np.array([general == 0, True, True, False, general == 0, True, False, general == 0])
    start, total = np.array([0.5, -0.25, 0.1, 3.0, 0.5, -0.25, 0.1, 3.0]), np.arange(-300, 500, 100)
    state, plain, body = initial_state(bounded, start), initial_state(free, start), asdict(bounded)
    other = second.initial_state(body, list(map(float, start)))
    for number in (1, 2):
        state, plain = apply_step(bounded, state, total, 3, number), apply_step(free, plain, total, 3, number)
        other = second.server_step(body, other, total.tolist(), 3, number)
        assert encode_model(state.model) == second.packed(other.model)
        assert encode_optimizer(state) == other.optimizer
        assert encode_model(state.model[still]) == encode_model(start[still])
        assert encode_model(state.model[~still]) == encode_model(plain.model[~still])
    nothing = initial_state(bounded, start)
    for number in (1, 2):
        nothing = apply_step(bounded, nothing, np.where(still, 0, total), 3, number)
    assert encode_optimizer(state) == encode_optimizer(nothing)
