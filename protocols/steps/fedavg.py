"""FedAvg (McMahan et al. 2017): x + eta u (spec 4.6). x model, u mean update, eta learning rate."""

from __future__ import annotations

from fractions import Fraction

from protocols.policy import StepRule
from protocols.steps.doubles import Doubles
from protocols.steps.rule import Constant, Constants, FullestUpdate, Moment, spelled


class FedAvg:
    """The rule `fedavg`, which remembers nothing."""

    name = "fedavg"
    constants: tuple[Constant, ...] = (Constant("learning_rate", 1.0),)
    moments: tuple[Moment, ...] = ()
    more = "raise learning_rate"
    less = "lower learning_rate"

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        """x + eta u."""
        return model + constants.learning_rate * mean, moments

    def moves(self, constants: Constants, fullest: FullestUpdate) -> bool:
        """eta >= `needed`."""
        return constants.exact("learning_rate") >= fullest.needed

    def stays(self, constants: Constants, longest: Fraction) -> bool:  # noqa: ARG002  of any rule
        """As the learning rate is bounded."""
        return True


def fedavg(learning_rate: float = 1.0) -> StepRule:
    """The rule `fedavg`; raises Misuse unless learning_rate is positive and finite."""
    return spelled(FedAvg(), learning_rate=learning_rate)
