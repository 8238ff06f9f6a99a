"""A strategy that contradicts the policy is refused by name before the first round."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proofs.errors import Misuse
from protocols.noise_trustees import TRUSTEES
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy, PrivacyBudget
from protocols.steps.fedavg import FedAvg, fedavg
from protocols.steps.fedavgm import fedavgm
from protocols.steps.fedopt import fedadagrad, fedadam, fedyogi
from protocols.steps.rule import spelled
from tests.required import needs
from tests.simulator import Setting, make_policy

pytestmark = pytest.mark.organisations
needs("flwr")  # before anything imports it, so all that is below is late: E402

from flwr.serverapp import strategy as flower  # noqa: E402

from verifl.carriers.flower.agreement import EQUAL, check_agreement  # noqa: E402

PLAIN = {"fraction_evaluate": 0.0}


@pytest.fixture(scope="module")
def policy() -> Policy:
    """Of eight clients, of whom a cohort has three or more, under fedavg."""
    data, _ = make_policy(Setting(clients=8, min_cohort=3))
    return replace(PinnedPolicy.open(data).policy, step=fedavg())


def said(strategy: object, policy: Policy, weighting: str | None = EQUAL, evaluates: bool = False) -> str:
    """What is said of it; empty where nothing is."""
    try:
        check_agreement(strategy, policy, weighting, evaluates)
    except Misuse as error:
        return str(error)
    return ""


def test_trustees_who_add_the_noise_are_no_nodes() -> None:
    budget = PrivacyBudget(8_000_000, 10_000_000)
    data, _ = make_policy(Setting(clients=8, min_cohort=3, encryption_proof=True, budget=budget, by=TRUSTEES))
    trusted = replace(PinnedPolicy.open(data).policy, step=fedavg())
    found = said(flower.FedAvg(**PLAIN), trusted)
    assert found == (
        "strategy: FedAvg: under this policy trustees add the noise, and are no nodes; use one with privacy.by = "
        '"clients", or run without Flower'
    )


class Picky(flower.FedAvg):
    """Decides whom to ask, and nothing else."""

    def configure_train(self, *arguments: Any) -> Any:
        return list(super().configure_train(*arguments))[:5]


class Summing(flower.FedAvg):
    """Sums in a way of its own."""

    def aggregate_train(self, *arguments: Any) -> Any:
        return super().aggregate_train(*arguments)


class Starting(flower.FedAvg):
    """Has rounds of its own."""

    def start(self, *arguments: Any, **named: Any) -> Any:
        return super().start(*arguments, **named)


@pytest.mark.parametrize(
    "strategy",
    [flower.FedAvg(**PLAIN), Picky(**PLAIN), flower.FedProx(proximal_mu=0.1, **PLAIN), flower.FedAvgM(**PLAIN)],
    ids=lambda each: type(each).__name__,
)
def test_strategies_that_mean_what_the_policy_says(strategy: object, policy: Policy) -> None:
    assert said(strategy, policy) == ""


@pytest.mark.parametrize("name", flower.__all__)
def test_every_strategy_of_flower_agrees_or_is_refused_by_name(name: str, policy: Policy) -> None:
    kind = getattr(flower, name)
    if not isinstance(kind, type) or not issubclass(kind, flower.Strategy) or kind is flower.Strategy:
        pytest.skip("no strategy")
    if name.startswith("DifferentialPrivacy"):
        settings: dict[str, Any] = {"noise_multiplier": 1.0, "num_sampled_clients": 100}
        settings |= {"clipping_norm": 1.0} if "Fixed" in name else {}
        made = kind(flower.FedAvg(**PLAIN), **settings)
    elif name == "QFedAvg":
        made = kind(client_learning_rate=0.1, **PLAIN)
    elif name in ("FedXgbBagging", "FedXgbCyclic"):
        made = kind(fraction_evaluate=0.0)
    else:
        made = kind(**PLAIN, **({"proximal_mu": 0.1} if name == "FedProx" else {}))
    if name in ("FedAvg", "FedAvgM", "FedProx"):
        assert said(made, policy) == ""
    elif name in ("FedAdagrad", "FedAdam", "FedYogi"):
        assert said(made, policy) == f"strategy: {name} is the rule {name.lower()}, the policy's is fedavg"
    else:
        assert said(made, policy).startswith(f"strategy: {name}: aggregate_train of ")


def test_the_rule_and_each_of_its_constants(policy: Policy) -> None:
    adam = replace(policy, step=fedadam(0.02, 0.8, 0.95, 1e-2))
    same: dict[str, Any] = {"eta": 0.02, "beta_1": 0.8, "beta_2": 0.95, "tau": 1e-2}
    assert said(flower.FedAdam(**same, **PLAIN), adam) == ""
    assert said(flower.FedAvg(**PLAIN), adam) == "strategy: FedAvg is the rule fedavg, the policy's is fedadam"
    fields = {"eta": "learning_rate", "beta_1": "beta1", "beta_2": "beta2", "tau": "epsilon"}
    for name, field in fields.items():
        other = flower.FedAdam(**{**same, name: 0.5}, **PLAIN)
        assert said(other, adam) == f"strategy: FedAdam has the {field} 0.5, the policy's is {same[name]!r}"
    halved = replace(policy, step=fedavg(0.5))
    assert said(flower.FedAvg(**PLAIN), halved) == "strategy: FedAvg has the learning_rate 1.0, the policy's is 0.5"
    assert said(flower.FedAvgM(server_learning_rate=0.5, **PLAIN), halved) == ""


def test_momentum_and_the_other_adaptive_rules(policy: Policy) -> None:
    momentum = flower.FedAvgM(server_momentum=0.9, **PLAIN)
    assert said(momentum, replace(policy, step=fedavgm(1.0, 0.9))) == ""
    assert said(momentum, replace(policy, step=fedavgm(1.0, 0.5))).endswith("has the beta1 0.9, the policy's is 0.5")
    assert said(momentum, policy) == "strategy: FedAvgM is the rule fedavgm, the policy's is fedavg"
    assert said(flower.FedAdagrad(eta=0.2, tau=0.01, **PLAIN), replace(policy, step=fedadagrad(0.2, 0.0, 0.01))) == ""
    yogi = flower.FedYogi(eta=0.2, beta_1=0.8, beta_2=0.9, tau=0.01, **PLAIN)
    assert said(yogi, replace(policy, step=fedyogi(0.2, 0.8, 0.9, 0.01))) == ""
    assert said(yogi, replace(policy, step=fedyogi(0.2, 0.8, 0.99, 0.01))).endswith("beta2 0.9, the policy's is 0.99")


def test_a_policy_that_draws_clients_is_none_for_a_strategy_that_samples_them(policy: Policy) -> None:
    drawing = replace(policy, per_round=3)
    assert said(flower.FedAvg(**PLAIN), drawing).startswith(
        "strategy: FedAvg samples clients itself, and the policy draws 3 for each round (per_round); use"
    )


def test_a_schedule_of_the_policy_is_none_of_a_strategy(policy: Policy) -> None:
    scheduled = replace(policy, step=spelled(FedAvg(), rates=(1.0, 0.5)))
    assert said(flower.FedAvg(**PLAIN), scheduled).startswith(
        "strategy: FedAvg has one learning_rate, the policy 2, one a round; drop the schedule"
    )


def test_a_sum_or_a_start_of_its_own(policy: Policy) -> None:
    assert said(Summing(**PLAIN), policy).startswith("strategy: Summing: aggregate_train of Summing is no rule")
    assert said(Starting(**PLAIN), policy).startswith("strategy: Starting has a start() of its own")
    changed = flower.FedAvg(**PLAIN)
    changed.aggregate_train = lambda *_: (None, None)
    assert said(changed, policy).startswith("strategy: its aggregate_train is replaced")
    assert said("FedAvg", policy).startswith("strategy: expected a flwr.serverapp.strategy.Strategy, found str")


def test_weights_have_to_be_given_up_in_so_many_words(policy: Policy) -> None:
    assert "weights clients by 'num-examples'" in said(flower.FedAvg(**PLAIN), policy, weighting=None)
    assert said(flower.FedAvg(**PLAIN), policy, weighting="examples") == "weighting: expected 'equal', found 'examples'"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fraction_train": 0.25}, "fraction_train 0.25 and min_train_nodes 2 ask 2 of 8 clients"),
        ({"fraction_train": 0.0}, "ask 0 of 8 clients"),
        ({"min_train_nodes": 9}, "min_train_nodes 9: the policy has 8 clients"),
        ({"min_available_nodes": 9}, "min_available_nodes 9: the policy has 8 clients"),
    ],
)
def test_too_few_or_too_many(settings: dict[str, Any], words: str, policy: Policy) -> None:
    assert words in said(flower.FedAvg(**settings, **PLAIN), policy)


def test_a_fraction_that_is_enough(policy: Policy) -> None:
    assert said(flower.FedAvg(fraction_train=0.25, min_train_nodes=3, **PLAIN), policy) == ""


def test_metrics_in_the_clear_are_said_to_be_meant(policy: Policy) -> None:
    assert "fraction_evaluate 0.5" in said(flower.FedAvg(fraction_evaluate=0.5), policy)
    assert said(flower.FedAvg(fraction_evaluate=0.5), policy, evaluates=True) == ""
