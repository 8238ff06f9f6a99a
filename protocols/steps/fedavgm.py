"""FedAvgM (Hsu, Qi and Brown 2019): FedAvg with momentum at the server (spec 4.6). x model, m momentum, u mean update,
eta learning rate, b1 how much of the momentum stays."""

from __future__ import annotations

from fractions import Fraction

from protocols.policy import StepRule
from protocols.steps.doubles import Doubles
from protocols.steps.rule import Constant, Constants, FullestUpdate, Moment, spelled


class FedAvgM:
    """The rule `fedavgm`."""

    name = "fedavgm"
    constants: tuple[Constant, ...] = (Constant("learning_rate", 1.0), Constant("beta1", 0.9))
    moments: tuple[Moment, ...] = (Moment("momentum"),)
    more = "raise learning_rate"
    less = "lower learning_rate"

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        """m' = b1 m + u, x' = x + eta m'."""
        momentum = constants.values["beta1"] * moments[0] + mean
        return model + constants.learning_rate * momentum, (momentum,)

    def moves(self, constants: Constants, fullest: FullestUpdate) -> bool:
        """eta >= `needed`: the first step is FedAvg's."""
        return constants.exact("learning_rate") >= fullest.needed

    def stays(self, constants: Constants, longest: Fraction) -> bool:  # noqa: ARG002  of any rule
        """As the learning rate is bounded, and after 2^16 rounds the momentum is at most 2^16 times as long as one
        update."""
        return True


def fedavgm(learning_rate: float = 1.0, beta1: float = 0.9) -> StepRule:
    """The rule `fedavgm`; raises Misuse unless learning_rate > 0 and 0 <= beta1 < 1."""
    return spelled(FedAvgM(), learning_rate=learning_rate, beta1=beta1)
