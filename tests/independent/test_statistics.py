"""Statistics are averaged whatever the server rule, coordinates have scales: both auditors replay it by the policy."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.messages import RoundClosed
from protocols.policy import PARAMETER, Policy, ScaleRule, TensorSpec
from protocols.steps.fedavg import fedavg
from protocols.steps.fedopt import fedadam
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import spelled
from protocols.steps.step import apply_step, encode_model, encode_optimizer, initial_state, step_ceiling, step_floor
from tests.auditor.forge import Forge
from tests.independent import steps as second
from tests.independent.test_second_auditor import agreed, failing
from tests.protocols.test_parameters import GOOD
from tests.protocols.test_parameters import failing as failing_conditions
from tests.simulator import Setting, Simulation, identity_of

SETTING = Setting(clients=3, dimension=12, step=fedadam(0.02), statistics=4, exponent=70)


@pytest.fixture(scope="module")
def simulation(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Two rounds by FedAdam, of a model of which a third are statistics in units of 2^6."""
    made = Simulation(tmp_path_factory.mktemp("statistics"), SETTING)
    made.start()
    for _ in range(2):
        made.play_round()
    made.writer.close()
    made.path.with_name("pinned.cbor").write_bytes(made.policy_data)
    return made


def test_both_auditors_replay_them(simulation: Simulation) -> None:
    assert agreed(simulation.path, simulation.path.with_name("pinned.cbor")).accepted


def test_a_statistic_is_the_mean_of_what_clients_made_of_it(simulation: Simulation) -> None:
    unit = 2.0 ** (6 - SETTING.fraction_bits)
    means = [sum(made.values())[8:] / 3 * unit for made in simulation.updates.values()]  # type: ignore[index]  # arrays
    reached = simulation.coordinator.step_state()
    expected = simulation.model[8:]
    for mean in means:
        expected = np.maximum(expected + mean, 0.0)
    assert reached.model[8:] == pytest.approx(expected)
    moment, squares = reached.moments
    assert not moment[8:].any()
    assert set(squares[8:]) == {1e-6}  # epsilon squared, as before the first step
    assert moment[:8].all()


def without_roles(policy: Policy) -> Policy:
    return replace(policy, tensors=tuple(replace(tensor, role=PARAMETER) for tensor in policy.tensors))


def without_scales(policy: Policy) -> Policy:
    return replace(policy, update=replace(policy.update, scales=()))


@pytest.mark.parametrize("wrongly", [without_roles, without_scales])
def test_a_server_that_steps_them_like_weights_or_in_other_units_is_found(
    wrongly: object, simulation: Simulation, tmp_path: Path
) -> None:
    """The last model of a server that follows another policy than the one that is pinned."""
    pinned = simulation.pinned
    policy = without_roles(pinned.policy) if wrongly is without_roles else without_scales(pinned.policy)
    state = initial_state(policy, simulation.model)
    for number, made in simulation.updates.items():
        state = apply_step(policy, state, np.sum(list(made.values()), axis=0), len(made), number)
    forge = Forge.load(simulation.path, pinned.policy, simulation.policy_data, identity_of)
    forge.edit(forge.find(RoundClosed, nth=1), model=forge.put(encode_model(state.model)))
    report = agreed(forge.write(tmp_path / "forged"), simulation.path.with_name("pinned.cbor"))
    assert failing(report) == {"I11"}


@pytest.mark.parametrize("name", SERVER_RULES.names)
@given(
    st.lists(st.lists(st.integers(-(2**30), 2**30), min_size=5, max_size=5), min_size=1, max_size=3),
    st.lists(st.integers(0, 128).filter(lambda each: each != 64), min_size=2, max_size=2),
)
def test_every_rule_gives_the_same_bits(name: str, sums: list[list[int]], exponents: list[int]) -> None:
    tensors = (
        TensorSpec("a", (2,), "float32", nonnegative=False),
        TensorSpec("b", (2,), "float32", nonnegative=True, role="statistic"),
        TensorSpec("c", (), "float64", nonnegative=False),
    )
    update = replace(GOOD.update, scales=(ScaleRule(1, 3, exponents[0]), ScaleRule(4, 5, exponents[1])))
    policy = replace(GOOD, dimension=5, tensors=tensors, update=update, step=spelled(SERVER_RULES.find(name)))
    body, start = asdict(policy), [0.1, -2.0, 0.5, 0.0, 7.0]
    state, other = initial_state(policy, np.array(start)), second.initial_state(body, start)
    for number, total in enumerate(sums, 1):
        state = apply_step(policy, state, np.array(total, dtype=np.int64), 3, number)
        other = second.server_step(body, other, total, 3, number)
        assert (encode_model(state.model), encode_optimizer(state)) == (second.packed(other.model), other.optimizer)
    assert second.step_bounds(body) == (step_floor(policy), step_ceiling(policy))


@pytest.mark.parametrize(
    "scales",
    [
        (ScaleRule(0, 10, 64),),
        (ScaleRule(0, 10, 129),),
        (ScaleRule(5, 5, 70),),
        (ScaleRule(5, 4, 70),),
        (ScaleRule(0, GOOD.dimension + 1, 70),),
        (ScaleRule(0, 10, 70), ScaleRule(9, 20, 71)),
        (ScaleRule(10, 20, 70), ScaleRule(0, 5, 71)),
        (ScaleRule(0, 2**62, 2**62),),
    ],
)
def test_scales_that_are_none_are_refused(scales: tuple[ScaleRule, ...]) -> None:
    policy = replace(GOOD, update=replace(GOOD.update, scales=scales))
    assert "coordinate-scales" in failing_conditions(policy)


def test_the_widest_scale_counts_for_the_ceiling() -> None:
    """a L <= 2^64 e: L is what a coordinate can move by."""
    step = fedadam(2.0**16, 0.0, 0.0, 2.0**-40)
    narrow = replace(GOOD, step=step)
    assert step_ceiling(narrow)
    wide = replace(narrow, update=replace(GOOD.update, scales=(ScaleRule(0, 1, 128),)))
    assert not step_ceiling(wide)
    assert not second.step_bounds(asdict(wide))[1]
    assert step_ceiling(replace(wide, step=fedavg()))
