"""The plan: numbers that agree with the policy, and refusals that say what to change."""

from __future__ import annotations

import json

import pytest
from torch import nn

from proofs.errors import Misuse
from verifl.config import Config
from verifl.plan import describe_plan, make_plan
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


def test_json_is_plain() -> None:
    document = make_plan(breast_cancer(), Config()).to_dict()
    assert json.loads(json.dumps(document, allow_nan=False))["holds"] is True


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"update": {"fraction_bits": 41}}, "use 16 fraction bits"),
        ({"update": {"fraction_bits": 0, "clip_norm": 0.5}}, "must be between 1 and 2^40"),
        ({"update": {"fraction_bits": 40}, "limits": {"max_cohort": 100000}}, "max_cohort must be between 2 and 97541"),
        ({"update": {"fraction_bits": 40}, "limits": {"max_cohort": 2000}}, "lower fraction_bits from 40 to"),
        ({"limits": {"min_cohort": 9}}, "limits.min_cohort: expected at most the task's 8 clients, found 9"),
        ({"tensors": {"include": ["encoder.*"]}}, "pattern 'encoder.*' matches no tensor"),
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
