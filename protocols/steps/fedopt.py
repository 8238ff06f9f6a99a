"""FedAdagrad, FedAdam and FedYogi (Reddi et al. 2021, algorithm 2, without bias correction; spec 4.6).

x model, m first and v second moment, u mean update, eta learning rate, e epsilon. They differ in v alone. Algorithm 2
starts from m = 0 and v = e^2.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction

import numpy as np

from protocols.policy import StepRule
from protocols.steps.doubles import Doubles
from protocols.steps.rule import MOST_MOVE, Constant, Constants, FullestUpdate, Moment, spelled


def _squared_epsilon(constants: Constants) -> float:
    epsilon = constants.values["epsilon"]
    return epsilon * epsilon


class _Adaptive(ABC):
    """A step that is scaled, coordinate by coordinate, by the root of a second moment."""

    constants: tuple[Constant, ...]
    moments: tuple[Moment, ...] = (Moment("first moment"), Moment("second moment", _squared_epsilon, nonnegative=True))
    more = "raise learning_rate, or lower beta1 or epsilon"
    less = "lower learning_rate, or raise epsilon"

    @abstractmethod
    def second(self, constants: Constants, second: Doubles, squares: Doubles) -> Doubles:
        """v' from v and u u, float64 (d,); never below zero."""

    @abstractmethod
    def largest_second(self, constants: Constants, peak_squared: Fraction) -> Fraction:
        """What v' is at most after the first step, where u u <= `peak_squared`."""

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        """m' = b1 m + (1 - b1) u, v' = `second`, x' = x + eta m' / (sqrt(v') + e)."""
        beta1 = constants.values["beta1"]
        first = beta1 * moments[0] + (1.0 - beta1) * mean
        second = self.second(constants, moments[1], mean * mean)
        scale = np.sqrt(second) + constants.values["epsilon"]
        return model + (constants.learning_rate * first) / scale, (first, second)

    def moves(self, constants: Constants, fullest: FullestUpdate) -> bool:
        """eta (1 - b1) >= `needed` (e + sqrt(V)), V = `largest_second`: exact, as e + sqrt(V) bounds the divisor."""
        gain = constants.exact("learning_rate") * (1 - constants.exact("beta1"))
        room = gain / fullest.needed - constants.exact("epsilon")
        return room >= 0 and room * room >= self.largest_second(constants, fullest.peak_squared)

    def stays(self, constants: Constants, longest: Fraction) -> bool:
        """eta L <= 2^64 e, L = `longest`."""
        return constants.exact("learning_rate") * longest <= MOST_MOVE * constants.exact("epsilon")


class FedAdagrad(_Adaptive):
    """The rule `fedadagrad`."""

    name = "fedadagrad"
    constants: tuple[Constant, ...] = (
        Constant("learning_rate", 0.1),
        Constant("beta1", 0.0),
        Constant("epsilon", 1e-3),
    )

    def second(self, constants: Constants, second: Doubles, squares: Doubles) -> Doubles:  # noqa: ARG002  of any rule
        """v + u u."""
        return second + squares

    def largest_second(self, constants: Constants, peak_squared: Fraction) -> Fraction:
        """e e + w w."""
        return constants.exact("epsilon") ** 2 + peak_squared


class FedAdam(_Adaptive):
    """The rule `fedadam`."""

    name = "fedadam"
    constants: tuple[Constant, ...] = (
        Constant("learning_rate", 0.01),
        Constant("beta1", 0.9),
        Constant("beta2", 0.99),
        Constant("epsilon", 1e-3),
    )

    def second(self, constants: Constants, second: Doubles, squares: Doubles) -> Doubles:
        """b2 v + (1 - b2) u u."""
        beta2 = constants.values["beta2"]
        return beta2 * second + (1.0 - beta2) * squares

    def largest_second(self, constants: Constants, peak_squared: Fraction) -> Fraction:
        """The larger of e e and w w: v' is between them."""
        return max(constants.exact("epsilon") ** 2, peak_squared)


class FedYogi(_Adaptive):
    """The rule `fedyogi`."""

    name = "fedyogi"
    constants: tuple[Constant, ...] = FedAdam.constants

    def second(self, constants: Constants, second: Doubles, squares: Doubles) -> Doubles:
        """v - (1 - b2) u u sign(v - u u); the sign by comparison."""
        change = (1.0 - constants.values["beta2"]) * squares
        return np.where(second > squares, second - change, np.where(second < squares, second + change, second))

    def largest_second(self, constants: Constants, peak_squared: Fraction) -> Fraction:
        """e e + (1 - b2) w w."""
        return constants.exact("epsilon") ** 2 + (1 - constants.exact("beta2")) * peak_squared


def fedadagrad(learning_rate: float = 0.1, beta1: float = 0.0, epsilon: float = 1e-3) -> StepRule:
    """The rule `fedadagrad`; raises Misuse unless learning_rate, epsilon > 0 and 0 <= beta1 < 1."""
    return spelled(FedAdagrad(), learning_rate=learning_rate, beta1=beta1, epsilon=epsilon)


def fedadam(learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-3) -> StepRule:
    """The rule `fedadam`; raises Misuse unless learning_rate, epsilon > 0 and 0 <= beta1, beta2 < 1."""
    return spelled(FedAdam(), learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)


def fedyogi(learning_rate: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, epsilon: float = 1e-3) -> StepRule:
    """The rule `fedyogi`; raises Misuse unless learning_rate, epsilon > 0 and 0 <= beta1, beta2 < 1."""
    return spelled(FedYogi(), learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon)
