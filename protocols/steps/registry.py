"""The rules of this version (spec 4.6). Policies, steps, configurations and auditors find a rule here or refuse it."""

from __future__ import annotations

from protocols.policy import StepRule
from protocols.registry import Registry
from protocols.steps.fedavg import FedAvg
from protocols.steps.fedavgm import FedAvgM
from protocols.steps.fedopt import FedAdagrad, FedAdam, FedYogi
from protocols.steps.rule import Constants, ServerRule, constants_of

SERVER_RULES: Registry[ServerRule] = Registry(
    "server rule",
    "policy-step",
    (FedAvg(), FedAvgM(), FedAdagrad(), FedAdam(), FedYogi()),
    lambda rule: rule.name,
)


def server_rule(name: str) -> ServerRule:
    """The rule of that name; raises Rejected("policy-step") where there is none."""
    return SERVER_RULES.find(name)


def step_constants(step: StepRule) -> Constants:
    """The constants of a policy's step; raises Rejected("policy-step") for an unknown rule, or naming the field."""
    return constants_of(server_rule(step.rule), step)
