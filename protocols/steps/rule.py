"""What a rule of the server step is: its constants, what it remembers, how it moves the model (spec 4.6).

Everything that asks what a rule does asks the rule: nothing outside of its file tells one from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Malformed, Misuse, Rejected
from protocols.policy import StepRule
from protocols.steps.doubles import format_double, parse_double

Vector: TypeAlias = NDArray[np.float64]

NUMBERS = tuple(field.name for field in fields(StepRule) if field.name != "rule")
FRACTIONS = frozenset({"beta1", "beta2"})  # at least 0 and below 1; the others are above zero
LEAST_GAIN = Fraction(1, 1 << 16)
MOST_RATE = Fraction(1 << 16)
MOST_MOVE = Fraction(1 << 64)


@dataclass(frozen=True)
class Constant:
    """A hyper-parameter of a rule: one of NUMBERS, and its value where a configuration gives none."""

    name: str
    default: float


@dataclass(frozen=True)
class Constants:
    """A policy's StepRule as doubles, those that its rule has, in the order of NUMBERS."""

    rule: str
    values: Mapping[str, float]

    @property
    def learning_rate(self) -> float:
        """Of every rule."""
        return self.values["learning_rate"]

    def exact(self, name: str) -> Fraction:
        """A constant as a fraction."""
        return Fraction(self.values[name])


def _zero(_: Constants) -> float:
    return 0.0


@dataclass(frozen=True)
class Moment:
    """A vector, float64 (d,), that a rule keeps from step to step; `start` gives what each coordinate is before the
    first."""

    name: str
    start: Callable[[Constants], float] = _zero
    nonnegative: bool = False


@dataclass(frozen=True)
class Length:
    """The longest mean update that a policy allows: its L2 norm, exactly, and in how many coordinates."""

    norm: Fraction
    dimension: int


class ServerRule(Protocol):
    """One rule. Vectors are float64 (d,); each operation on them is one IEEE double operation on each coordinate.

    name: as policies have it. constants: `learning_rate` first. moments: what it keeps, in the order of the optimizer
    blob. averages: whether a learning rate of 1 takes each coordinate to the mean of what clients made of it. more,
    less: what to change where it moves the model too little or too far.
    """

    name: str
    constants: tuple[Constant, ...]
    moments: tuple[Moment, ...]
    averages: bool
    more: str
    less: str

    def step(
        self, constants: Constants, model: Vector, moments: tuple[Vector, ...], mean: Vector
    ) -> tuple[Vector, tuple[Vector, ...]]:
        """The next model and moments, new arrays, from the mean update."""
        ...

    def moves(self, constants: Constants, longest: Length) -> bool:
        """Condition `step-floor`: the first step moves the model by 2^-16 or more of a mean update that is `longest`
        and spread evenly over the coordinates."""
        ...

    def stays(self, constants: Constants, longest: Length) -> bool:
        """Condition `step-ceiling`, beside that of learning rates: no step can overflow."""
        ...


def spelled(rule: ServerRule, **given: float) -> StepRule:
    """The rule with these constants, and its own defaults for the rest, as a policy has it.

    Raises Misuse for a constant that it does not have, or one out of its range.
    """
    unknown = sorted(given.keys() - {each.name for each in rule.constants})
    if unknown:
        raise Misuse(f"server step: {rule.name} has no {unknown[0]}")
    numbers = {each.name: format_double(given.get(each.name, each.default)) for each in rule.constants}
    made = StepRule(rule.name, numbers["learning_rate"], *(numbers.get(name) for name in NUMBERS[1:]))
    try:
        constants_of(rule, made)
    except Rejected as error:
        raise Misuse(f"server step: expected {error.expected}, found {error.found}") from error
    return made


def constants_of(rule: ServerRule, step: StepRule) -> Constants:
    """The constants of a policy's step of this rule; raises Rejected("policy-step") naming the field."""
    known = {each.name for each in rule.constants}
    values = {}
    for name in NUMBERS:
        text: str | None = getattr(step, name)
        if (text is None) != (name not in known):
            expected = f"{name} with {rule.name}" if text is None else f"no {name} with {rule.name}"
            raise Rejected("policy-step", expected, repr(text))
        if text is not None:
            values[name] = _parsed(name, text)
    return Constants(rule.name, values)


def named(moments: Iterable[Moment]) -> str:
    """Moments in words."""
    return " and ".join(each.name for each in moments) or "nothing"


def _parsed(name: str, text: str) -> float:
    try:
        value = parse_double(text)
    except Malformed as error:
        raise Rejected("policy-step", f"{name} as {error.expected}", error.found) from error
    if name in FRACTIONS and not 0.0 <= value < 1.0:
        raise Rejected("policy-step", f"{name} at least 0 and below 1", f"{value}")
    if name not in FRACTIONS and value <= 0.0:
        raise Rejected("policy-step", f"{name} above zero", f"{value}")
    return value
