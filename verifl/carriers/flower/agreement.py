"""Whether an application's strategy means what the policy says: refused by name before the first round.

The strategy decides whom to ask. What is summed, with which weights, and how the model moves is the policy's; one that
would do something else there says something that will not happen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from proofs.errors import Misuse
from protocols.noise_trustees import noise_trustees
from protocols.policy import Policy, WeightRule
from protocols.steps.fedavg import FedAvg
from protocols.steps.fedavgm import FedAvgM
from protocols.steps.fedopt import FedAdagrad, FedAdam, FedYogi
from protocols.steps.registry import step_constants
from verifl.carriers.flower.app_training import EXAMPLES

EQUAL = "equal"

_Rule = tuple[str, Mapping[str, float]]  # a rule of the registry, and its constants


def _average(strategy: Any) -> _Rule:  # noqa: ARG001
    return FedAvg.name, {"learning_rate": 1.0}


def _average_with_rate(strategy: Any) -> _Rule:
    rate = {"learning_rate": float(strategy.server_learning_rate)}
    if strategy.server_momentum == 0:
        return FedAvg.name, rate
    return FedAvgM.name, {**rate, "beta1": float(strategy.server_momentum)}


def _adaptive(rule: type[FedAdam | FedYogi]) -> Callable[[Any], _Rule]:
    def of(strategy: Any) -> _Rule:
        _, constants = _adagrad(strategy)
        return rule.name, {**constants, "beta2": float(strategy.beta_2)}

    return of


def _adagrad(strategy: Any) -> _Rule:
    constants = {"learning_rate": strategy.eta, "beta1": strategy.beta_1, "epsilon": strategy.tau}
    return FedAdagrad.name, {name: float(value) for name, value in constants.items()}


# By the class that says how replies become a model.
_RULES: dict[type[Strategy], Callable[[Any], _Rule]] = {
    flower.FedAvg: _average,
    flower.FedAvgM: _average_with_rate,
    flower.FedAdagrad: _adagrad,
    flower.FedAdam: _adaptive(FedAdam),
    flower.FedYogi: _adaptive(FedYogi),
}


def check_agreement(
    strategy: object, policy: Policy, weighting: str | None, evaluates: bool, public_data: bool = False
) -> None:
    """Raise Misuse, saying what to change, where a strategy contradicts the policy.

    weighting: EQUAL where the application says so. evaluates: whether it says that clients may be asked for metrics.
    public_data: whether it says that everybody may know what is measured of clients' data.
    """
    if not isinstance(strategy, Strategy):
        raise Misuse(f"strategy: expected a flwr.serverapp.strategy.Strategy, found {type(strategy).__name__}")
    if noise_trustees(policy):
        raise Misuse(
            f"strategy: {type(strategy).__name__}: under this policy trustees add the noise, and are no nodes; use one "
            'with privacy.by = "clients", or run without Flower'
        )
    _check_rule(strategy, policy)
    _check_weighting(strategy, weighting, policy.weights)
    _check_sampling(strategy, policy)
    if not evaluates and getattr(strategy, "fraction_evaluate", 0.0) != 0:
        raise Misuse(
            f"strategy: fraction_evaluate {strategy.fraction_evaluate:g}: metrics of clients' data would travel in the "
            "clear, and nothing of them is verified; use fraction_evaluate=0.0 and evaluate_fn, or say "
            "Verified(..., evaluate=True)"
        )
    if policy.noise is not None and not public_data:
        _check_noised(strategy, policy, evaluates)


def _check_noised(strategy: Strategy, policy: Policy, evaluates: bool) -> None:
    """Nothing that follows from private data leaves a client without noise."""
    meant = "or, where all clients' data are public, say Verified(..., public_data=True)"
    if evaluates:
        raise Misuse(
            f"strategy: {type(strategy).__name__} with evaluate=True: the policy has noise, and metrics of clients' "
            f"data would travel without it; use fraction_evaluate=0.0 and evaluate_fn, {meant}"
        )
    if policy.weights.kind != EQUAL:
        raise Misuse(
            f"strategy: {type(strategy).__name__} weights clients by {EXAMPLES!r}: the policy has noise, and "
            f"{policy.weights.kind} weights are seen without it; use a policy that weights all alike, {meant}"
        )


def _check_rule(strategy: Strategy, policy: Policy) -> None:
    kind = type(strategy)
    for method in ("aggregate_train", "start"):
        if method in vars(strategy):
            raise Misuse(f"strategy: its {method} is replaced, and would not be called; what is summed is the policy's")
    if _owner(kind, "start") is not Strategy:
        raise Misuse(f"strategy: {kind.__name__} has a start() of its own, which would not be called")
    owner = _owner(kind, "aggregate_train")
    if owner not in _RULES:
        known = ", ".join(each.__name__ for each in _RULES)
        raise Misuse(
            f"strategy: {kind.__name__}: aggregate_train of {owner.__name__} is no rule of a policy, and would not be "
            f"called; use one of {known}, or a subclass that leaves aggregate_train alone"
        )
    name, constants = _RULES[owner](strategy)
    signed = step_constants(policy.step)
    if name != policy.step.rule:
        raise Misuse(f"strategy: {kind.__name__} is the rule {name}, the policy's is {policy.step.rule}")
    if len(signed.rates) > 1:
        raise Misuse(
            f"strategy: {kind.__name__} has one learning_rate, the policy {len(signed.rates)}, one a round; drop the "
            "schedule, or run without this strategy"
        )
    for constant, value in constants.items():
        if value != signed.values[constant]:
            raise Misuse(
                f"strategy: {kind.__name__} has the {constant} {value!r}, the policy's is {signed.values[constant]!r}"
            )


def _check_weighting(strategy: Strategy, weighting: str | None, rule: WeightRule) -> None:
    if weighting not in (None, EQUAL):
        raise Misuse(f"weighting: expected {EQUAL!r}, found {weighting!r}")
    key = getattr(strategy, "weighted_by_key", None)
    if rule.kind != EQUAL:
        if weighting is not None or key != EXAMPLES:
            raise Misuse(
                f"strategy: the policy has {rule.kind} weights, by the metric {EXAMPLES!r} of the application's "
                f"answers; use weighted_by_key={EXAMPLES!r}, and no `weighting`"
            )
        return
    if weighting is None and key is not None:
        raise Misuse(
            f"strategy: {type(strategy).__name__} weights clients by {key!r}, and the policy weights all alike; say "
            f'that this is meant: Verified(..., weighting="{EQUAL}")'
        )


def _check_sampling(strategy: Strategy, policy: Policy) -> None:
    if policy.per_round is not None:
        raise Misuse(
            f"strategy: {type(strategy).__name__} samples clients itself, and the policy draws {policy.per_round} for "
            "each round (per_round); use a policy without it, or run without Flower"
        )
    clients, needed = len(policy.roster), policy.min_cohort
    fraction, least = getattr(strategy, "fraction_train", 1.0), getattr(strategy, "min_train_nodes", 0)
    asked = max(int(clients * fraction), least)
    if fraction == 0 or asked < needed:
        raise Misuse(
            f"strategy: fraction_train {fraction:g} and min_train_nodes {least} ask {0 if fraction == 0 else asked} of "
            f"{clients} clients, and the policy needs {needed} in a cohort (min_cohort); ask for more"
        )
    for name in ("min_train_nodes", "min_available_nodes"):
        if getattr(strategy, name, 0) > clients:
            raise Misuse(f"strategy: {name} {getattr(strategy, name)}: the policy has {clients} clients")


def _owner(kind: type, method: str) -> type:
    return next(each for each in kind.__mro__ if method in vars(each))
