"""The `[weights]` table: by what clients' updates are weighed in the sum."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Self

from pydantic import Field, field_validator, model_validator

from protocols.policy import WeightRule
from protocols.registry import one_of
from protocols.steps.doubles import format_double, parse_double
from protocols.weights import EQUAL, EQUAL_WEIGHTS, LARGEST_WEIGHT, WEIGHT_KINDS
from verifl.tables import SHOWN, Finite, TomlTable

DEFAULT_LARGEST = 100


class WeightsConfig(TomlTable):
    """kind: one of `protocols.weights`. largest: W, weights are integers from 1 to it. unit: how much of what the
    task's `weight` says makes a weight of 1, so that W units or more weigh W."""

    kind: str = EQUAL.name
    largest: int | None = Field(default=None, ge=1, le=LARGEST_WEIGHT)
    unit: Finite | None = Field(default=None, gt=0)

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in WEIGHT_KINDS:
            raise ValueError(f"expected {one_of(map(repr, WEIGHT_KINDS.names))}, found {SHOWN.repr(kind)}")
        return kind

    @model_validator(mode="after")
    def _only_with_weights(self) -> Self:
        for name in ("largest", "unit"):
            if self.kind == EQUAL.name and getattr(self, name) is not None:
                raise ValueError(f"`{name}` does not go with kind {EQUAL.name}; remove it or change kind")
        return self


def weighs(config: WeightsConfig) -> bool:
    """Whether clients' data are weighed."""
    return config.kind != EQUAL.name


def mapped(measured: float, rule: WeightRule) -> int:
    """The weight of data that weigh `measured`, above zero, by the task: the nearest number of units, halves up, from 1
    to W. Exact. Between half a unit and W units it is off by half a unit at most; less weighs 1, more weighs W."""
    return min(max(_rounded(measured, rule), 1), rule.largest)


def beyond(measured: float, rule: WeightRule) -> bool:
    """Whether data weigh more than the largest weight says."""
    return _rounded(measured, rule) > rule.largest


def unit_of(rule: WeightRule) -> float:
    """What of data weighs 1; only of kinds that weigh."""
    return parse_double(rule.unit or "")


def _rounded(measured: float, rule: WeightRule) -> int:
    return math.floor(Fraction(measured) / Fraction(unit_of(rule)) + Fraction(1, 2))


def weight_rule(config: WeightsConfig) -> WeightRule:
    """The table as the policy has it."""
    if config.kind == EQUAL.name:
        return EQUAL_WEIGHTS
    largest = DEFAULT_LARGEST if config.largest is None else config.largest
    return WeightRule(config.kind, largest, format_double(1.0 if config.unit is None else config.unit))
