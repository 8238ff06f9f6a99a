"""The `[weights]` table: by what clients' updates are weighed in the sum."""

from __future__ import annotations

from typing import Self

from pydantic import Field, field_validator, model_validator

from protocols.policy import WeightRule
from protocols.registry import one_of
from protocols.steps.doubles import format_double
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


def weight_rule(config: WeightsConfig) -> WeightRule:
    """The table as the policy has it."""
    if config.kind == EQUAL.name:
        return EQUAL_WEIGHTS
    largest = DEFAULT_LARGEST if config.largest is None else config.largest
    return WeightRule(config.kind, largest, format_double(1.0 if config.unit is None else config.unit))
