"""The `[server]` table: which server step, and with which constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from pydantic import Field, field_validator, model_validator

from proofs.errors import Misuse
from protocols.policy import Policy, StepRule
from protocols.registry import one_of
from protocols.steps.registry import SERVER_RULES, server_rule, step_constants
from protocols.steps.rule import NUMBERS, RATE, Constants, spelled
from protocols.steps.step import fullest_update, step_ceiling, step_floor
from verifl.strategies.schedules import ScheduleConfig, scheduled
from verifl.tables import SHOWN, Finite, TomlTable


class ServerConfig(TomlTable):
    """The server step: a rule of `protocols.steps.registry`, and such constants as it has; its own defaults for those
    that are absent. schedule: how the learning rate changes; the same in all rounds when absent."""

    rule: str = "fedavg"
    learning_rate: Finite | None = Field(default=None, gt=0)
    beta1: Finite | None = Field(default=None, ge=0, lt=1)
    beta2: Finite | None = Field(default=None, ge=0, lt=1)
    epsilon: Finite | None = Field(default=None, gt=0)
    schedule: ScheduleConfig | None = None

    @field_validator("rule")
    @classmethod
    def _known(cls, rule: str) -> str:
        if rule not in SERVER_RULES:
            raise ValueError(f"expected {one_of(map(repr, SERVER_RULES.names))}, found {SHOWN.repr(rule)}")
        return rule

    @model_validator(mode="after")
    def _rule_fields(self) -> Self:
        own = {constant.name for constant in server_rule(self.rule).constants}
        for name in self.given():
            if name not in own:
                others = one_of(rule.name for rule in SERVER_RULES if name in {each.name for each in rule.constants})
                raise ValueError(
                    f"`{name}` belongs to rule {others}, found rule {self.rule}; remove it or change the rule"
                )
        return self

    def given(self) -> Mapping[str, float]:
        """The constants that are not absent."""
        return {name: value for name in NUMBERS if (value := getattr(self, name)) is not None}


def step_rule(config: ServerConfig, rounds: int) -> StepRule:
    """The table as the policy has it, made for so many rounds; raises Misuse, naming the field."""
    rule, given = server_rule(config.rule), config.given()
    if config.schedule is None:
        return spelled(rule, (), **given)
    usual = next(each.default for each in rule.constants if each.name == RATE)
    return spelled(rule, scheduled(given.get(RATE, usual), config.schedule, rounds), **given)


def check_step(policy: Policy) -> None:
    """The conditions `step-floor` and `step-ceiling` of the policy, by the fields of the configuration."""
    rule = server_rule(policy.step.rule)
    constants = step_constants(policy.step)
    fullest = fullest_update(policy)
    length = f"updates of at most {float(fullest.length):.3g} by clip_norm and the bounds on coordinates"
    if fullest.vanishes:
        raise Misuse(
            f"update: expected fixed point in which something is left of an update of full length (step-floor), found "
            f"fraction_bits {policy.update.fraction_bits} and {length}; raise fraction_bits"
        )
    if not step_floor(policy):
        found, more = f"{rule.name} with {_rate_of(constants.slowest)}", rule.more
        if len(constants.rates) > 1:
            more = f"{more}, or have the schedule fall less or later (factor, least, every, rounds)"
        if fullest.length < 1:
            found, more = f"{found} and {length}", f"{more}, or raise clip_norm and the bounds on coordinates"
        raise Misuse(
            f"server: expected a step that moves the model by 2^-16, and by 2^-16 of an update of full length, or more "
            f"(step-floor), found {found}; {more}"
        )
    if not step_ceiling(policy):
        found = f"{rule.name} with {_rate_of(constants.fastest)}"
        raise Misuse(f"server: expected a step that cannot overflow (step-ceiling), found {found}; {rule.less}")


def _rate_of(constants: Constants) -> str:
    """The learning rate, and where there are several the first round that has it."""
    scheduled = f" in round {constants.rates.index(constants.learning_rate) + 1}" if len(constants.rates) > 1 else ""
    return f"learning_rate {constants.learning_rate:g}{scheduled}"
