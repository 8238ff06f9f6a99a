"""The plan: numbers that agree with the policy, and refusals that say what to change."""

from __future__ import annotations

import json

import pytest
from torch import nn

from proofs.errors import Misuse
from verifl.config import Config
from verifl.planning.plan import make_plan, plan_policy
from verifl.reports.plan import describe_plan
from verifl.tasks.breast_cancer import breast_cancer


class Names:
    """A task whose clients are given; nothing of it trains."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def clients(self) -> list[str]:
        return self.names

    def model(self) -> nn.Module:
        return nn.Linear(9, 9)

    def data(self, client: str) -> None:
        return None

    def train(self, model: nn.Module, client: str, data: None) -> None:
        return None

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


def test_the_demonstration_holds() -> None:
    plan = make_plan(breast_cancer(), Config())
    plan.require()
    policy = plan.policy
    assert policy.dimension == sum(parameter.numel() for parameter in breast_cancer().model().parameters())
    assert policy.update.norm_bound == 2**policy.update.fraction_bits
    assert plan.largest_cohort >= policy.max_cohort == 8
    assert policy.lattice.plaintext_scale > 2 * policy.max_cohort * policy.update.norm_bound
    assert plan.size.total == sum(
        (plan.size.commitments, plan.size.proof, plan.size.ciphertext, plan.size.share_commitments, plan.size.shares)
    )


def test_text_has_the_numbers() -> None:
    plan = make_plan(breast_cancer(), Config())
    text = describe_plan(plan)
    assert f"B = {plan.policy.update.norm_bound:,} units" in text
    assert f"q = {plan.policy.lattice.modulus}" in text
    assert f"n_max = {plan.largest_cohort:,}" in text
    assert "2t > m + f" in text
    assert "FAILS" not in text
    assert f"{plan.size.total:,}" in text


GROUPS = [{"tensors": ["*.bias"], "coordinate_bound": 0.01}, {"tensors": ["4.weight"], "coordinate_bound": 0}]


def test_bounds_are_shown_by_tensor() -> None:
    plan = make_plan(breast_cancer(), Config.of(update={"coordinate_bound": 0.05, "groups": GROUPS}))
    text = describe_plan(plan)
    bounds = text.split("Bounds on each coordinate, exact\n")[1].split("\n\n")[0]
    assert [line.split() for line in bounds.splitlines()[1:]] == [
        ["0.0498", "204", "1,472", "0.weight,", "2.weight"],
        ["0.009766", "40", "50", "0.bias,", "2.bias,", "4.bias"],
        ["0,", "frozen", "0", "32", "4.weight"],
    ]
    shown = plan.to_dict()["update"]["coordinate_bounds"]
    assert shown[1] == {"tensor": "0.bias", "start": 0, "stop": 32, "units": 40}
    assert len(shown) == len(plan.policy.tensors)
    assert "Bounds on each" not in describe_plan(make_plan(breast_cancer(), Config()))


def test_names_of_many_tensors_are_cut_short() -> None:
    many = Names(["a", "b", "c"])
    many.model = lambda: nn.ModuleList(nn.Linear(1, 1) for _ in range(60))
    groups = [{"tensors": ["*.bias"], "coordinate_bound": 0.01}]
    text = describe_plan(make_plan(many, Config.of(update={"coordinate_bound": 0.05, "groups": groups})))
    assert "23.weight, and 36 more" in text
    assert max(map(len, text.split("Conditions")[0].splitlines())) <= 120


def test_what_bounds_nothing_is_noted() -> None:
    plan = make_plan(breast_cancer(), Config.of(update={"coordinate_bound": 3}))
    assert "note: update.coordinate_bound: 3 is not below clip_norm = 1" in describe_plan(plan)
    assert "all 6 (bounded by the norm alone)" in describe_plan(plan)
    assert len(plan.to_dict()["notes"]) == 1


@pytest.mark.parametrize("proof", [False, True])
@pytest.mark.parametrize("bound", [None, 0.05])
def test_the_chosen_option_is_what_the_plan_is_made_of(bound: float | None, proof: bool) -> None:
    config = Config.of(update={"coordinate_bound": bound, "encryption_proof": proof})
    plan = make_plan(breast_cancer(), config)
    (chosen,) = [option for option in plan.options if option.chosen]
    assert (chosen.coordinate_range, chosen.encryption_proof) == (bound is not None, proof)
    assert chosen.costs is not None
    assert chosen.costs.size == plan.size
    assert chosen.costs.largest_cohort == plan.largest_cohort
    assert chosen.costs.modulus == plan.policy.lattice.modulus
    argument = plan.pinned.argument
    points = (
        argument.commitments_size("commitments")
        + argument.commitments_size("range-commitments")
        + argument.commitments_size("encryption-commitments")
    )
    assert chosen.costs.work.verified_points == points // 33 + (6 if proof else 3) + 2 * argument.folded.folds
    assert (chosen.costs.work.residue_products > 0) == proof
    assert [option.example is not None for option in plan.options] == [False, False, bound is None, bound is None]


def test_options_stand_side_by_side() -> None:
    plan = make_plan(breast_cancer(), Config.of(limits={"max_cohort": 1000}))
    alone, encrypted, ranged, both = plan.options
    names = ["L2", "L2 + encryption", "L2 + range", "L2 + range + encryption"]
    assert [option.name for option in plan.options] == names
    for option in plan.options:
        assert option.problem is None
        assert option.costs is not None
        assert 1000 <= option.costs.largest_cohort <= option.costs.largest_derivable
        assert ("the round goes on" in option.guarantee) == option.encryption_proof
        assert ("nobody can be named" in option.guarantee) != option.encryption_proof
    works = [option.costs.work.committed_values for option in (alone, encrypted, ranged, both) if option.costs]
    assert works[0] < works[2] < works[1] < works[3]
    assert encrypted.costs is not None
    assert encrypted.costs.largest_derivable == 65535
    text = describe_plan(plan)
    lines = {line[4:24].strip(): line for line in text.splitlines()}
    assert "*" in lines["L2"]
    assert lines["L2 + encryption"].startswith("  > ")
    assert "*" not in lines["L2 + encryption"]
    assert f"{encrypted.costs.size.total:,}" in lines["L2 + encryption"]
    assert "shown with coordinate_bound = 0.125 in [update]" in text
    assert "shown with" not in describe_plan(make_plan(breast_cancer(), Config.of(update={"coordinate_bound": 0.1})))


def test_an_option_that_does_not_fit_says_so_in_its_row() -> None:
    update = {"fraction_bits": 39, "coordinate_bound": 1e-6}
    plan = make_plan(breast_cancer(), Config.of(update=update, limits={"max_cohort": 2000}))
    plan.require()
    assert [option.costs is None for option in plan.options] == [True, True, False, False]
    assert [option.problem is not None for option in plan.options] == [True, True, False, False]
    text = " ".join(describe_plan(plan).split())
    assert text.count("does not fit: no modulus is large enough") == 2
    assert "lower max_cohort from 2000 to 127" in text
    json.dumps(plan.to_dict(), allow_nan=False)


def test_a_signed_policy_has_no_options_left() -> None:
    signed = make_plan(breast_cancer(), Config()).pinned.data
    assert plan_policy(signed).options == ()
    assert "Options" not in describe_plan(plan_policy(signed))


def test_json_is_plain() -> None:
    document = make_plan(breast_cancer(), Config()).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False))["holds"] is True


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"update": {"fraction_bits": 41}}, "update.clip_norm, update.fraction_bits: the norm bound floor(clip"),
        ({"update": {"fraction_bits": 41}}, "use 12 fraction bits"),
        ({"update": {"fraction_bits": 0, "clip_norm": 0.5}}, "must be between 1 and 2^40"),
        (
            {"update": {"fraction_bits": 40}, "limits": {"max_cohort": 100000}},
            "limits.max_cohort: max_cohort must be between 2 and 65535",
        ),
        ({"update": {"fraction_bits": 40}, "limits": {"max_cohort": 2000}}, "lower fraction_bits from 40 to"),
        ({"limits": {"min_cohort": 9}}, "limits.min_cohort: expected at most the task's 8 clients, found 9; lower it"),
        ({"tensors": {"include": ["encoder.*"]}}, "pattern 'encoder.*' matches no tensor of the model; there are 0.we"),
        (
            {"tensors": {"exclude": ["0.wieght"]}},
            "pattern '0.wieght' matches no tensor of the model; did you mean '0.w",
        ),
        (
            {
                "tensors": {"exclude": ["0.bias"]},
                "update": {"groups": [{"tensors": ["0.bias"], "coordinate_bound": 0}]},
            },
            "update.groups.0.tensors.0: pattern '0.bias' matches no tensor that travels; did you mean",
        ),
    ],
)
def test_refusals(tables: dict[str, dict[str, object]], message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        make_plan(breast_cancer(), Config.of(**tables))
    assert message in str(excinfo.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b", "B"], "client name 'B' is not usable"),
        (["a", "b", "../c"], "client name '../c' is not usable"),
        (["a", "b", 3], "client name 3 is not usable"),
        (["a", "b", "a"], "client name 'a' appears twice"),
        (["a", "b", "trustee-2"], "client name 'trustee-2' belongs to another party"),
        (["a", "b", "issuer"], "client name 'issuer' belongs to another party"),
        (["a", "b"], "limits.min_cohort: expected at most the task's 2 clients, found 3"),
    ],
)
def test_client_names(names: list[str], message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        make_plan(Names(names), Config())
    assert message in str(excinfo.value)


def test_a_cohort_that_cannot_reach_its_minimum_fails_with_numbers() -> None:
    plan = make_plan(Names(["a", "b", "c", "d"]), Config.of(limits={"min_cohort": 3, "max_cohort": 3}))
    plan.require()
    assert plan.policy.max_cohort == 3


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"learning_rate": 1e-12}, "step-floor.*found fedavg with learning_rate 1e-12; raise learning_rate"),
        ({"learning_rate": 1e6}, "step-ceiling.*found fedavg with learning_rate 1e\\+06; lower learning_rate"),
        ({"rule": "fedadam", "epsilon": 1e6}, "step-floor.*raise learning_rate, or lower beta1 or epsilon"),
        ({"rule": "fedadam", "epsilon": 1e-30}, "step-ceiling.*lower learning_rate, or raise epsilon"),
    ],
)
def test_a_step_that_hardly_moves_the_model_or_overflows_is_refused(server: dict[str, object], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        make_plan(breast_cancer(), Config.of(server=server))


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"clip_norm": 1e-9}, r"updates of at most 1e-09 by clip_norm .*raise learning_rate, or raise clip_norm and"),
        ({"coordinate_bound": 1e-7, "fraction_bits": 24}, "step-floor.*updates of at most .*and the bounds on coordin"),
        ({"clip_norm": 2, "fraction_bits": 0}, "step-floor.*found fraction_bits 0 and updates.*; raise fraction_bits"),
    ],
)
def test_a_bound_or_a_resolution_that_acts_like_no_learning_is_refused(update: dict[str, object], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        make_plan(breast_cancer(), Config.of(update=update))


def test_the_plan_says_what_remains_without_noise() -> None:
    plan = make_plan(breast_cancer(), Config())
    assert "can be recognised from the difference of the two sums" in plan.to_dict()["without_noise"]
    assert "What remains without noise\n  Sums are exact." in describe_plan(plan)


@pytest.mark.parametrize("tables", [{}, {"weights": {"kind": "declared"}}, {"limits": {"per_round": 6}}], ids=str)
def test_a_remedy_is_named_where_it_may_be_had_alone(tables: dict[str, object]) -> None:
    """A policy with weights, or with draws, is refused under strict_consecutive."""
    without = make_plan(breast_cancer(), Config.of(**tables)).without_noise
    assert ("limits.strict_consecutive" in without) is (not tables)
    assert without.endswith(".")


def test_who_is_drawn_what_the_server_does_and_who_is_told() -> None:
    config = Config.of(
        federation={"rounds": 8, "close": True},
        limits={"per_round": 6},
        stopping={"metric": "loss"},
        server={"rule": "fedyogi", "learning_rate": 0.5, "schedule": {"kind": "step", "every": 1, "factor": 0.5}},
        report={"tensorboard": "runs", "mlflow": "http://127.0.0.1:5000"},
    )
    plan = make_plan(breast_cancer(), config)
    text = " ".join(describe_plan(plan).split())
    assert "8 clients, of whom 6 are drawn for each round, cohorts of 3 to 6;" in text
    assert (
        "server fedyogi, learning_rate 0.5, 0.25, 0.125, 0.0625, 0.03125, ..., and 0.00390625 from round 8 on, "
        "beta1 0.9, beta2 0.99, epsilon 0.001 update" in text
    )
    assert "federation.close: closed for good behind 8 rounds that close, or where [stopping] stops it" in text
    assert "[report]: TensorBoard in runs and MLflow at http://127.0.0.1:5000: told of every round" in text
    document = json.loads(json.dumps(plan.to_dict()))
    assert document["drawn"] == 6
    assert document["server"] == {
        "rule": "fedyogi", "beta1": 0.9, "beta2": 0.99, "epsilon": 0.001,
        "learning_rates": [0.5 / 2**number for number in range(8)],
    }  # fmt: skip
    plain = describe_plan(make_plan(breast_cancer(), Config()))
    assert "8 clients, cohorts of" in plain
    assert "\n  server      fedavg, learning_rate 1\n" in plain


def test_fewer_drawn_than_two_smallest_cohorts() -> None:
    """One of them that stays away may end the federation, whatever its size."""
    names = [f"site-{number:02}" for number in range(20)]
    notes = {}
    for drawn in (5, 6):
        config = Config.model_validate({"limits": {"min_cohort": 3, "per_round": drawn}})
        notes[drawn] = [note for note in make_plan(Names(names), config).notes if "per_round" in note]
    (said,) = notes[5]
    assert said.startswith("limits.per_round = 5 is less than twice limits.min_cohort = 3: ")
    assert "of 20 clients are there; draw 6 or more" in said
    assert notes[6] == []


def test_that_a_run_may_stop_early_is_said() -> None:
    stopping = {"metric": "loss", "patience": 2, "minimum_change": 0.25}
    (note,) = make_plan(breast_cancer(), Config.of(federation={"rounds": 9}, stopping=stopping)).notes
    assert note.startswith("[stopping]: fewer than 9 rounds may close")
    assert note.endswith("loss has not become better by 0.25 for 2 of them")
