"""Bounds by tensor name: what the policy gets, what clients submit under it, and that nothing frozen ever moves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from auditor import audit
from proofs.errors import Misuse
from protocols.derivation import derive_update
from protocols.envelopes import open_policy
from protocols.fixed_point import exact_norm_squared
from protocols.parameters import argument_parameters, largest_cohort, require_sound
from protocols.policy import CoordinateRule, Policy, TensorSpec, UpdateRule
from protocols.steps.step import apply_step, initial_state
from tests.verifl.test_federation import Line
from verifl import Config, Federation
from verifl.commands.scaffold import EXAMPLE, write_templates
from verifl.config import GroupConfig, UpdateConfig, read_config
from verifl.enrolment.coordinate_groups import (
    bounded,
    common_scale,
    idle_bounds,
    scaled,
    tensor_bounds,
    tensor_scales,
)
from verifl.enrolment.policies import enrol
from verifl.planning.plan import make_plan
from verifl.tasks.loading import load_task
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorLayout, tensor_filter
from verifl.training.update import coordinate_bounds, encode_update

BASE = derive_update(100, 1.0, 16)  # B = 2^16


def specs(**shapes: tuple[int, ...]) -> list[TensorSpec]:
    return [TensorSpec(name.replace("_", "."), shape, "float32", nonnegative=False) for name, shape in shapes.items()]


MODEL = specs(a_weight=(2, 3), a_bias=(2,), b_weight=(4,), b_bias=(1,), scale=())  # 0:6, 6:8, 8:12, 12:13, 13:14


def rules(*groups: tuple[Sequence[str], float], general: float | None = 0.5, **more: object) -> UpdateConfig:
    made = tuple(GroupConfig(tensors=tuple(tensors), coordinate_bound=bound) for tensors, bound in groups)
    return UpdateConfig.model_validate({"coordinate_bound": general, "groups": made, **more})


def slices(rule: UpdateRule) -> list[tuple[int, int, int]]:
    return [(group.start, group.stop, group.bound) for group in rule.groups]


def test_without_bounds_nothing_changes() -> None:
    assert bounded(BASE, UpdateConfig(), MODEL) == BASE


def test_the_first_group_that_matches_counts() -> None:
    rule = bounded(BASE, rules((["*.bias"], 0.01), (["b.*"], 0)), MODEL)
    assert rule.coordinate_bound == 2**15
    assert slices(rule) == [(6, 8, 655), (8, 12, 0), (12, 13, 655)]


def test_neighbours_of_equal_bounds_are_one_slice_and_the_general_bound_is_none() -> None:
    rule = bounded(BASE, rules((["a.bias"], 0.01), (["b.weight"], 0.01), (["scale"], 0.5)), MODEL)
    assert slices(rule) == [(6, 12, 655)]


def test_an_empty_tensor_makes_no_slice() -> None:
    with_empty = specs(a=(3,), e=(0, 4), b=(2,))
    rule = bounded(BASE, rules((["e"], 0.0)), with_empty)
    assert (slices(rule), rule.coordinate_bound) == ([], 2**15)
    with pytest.raises(Misuse, match="every tensor is frozen"):
        bounded(BASE, rules((["e"], 0.25), general=0.0), with_empty)


def test_groups_for_every_tensor_leave_their_largest_bound_as_the_general_one() -> None:
    rule = bounded(BASE, rules((["*.bias"], 0.01), (["*"], 0.25), general=0.9), MODEL)
    assert rule.coordinate_bound == 2**14
    assert slices(rule) == [(6, 8, 655), (12, 13, 655)]


def test_without_a_general_bound_the_norm_bounds_the_rest() -> None:
    rule = bounded(BASE, rules((["*.bias"], 0), general=None), MODEL)
    assert rule.coordinate_bound == rule.norm_bound == 2**16
    assert slices(rule) == [(6, 8, 0), (12, 13, 0)]


def test_a_general_zero_freezes_all_but_the_groups() -> None:
    rule = bounded(BASE, rules((["b.*"], 3.0), general=0), MODEL)
    assert rule.coordinate_bound == 0
    assert slices(rule) == [(8, 13, 2**16)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            rules((["*.bais"], 0.1)),
            "update.groups.0.tensors.0: pattern '*.bais' matches no tensor that travels; did you",
        ),
        (
            rules((["a.*", "x"], 0.1)),
            "update.groups.0.tensors.1: pattern 'x' matches no tensor that travels; there are a",
        ),
        (rules((["a.*"], 0.1), (["a.bias"], 0.2)), "update.groups.1: every tensor that it matches belongs to a group"),
        (rules((["*"], 0)), "update.groups: every tensor is frozen, so nothing could be trained"),
        (rules((["a.*"], 1e-7)), "update.groups.0.coordinate_bound: 1e-07 is less than one unit"),
        (rules(general=1e-7), "update.coordinate_bound: 1e-07 is less than one unit"),
    ],
)
def test_refusals(config: UpdateConfig, message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        bounded(BASE, config, MODEL)
    assert message in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_a_norm_bound_too_large_for_the_rest_says_what_to_add() -> None:
    fine = derive_update(100, 1.0, 30)
    with pytest.raises(Misuse, match=r"add coordinate_bound = 0\.0009765625 or less for the tensors"):
        bounded(fine, rules((["*.bias"], 0), general=None), MODEL)
    assert bounded(fine, rules((["*.bias"], 0), general=0.0009765625), MODEL).coordinate_bound == 2**20


def test_more_slices_than_a_policy_holds_are_refused() -> None:
    many = [TensorSpec(f"{i}.{'ab'[i % 2]}", (1,), "float32", nonnegative=False) for i in range(3 * 4097)]
    config = rules((["*.a"], 0.1))
    with pytest.raises(Misuse, match=r"make 4097 slices, expected at most 4096"):
        bounded(BASE, config, many[: 2 * 4097])
    assert len(bounded(BASE, config, many[: 2 * 4096]).groups) == 4096


def test_what_bounds_nothing_is_said() -> None:
    idle = idle_bounds(rules((["*.bias"], 2), (["b.weight"], 0.1), general=1.0), MODEL)
    assert idle == [
        "update.coordinate_bound: 1 is not below clip_norm = 1, so the norm alone bounds these coordinates",
        "update.groups.0: 2 is not below clip_norm = 1, so the norm alone bounds these coordinates",
    ]
    (useless,) = idle_bounds(rules((["*"], 0.1), general=0.5), MODEL)
    assert useless == "update.coordinate_bound: every tensor belongs to a group, so it bounds nothing"
    assert idle_bounds(rules((["*.bias"], 0), general=None), MODEL) == []


def policy_for(config: UpdateConfig, tensors: Sequence[TensorSpec], server: dict[str, object]) -> Policy:
    whole = Config(update=config, server=Config.of(server=server).server)
    dimension = sum(prod(spec.shape) for spec in tensors)
    enrolment = enrol(whole, tensors, dimension, ["a", "b", "c"], b"", os.urandom)
    return open_policy(enrolment.policy_file)[0]


def test_bounds_are_shown_by_tensor() -> None:
    shown = tensor_bounds(policy_for(rules((["*.bias"], 0.01), (["b.*"], 0), fraction_bits=16), MODEL, {}))
    assert [(each.tensor, each.start, each.stop, each.units) for each in shown] == [
        ("a.weight", 0, 6, 2**15),
        ("a.bias", 0, 2, 655),
        ("b.weight", 0, 4, 0),
        ("b.bias", 0, 1, 655),
        ("scale", 0, 1, 2**15),
    ]


def test_a_policy_from_elsewhere_may_bound_parts_of_tensors() -> None:
    policy = policy_for(rules(fraction_bits=16), MODEL, {})
    parts = replace(policy.update, groups=(CoordinateRule(4, 7, 3),))
    shown = tensor_bounds(replace(policy, update=parts))
    assert [(each.tensor, each.start, each.stop, each.units) for each in shown][:4] == [
        ("a.weight", 0, 4, 2**15),
        ("a.weight", 4, 6, 3),
        ("a.bias", 0, 1, 3),
        ("a.bias", 1, 2, 2**15),
    ]


def test_a_tensor_has_a_scale_for_each_coordinate() -> None:
    """Neighbours of one scale are one slice, also across tensors; what has none of its own has 1."""
    config = UpdateConfig(
        groups=(
            GroupConfig(tensors=("a.bias",), scales=(4.0, 16.0)),
            GroupConfig(tensors=("b.weight",), scales=(16.0, 1.0, 0.25, 0.25)),
        )
    )
    rule = scaled(BASE, config, MODEL)
    assert [(each.start, each.stop, each.exponent) for each in rule.scales] == [
        (6, 7, 66), (7, 9, 68), (10, 12, 62)
    ]  # fmt: skip
    policy = replace(policy_for(rules(fraction_bits=16), MODEL, {}), update=rule)
    assert tensor_scales(policy) == {
        4.0: ["a.bias[0:1]"], 16.0: ["a.bias[1:2]", "b.weight[0:1]"], 0.25: ["b.weight[2:4]"]
    }  # fmt: skip
    ranges = [(0, 6), (6, 7), (7, 9), (6, 8), (9, 10), (9, 11), (13, 14)]
    assert [common_scale(rule, *each) for each in ranges] == [1.0, 4.0, 16.0, None, 1.0, None, 1.0]


def test_scales_are_as_many_as_coordinates() -> None:
    config = UpdateConfig(groups=(GroupConfig(tensors=("*.bias",), scales=(4.0, 16.0)),))
    with pytest.raises(Misuse, match=r"update\.groups\.0\.scales: .* as many as 'b.bias' has coordinates, 1, found 2"):
        scaled(BASE, config, MODEL)


NAMES = ("a.weight", "a.bias", "b.weight", "b.bias", "c.scale")
PATTERNS = ("*.bias", "*.weight", "a.*", "b.*", "c.*", "*", "[ab].weight")
BOUNDS = st.one_of(st.just(0.0), st.floats(2.0**-14, 8.0))


@st.composite
def configurations(draw: st.DrawFn) -> tuple[UpdateConfig, list[TensorSpec]]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
    tensors = [TensorSpec(name, draw(shapes), "float32", nonnegative=False) for name in names]
    groups = draw(st.lists(st.tuples(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=2), BOUNDS), max_size=3))
    general = draw(st.none() | st.floats(2.0**-14, 8.0))
    bits = draw(st.none() | st.integers(14, 18))
    return rules(
        *groups, general=general, fraction_bits=bits, clip_norm=draw(st.sampled_from([1.0, 0.3, 3.7]))
    ), tensors


@settings(max_examples=60)
@given(
    made=configurations(),
    seed=st.integers(0, 2**32 - 1),
    exponent=st.integers(-6, 200),
    rule=st.sampled_from(["fedavg", "fedadam"]),
)
def test_updates_obey_every_bound_and_frozen_tensors_keep_their_bits(
    made: tuple[UpdateConfig, list[TensorSpec]], seed: int, exponent: int, rule: str
) -> None:
    config, tensors = made
    try:
        policy = policy_for(config, tensors, {"rule": rule})
    except Misuse:
        assume(False)
    require_sound(policy)
    assert largest_cohort(policy.update, policy.lattice) >= 3
    rule_of_all = coordinate_bounds(policy.update, policy.dimension)
    bounds = np.full(policy.dimension, policy.update.norm_bound) if rule_of_all is None else rule_of_all
    proved = [each.bound for each in argument_parameters(policy).segments for _ in range(each.start, each.stop)]
    shown = [each.units for each in tensor_bounds(policy) for _ in range(each.start, each.stop)]
    assert proved == shown == ([] if rule_of_all is None else bounds.tolist())
    generator = np.random.default_rng(seed)
    model = generator.normal(size=policy.dimension).astype(np.float32).astype(np.float64)
    layout, state = TensorLayout(policy.tensors), initial_state(policy, model)
    for number in (1, 2):
        total = np.zeros(policy.dimension, dtype=np.int64)
        for _ in range(3):
            trained = state.model + generator.normal(size=policy.dimension) * 10.0**exponent
            units = encode_update(state.model, trained, layout, policy.update, "client").units
            assert exact_norm_squared(units) <= policy.update.norm_bound**2
            assert (np.abs(units) <= bounds).all()
            total += units
        state = apply_step(policy, state, total, 3, number)
    frozen = bounds == 0
    assert state.model[frozen].tobytes() == model[frozen].tobytes()


def test_the_commented_group_of_the_example_works(tmp_path: Path) -> None:
    config_file, _ = write_templates(tmp_path, EXAMPLE)
    lines = config_file.read_text(encoding="utf-8").splitlines()
    optional = ("# coordinate_bound", "# [[update.groups]]", "# tensors")
    config_file.write_text("\n".join(line.removeprefix("# ") if line.startswith(optional) else line for line in lines))
    config = read_config(config_file)
    assert config.update.coordinate_bound == 0.05
    assert config.update.groups == (GroupConfig(tensors=("*.bias",), coordinate_bound=0.01),)
    plan = make_plan(load_task(config, tmp_path), config)
    assert {(each.tensor, each.units) for each in plan.bounds} == {
        ("0.weight", 204), ("0.bias", 40), ("2.weight", 204), ("2.bias", 40),
    }  # fmt: skip


def test_what_is_cut_takes_nothing_off_the_rest() -> None:
    """A frozen tensor that training changed a lot, and an outlier, do not shorten the others."""
    rule = bounded(BASE, rules((["a.weight"], 0), (["b.bias"], 0.25), general=None), MODEL)
    delta = np.array([1e9] * 6 + [0.1] * 6 + [1e9] + [0.1])
    update = encode_update(np.zeros(14), delta, TensorLayout(tuple(MODEL)), rule, "client")
    assert not update.clipped
    assert update.units.tolist() == [0] * 6 + [6554] * 6 + [2**14] + [6554]
    assert update.norm == pytest.approx(np.sqrt(0.25**2 + 7 * 0.1**2))


class Deep(Line):
    """Two layers, of which training changes both."""

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))


@pytest.mark.parametrize("server", [{"rule": "fedavg"}, {"rule": "fedadam", "learning_rate": 0.3}], ids=["avg", "adam"])
def test_a_federation_with_groups_is_audited_and_freezes_what_it_should(
    tmp_path: Path, server: dict[str, object]
) -> None:
    groups = [{"tensors": ["0.*"], "coordinate_bound": 0}, {"tensors": ["*.bias"], "coordinate_bound": 0.05}]
    config = Config.of(
        federation={"rounds": 2, "seed": 5},
        update={"clip_norm": 2.0, "coordinate_bound": 0.2, "groups": groups},
        trustees={"count": 3, "corrupt": 1, "threshold": 3},
        server=server,
    )
    result = Federation(Deep(), config, tmp_path / "out").run()
    report = audit(result.transcript, result.policy)
    assert report.accepted, [(check.id, check.findings) for check in report.checks if check.findings]
    policy, _ = open_policy(result.policy.read_bytes())
    assert slices(policy.update) == [(0, 6, 0), (8, 9, policy.update.norm_bound // 40)]
    training = LocalTraining(Deep(), tensor_filter(config), "cpu", 5)
    before = training.load(training.initial()).state_dict()
    after = load_file(result.model)
    for name in ("0.weight", "0.bias"):
        assert after[name].numpy().tobytes() == before[name].numpy().tobytes(), name
    for name in ("1.weight", "1.bias"):
        assert (after[name] != before[name]).any(), name
    if server["rule"] == "fedavg":
        moved = (after["1.weight"] - before["1.weight"]).abs().max()
        assert float(moved) <= 2 * 0.2 + 1e-6
        assert float((after["1.bias"] - before["1.bias"]).abs().max()) <= 2 * 0.05 + 1e-6
