"""The `[server]` table: which server step, and with which constants."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from proofs.errors import Misuse
from protocols.policy import Policy, StepRule
from protocols.steps.step import fedadam, fedavg, step_ceiling, step_constants, step_floor
from verifl.tables import Finite, Table


class ServerConfig(Table):
    """The server step: fedavg (learning_rate, 1.0 when absent) or fedadam (Reddi et al. 2021: learning_rate 0.01,
    beta1 0.9, beta2 0.99, epsilon 0.001 when absent)."""

    rule: Literal["fedavg", "fedadam"] = "fedavg"
    learning_rate: Finite | None = Field(default=None, gt=0)
    beta1: Finite | None = Field(default=None, ge=0, lt=1)
    beta2: Finite | None = Field(default=None, ge=0, lt=1)
    epsilon: Finite | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _rule_fields(self) -> Self:
        extra = [name for name in ("beta1", "beta2", "epsilon") if getattr(self, name) is not None]
        if self.rule == "fedavg" and extra:
            raise ValueError(f"`{extra[0]}` belongs to rule fedadam, found rule fedavg; remove it or change the rule")
        return self


def step_rule(config: ServerConfig) -> StepRule:
    names = ("learning_rate",) if config.rule == "fedavg" else ("learning_rate", "beta1", "beta2", "epsilon")
    given = {name: value for name in names if (value := getattr(config, name)) is not None}
    return fedavg(**given) if config.rule == "fedavg" else fedadam(**given)


def check_step(config: ServerConfig, policy: Policy) -> None:
    """The conditions `step-floor` and `step-ceiling` of the policy, by the fields of the configuration."""
    found = f"{config.rule} with learning_rate {step_constants(policy.step).learning_rate:g}"
    if not step_floor(policy):
        more = "raise learning_rate" if config.rule == "fedavg" else "raise learning_rate, or lower beta1 or epsilon"
        raise Misuse(
            f"server: expected a step that moves the model by 2^-16 of an update of length clip_norm or more "
            f"(step-floor), found {found}; {more}"
        )
    if not step_ceiling(policy):
        more = "lower learning_rate" if config.rule == "fedavg" else "lower learning_rate, or raise epsilon"
        raise Misuse(f"server: expected a step that cannot overflow (step-ceiling), found {found}; {more}")
