"""`[weights]`: what a configuration may say, what data weigh, and a federation of clients of unequal size."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from auditor import audit
from proofs.errors import Misuse
from protocols.derivation import derive_lattice
from protocols.envelopes import open_envelope
from protocols.fixed_point import exact_norm_squared
from protocols.log.reader import TranscriptReader
from protocols.messages import Submission
from protocols.policy import CoordinateRule, TensorSpec, UpdateRule, WeightRule
from protocols.steps.doubles import format_double
from tests.independent.audit import audit as audit_again
from verifl import Config, Federation
from verifl.planning.plan import make_plan
from verifl.reports.plan import describe_plan
from verifl.strategies.weights import beyond, mapped, weight_rule
from verifl.tasks.loading import load_task
from verifl.training.tensors import TensorLayout
from verifl.training.update import encode_update

SAMPLES = {"a": 30, "b": 10, "c": 4, "d": 0}
DECLARED = {"kind": "declared", "largest": 5, "unit": 8.0}
TABLES = {
    "federation": {"rounds": 2},
    "trustees": {"count": 3, "threshold": 2, "corrupt": 0},
    "update": {"encryption_proof": False},
}


class Constant:
    """Each client moves the one coordinate by its own constant; `d` has no data."""

    moves: ClassVar[Mapping[str, float]] = {"a": 0.5, "b": -0.25, "c": 0.125, "d": 0.0}

    def clients(self) -> Sequence[str]:
        return list(SAMPLES)

    def model(self) -> nn.Module:
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        return model

    def data(self, client: str) -> list[int]:
        return list(range(SAMPLES[client]))

    def weight(self, client: str, data: list[int]) -> float:
        return len(data)

    def train(self, model: nn.Module, client: str, data: list[int]) -> None:
        assert data, "whose data weigh nothing is not trained"
        with torch.no_grad():
            model.get_parameter("weight").add_(self.moves[client])

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        return {"weight": float(model.get_parameter("weight").detach())}


class Unweighed(Constant):
    weight = None


class NoMethod(Constant):
    weight = 3


def rule(largest: int = 5, unit: float = 8.0) -> WeightRule:
    return WeightRule("declared", largest, format_double(unit))


def test_the_table() -> None:
    assert weight_rule(Config.of().weights) == WeightRule("equal", 1, None)
    assert weight_rule(Config.of(weights={"kind": "declared"}).weights) == rule(100, 1.0)
    assert weight_rule(Config.of(weights=DECLARED).weights) == rule()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "heavy"}, r"weights\.kind: expected 'equal', 'declared' or 'private', found 'heavy'"),
        ({"largest": 5}, "`largest` does not go with kind equal; remove it or change kind"),
        ({"unit": 2.0}, "`unit` does not go with kind equal; remove it or change kind"),
        ({"kind": "declared", "largest": 0}, r"weights\.largest: .*1"),
        ({"kind": "declared", "largest": 2**20 + 1}, r"weights\.largest: .*1048576"),
        ({"kind": "declared", "unit": 0.0}, r"weights\.unit: "),
    ],
)
def test_what_the_table_may_not_say(table: dict[str, object], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        Config.of(weights=table)


@given(st.floats(1e-6, 1e9), st.integers(1, 2**20), st.floats(1e-3, 1e6))
def test_the_mapping_is_off_by_half_a_unit_at_most(measured: float, largest: int, unit: float) -> None:
    of = rule(largest, unit)
    weight, units = mapped(measured, of), Fraction(measured) / Fraction(unit)
    assert 1 <= weight <= largest
    if Fraction(1, 2) <= units <= largest:
        assert abs(weight - units) <= Fraction(1, 2)
        assert abs(weight * Fraction(unit) - Fraction(measured)) / Fraction(measured) <= Fraction(unit) / (
            2 * Fraction(measured)
        )
    assert beyond(measured, of) == (units + Fraction(1, 2) >= largest + 1)


@pytest.mark.parametrize(("measured", "weight"), [(4, 1), (3.9, 1), (12, 2), (11.9, 1), (44, 5), (4400, 5)])
def test_halves_are_rounded_up(measured: float, weight: int) -> None:
    assert mapped(measured, rule()) == weight


# ---- updates ----


@given(st.integers(1, 50), st.integers(0, 2**32 - 1))
def test_a_weighed_update_keeps_its_bounds_and_is_finer(weight: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    of = UpdateRule(1 << 10, 10, 200, (CoordinateRule(2, 4, 0),))
    layout = TensorLayout((TensorSpec("w", (30,), "float64", False),))
    after = generator.normal(size=30) * generator.choice([0.01, 0.1, 3.0])
    update = encode_update(np.zeros(30), after, layout, of, "c", weight)
    assert update.weight == weight
    assert exact_norm_squared(update.units) <= (weight * of.norm_bound) ** 2
    assert np.abs(update.units).max() <= weight * 200
    assert not update.units[2:4].any()
    plain = encode_update(np.zeros(30), after, layout, of, "c")
    assert (update.norm, update.clipped) == (plain.norm, plain.clipped)
    assert np.abs(update.units - weight * plain.units).max() <= weight / 2 + 1 + weight * 1e-9 + weight


def test_the_largest_doubles_are_weighed_without_overflow() -> None:
    layout = TensorLayout((TensorSpec("w", (2,), "float64", False),))
    after = np.array([1e308, -1e308])
    update = encode_update(np.zeros(2), after, layout, UpdateRule(1 << 10, 10, None, ()), "c", 100)
    assert 0 < exact_norm_squared(update.units) <= (100 << 10) ** 2


# ---- federations ----


def test_a_federation_takes_the_weighted_mean(tmp_path: Path) -> None:
    result = Federation(Constant(), Config.of(**TABLES, weights=DECLARED), tmp_path / "out").run()
    weights = {name: mapped(count, rule()) for name, count in SAMPLES.items() if count}
    assert weights == {"a": 4, "b": 1, "c": 1}
    assert [set(each.accepted) for each in result.rounds] == [{"a", "b", "c"}] * 2  # d abstains
    mean = sum(weights[name] * Constant.moves[name] for name in weights) / sum(weights.values())
    assert result.rounds[0].metrics["weight"] == pytest.approx(mean, abs=2**-15)
    reader = TranscriptReader(result.transcript)
    messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
    stated = {each.client: each.weight for each in messages if isinstance(each, Submission)}
    assert stated == weights
    report = audit(result.transcript, result.policy)
    assert report.accepted
    assert "a has 66 % of the weight in round 1, the most of any client" in report.check("P1").notes
    assert audit_again(result.transcript, result.policy).findings == {check.id: [] for check in report.checks}


def test_a_task_that_does_not_say_is_refused_by_name(tmp_path: Path) -> None:
    config = Config.of(**TABLES, weights=DECLARED)
    for attempt in (
        lambda: Federation(Unweighed(), config, tmp_path / "out").run(),
        lambda: make_plan(Unweighed(), config),
        lambda: make_plan(NoMethod(), config),
    ):
        with pytest.raises(
            Misuse, match=r"weights\.kind: .* weight\(client, data\), and (Unweighed|NoMethod) has none; add one"
        ):
            attempt()
    assert make_plan(Unweighed(), Config.of(**TABLES)).weights is None


def test_a_weight_that_is_none_drops_the_client_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said: dict[str, object] = {"a": -1.0, "b": float("nan"), "c": float("inf"), "d": "many", "e": 0}

    class Odd(Constant):
        def clients(self) -> Sequence[str]:
            return [*said, "x", "y", "z"]

        def data(self, client: str) -> list[int]:
            return [1]

        def weight(self, client: str, data: list[int]) -> float:
            return said.get(client, 8.0)

        def train(self, model: nn.Module, client: str, data: list[int]) -> None:
            assert client != "e", "whose data weigh nothing is not trained"

    tables = {**TABLES, "federation": {"rounds": 1}}
    result = Federation(Odd(), Config.of(**tables, weights=DECLARED), tmp_path / "out").run()
    assert set(result.rounds[0].accepted) == {"x", "y", "z"}


def test_the_built_in_tasks_weigh_by_samples() -> None:
    for name in ("breast-cancer", "digits"):
        config = Config.of(task={"name": name, "clients": 4}, weights={"kind": "declared", "unit": 10.0})
        plan = make_plan(load_task(config, Path()), config)
        assert plan.weights is not None
        for each in plan.weights.clients:
            assert each.measured
            assert each.weight == mapped(each.measured, rule(100, 10.0))
        assert len(plan.weights.clients) == 4


# ---- plans ----


def test_the_plan_shows_the_mapping_and_what_it_costs() -> None:
    plan = make_plan(Constant(), Config.of(**TABLES, weights={"kind": "declared", "largest": 3, "unit": 8.0}))
    assert plan.weights is not None
    assert {each.client: (each.measured, each.weight) for each in plan.weights.clients} == {
        "a": (30.0, 3), "b": (10.0, 1), "c": (4.0, 1), "d": (0.0, 0)
    }  # fmt: skip
    assert plan.weights.bits == 2
    assert plan.weights.share == Fraction(3, 5)
    text = describe_plan(plan)
    assert "Weights: declared, from 1 to 3" in text
    assert "one client is at most 60% of a smallest cohort's weight" in text
    text = " ".join(text.split())
    assert "weigh more than 3 units of 8, up to 30, and count for no more: set unit = 10 or largest = 4" in text
    assert "changes the weight of 2 clients by more than 10%, up to 100%" in text
    assert json.loads(json.dumps(plan.to_dict()))["weights"]["largest"] == 3


class Weighing(Constant):
    """Whose weights are given, whatever they are."""

    def __init__(self, said: Mapping[str, object]) -> None:
        self.said = said

    def clients(self) -> Sequence[str]:
        return list(self.said)

    def data(self, client: str) -> list[int]:
        return [1]

    def weight(self, client: str, data: list[int]) -> float:
        return self.said[client]


def advised(said: Sequence[object], **table: object) -> str:
    config = Config.of(**TABLES, weights={"kind": "declared", **table})
    plan = make_plan(Weighing({f"c{place}": each for place, each in enumerate(said)}), config)
    json.dumps(plan.to_dict(), allow_nan=False)
    return " ".join(" ".join(describe_plan(plan).split()).split("note: "))


@pytest.mark.parametrize(
    ("said", "table", "unit", "largest"),
    [
        ((0.1, 0.2, 0.5), {"largest": 30, "unit": 0.001}, 0.017, 500),
        ((1e-3, 2e-3, 5e7), {"largest": 30, "unit": 0.001}, 1.7e6, None),
        ((1e300, 1e300, 1e300), {"largest": 30, "unit": 1e-10}, 3.4e298, None),
        ((50, 20, 10), {"largest": 20, "unit": 1.0}, 2.5, 50),
    ],
)
def test_what_is_advised_may_be_set_and_leaves_nobody_capped(
    said: tuple[float, ...], table: dict[str, float], unit: float, largest: int | None
) -> None:
    text = advised(said, **table)
    assert f"and count for no more: set unit = {unit:g}" in text
    assert (f" or largest = {largest}" in text) is (largest is not None)
    for change in ({"unit": unit}, {} if largest is None else {"largest": largest}):
        if change:
            assert "count for no more" not in advised(said, **{**table, **change})


def test_units_that_are_far_too_coarse_are_told_in_few_digits() -> None:
    text = advised((1e-300,) * 3, unit=1e10)
    assert "changes the weight of 3 clients by more than 10%, up to 1.1e+301 times what it is: lower unit" in text


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (None, "weight() failed: it returned None, expected a number"),
        ("12", "weight() failed: it returned '12', expected a number"),
        ([1, 2], "weight() failed: it returned [1, 2], expected a number"),
        (10**400, "weight() failed: OverflowError"),
        (float("nan"), "its data weigh nan, expected a finite number, 0 or more"),
        (-3, "its data weigh -3.0, expected a finite number, 0 or more"),
    ],
)
def test_a_weight_that_is_none_is_said_before_anybody_trains(said: object, found: str) -> None:
    text = advised((said, 8.0, np.int64(8), torch.tensor(8)))
    assert f"weights: c0: {found}" in text
    assert "3 of 4" not in text


def test_where_too_few_have_data_a_plan_says_so() -> None:
    assert "no round can close" not in advised((8, 8, 8, 0))
    text = advised((8, 0, 8, 0))
    assert (
        "weights: 2 of 4 clients have data that weigh anything, and limits.min_cohort = 3: no round can close" in text
    )
    assert "no round can close" not in advised((8, 0, 8, None)), "what is not here is not known to weigh nothing"


def test_weights_cost_bits() -> None:
    plain, weighed = (
        make_plan(Constant(), Config.of(**TABLES, weights=table)).policy
        for table in ({}, {"kind": "declared", "largest": 1024})
    )
    assert weighed.lattice.plaintext_scale == plain.lattice.plaintext_scale << 10
    with pytest.raises(Misuse, match=r"lower the largest weight from 1048576 to [0-9]+, or "):
        derive_lattice(UpdateRule(1 << 20, 20, None, ()), 1000, True, 2**20)
