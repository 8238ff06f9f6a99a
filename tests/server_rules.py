"""A rule of the server step that this version does not have: FedYogi (Reddi et al. 2021, algorithm 2)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from protocols.steps.doubles import Doubles
from protocols.steps.fedopt import FedAdam
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import Constants, ServerRule
from tests.independent import steps as second


class FedYogi(FedAdam):
    """v' = v - (1 - b2) u^2 sign(v - u^2); the rest is FedAdam's."""

    name = "fedyogi"

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        eta, beta1, beta2, epsilon = (constants.values[each.name] for each in self.constants)
        m, v = moments
        squares = mean * mean
        m = beta1 * m + (1.0 - beta1) * mean
        v = v - (1.0 - beta2) * squares * np.sign(v - squares)
        return model + (eta * m) / (np.sqrt(v) + epsilon), (m, v)


class NamedYogi(FedAdam):
    """FedAdam under that name: what an auditor would compute that takes one rule of moments for another."""

    name = "fedyogi"


def yogi_step(c: second.Constants, x: float, kept: second.Moments, u: float) -> tuple[float, second.Moments]:
    """FedYogi for the second auditor."""
    m, v = kept
    m = c["beta1"] * m + (1.0 - c["beta1"]) * u
    v = v - (1.0 - c["beta2"]) * (u * u) * float((v > u * u) - (v < u * u))
    return x + c["learning_rate"] * m / (math.sqrt(v) + c["epsilon"]), (m, v)


SECOND_YOGI = replace(second.FEDADAM, step=yogi_step)


@contextmanager
def registered(rule: ServerRule, counterpart: second.Rule) -> Iterator[None]:
    """The rule is known to parties and auditor, its counterpart to the second auditor, and nothing else is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SERVER_RULES, "_entries", SERVER_RULES.extended(rule)._entries)
        patch.setitem(second.RULES, rule.name, counterpart)
        yield
