"""FedAdam (Reddi et al. 2021, algorithm 2, without bias correction; spec 4.6).

x model, m first and v second moment, u mean update, eta learning rate, e epsilon. Algorithm 2 starts from m = 0 and
v = e^2.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from protocols.policy import StepRule
from protocols.steps.doubles import Doubles
from protocols.steps.rule import MOST_MOVE, Constant, Constants, FullestUpdate, Moment, spelled


def _squared_epsilon(constants: Constants) -> float:
    epsilon = constants.values["epsilon"]
    return epsilon * epsilon


class FedAdam:
    """The rule `fedadam`."""

    name = "fedadam"
    constants: tuple[Constant, ...] = (
        Constant("learning_rate", 0.01),
        Constant("beta1", 0.9),
        Constant("beta2", 0.99),
        Constant("epsilon", 1e-3),
    )
    moments: tuple[Moment, ...] = (Moment("first moment"), Moment("second moment", _squared_epsilon, nonnegative=True))
    averages = False
    more = "raise learning_rate, or lower beta1 or epsilon"
    less = "lower learning_rate, or raise epsilon"

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        """m' = b1 m + (1 - b1) u, v' = b2 v + (1 - b2) u u, x' = x + eta m' / (sqrt(v') + e)."""
        eta, beta1, beta2, epsilon = (constants.values[each.name] for each in self.constants)
        first, second = moments
        first = beta1 * first + (1.0 - beta1) * mean
        second = beta2 * second + (1.0 - beta2) * (mean * mean)
        return model + (eta * first) / (np.sqrt(second) + epsilon), (first, second)

    def moves(self, constants: Constants, fullest: FullestUpdate) -> bool:
        """eta (1 - b1) >= `needed` (e + max(e, w)), w the largest coordinate: exact, as e + max(e, w) bounds the
        divisor."""
        epsilon = constants.exact("epsilon")
        room = constants.exact("learning_rate") * (1 - constants.exact("beta1")) / fullest.needed - epsilon
        return room >= epsilon and room * room >= fullest.peak_squared

    def stays(self, constants: Constants, longest: Fraction) -> bool:
        """eta L <= 2^64 e, L = `longest`."""
        return constants.exact("learning_rate") * longest <= MOST_MOVE * constants.exact("epsilon")


def fedadam(learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-3) -> StepRule:
    """The rule `fedadam`; raises Misuse unless learning_rate, epsilon > 0 and 0 <= beta1, beta2 < 1."""
    return spelled(FedAdam(), learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)
