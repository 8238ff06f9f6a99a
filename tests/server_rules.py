"""A rule of the server step that this version does not have: AdaMax (Kingma and Ba 2015, 7.1) at the server."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from protocols.steps.doubles import Doubles
from protocols.steps.fedopt import FedAdam
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import Constants, ServerRule
from tests.independent import steps as second


class FedAdaMax(FedAdam):
    """v' = max(b2 v, |u|), which divides as it is; the rest is FedAdam's."""

    name = "fedadamax"

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        eta, beta1, beta2, epsilon = (constants.values[each.name] for each in self.constants)
        m = beta1 * moments[0] + (1.0 - beta1) * mean
        v = np.maximum(beta2 * moments[1], np.abs(mean))
        return model + (eta * m) / (v + epsilon), (m, v)

    def largest_second(self, constants: Constants, peak_squared: Fraction) -> Fraction:
        return max(constants.exact("epsilon") ** 4, peak_squared)


class NamedAdaMax(FedAdam):
    """FedAdam under that name: what an auditor would compute that takes one rule of moments for another."""

    name = "fedadamax"


def adamax_step(c: second.Constants, x: float, kept: second.Moments, u: float) -> tuple[float, second.Moments]:
    """AdaMax for the second auditor."""
    m, v = kept
    m = c["beta1"] * m + (1.0 - c["beta1"]) * u
    v = max(c["beta2"] * v, math.fabs(u))
    return x + c["learning_rate"] * m / (v + c["epsilon"]), (m, v)


def adamax_floor(c: second.Constants, scale: Fraction, steepest: Fraction) -> bool:
    """The divisor is at most e + max(e e, w)."""
    epsilon = Fraction(c["epsilon"])
    left = 2**16 * Fraction(c["learning_rate"]) * (1 - Fraction(c["beta1"])) * scale - epsilon
    return left >= 0 and left**2 >= max(epsilon**4, steepest)


SECOND_ADAMAX = replace(second.FEDADAM, step=adamax_step, floor=adamax_floor)


@contextmanager
def registered(rule: ServerRule, counterpart: second.Rule) -> Iterator[None]:
    """The rule is known to parties and auditor, its counterpart to the second auditor, and nothing else is changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SERVER_RULES, "_entries", SERVER_RULES.extended(rule)._entries)
        patch.setitem(second.RULES, rule.name, counterpart)
        yield
