"""What a rule of the server step is: its constants, what it remembers, how it moves the model (spec 4.6).

Everything that asks what a rule does asks the rule: nothing outside of its file tells one from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from proofs.errors import Malformed, Misuse, Rejected
from protocols.policy import StepRule
from protocols.steps.doubles import Doubles, format_double, parse_double

RATE = "learning_rate"
NUMBERS = (RATE, "beta1", "beta2", "epsilon")
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
    """A policy's StepRule as doubles, those that its rule has, in the order of NUMBERS.

    rates: learning rates, one a round from the first on, the last one for all further rounds. values: of one round: its
    learning rate, that of the first round unless `in_round` says another, and what is the same in all.
    """

    rule: str
    rates: tuple[float, ...]
    values: Mapping[str, float]

    @property
    def learning_rate(self) -> float:
        """Of every rule."""
        return self.values[RATE]

    def in_round(self, number: int) -> Constants:
        """Those of a round, counted from 1."""
        return self._at(self.rates[min(number, len(self.rates)) - 1])

    @property
    def slowest(self) -> Constants:
        """With the least learning rate."""
        return self._at(min(self.rates))

    @property
    def fastest(self) -> Constants:
        """With the largest learning rate."""
        return self._at(max(self.rates))

    def _at(self, rate: float) -> Constants:
        return replace(self, values={**self.values, RATE: rate})

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
class FullestUpdate:
    """The mean update that is as long as a policy's bounds allow, in proportion to those of its coordinates; exact, in
    the model's units.

    length: its norm, or somewhat less where coordinates have scales. peak_squared: the square of its largest
    coordinate. vanishes: whether every coordinate of it is rounded to nothing. averaged: whether it is of statistics
    alone, because no parameter may move.
    """

    length: Fraction
    peak_squared: Fraction
    vanishes: bool
    averaged: bool = False

    @property
    def needed(self) -> Fraction:
        """How long the step after it has to be for each unit of its length: 2^-16, and as much more as it is short."""
        return LEAST_GAIN / min(Fraction(1), self.length)


class ServerRule(Protocol):
    """One rule. Vectors are float64 (d,); each operation on them is one IEEE double operation on each coordinate.

    It moves tensors of the role `parameter` only. name: as policies have it. constants: `learning_rate` first. moments:
    what it keeps, in the order of the optimizer blob. more, less: what to change where it moves the model too little or
    too far.
    """

    name: str
    constants: tuple[Constant, ...]
    moments: tuple[Moment, ...]
    more: str
    less: str

    def step(
        self, constants: Constants, model: Doubles, moments: tuple[Doubles, ...], mean: Doubles
    ) -> tuple[Doubles, tuple[Doubles, ...]]:
        """The next model and moments, new arrays, from the mean update."""
        ...

    def moves(self, constants: Constants, fullest: FullestUpdate) -> bool:
        """Condition `step-floor`, beside that something is left of it: the first step after `fullest` moves the model
        by `fullest.needed` of its length or more. True at every larger learning rate, too."""
        ...

    def stays(self, constants: Constants, longest: Fraction) -> bool:
        """Condition `step-ceiling`, beside that of learning rates: no step can overflow after mean updates of
        coordinates up to `longest`. True at every smaller learning rate, too."""
        ...


def spelled(rule: ServerRule, rates: Sequence[float] = (), **given: float) -> StepRule:
    """The rule with these constants, and its own defaults for the rest, as a policy has it.

    rates: learning rates, one a round; empty for the one that is among the constants. Raises Misuse for a constant that
    the rule does not have, or one out of its range.
    """
    unknown = sorted(given.keys() - {each.name for each in rule.constants})
    if unknown:
        raise Misuse(f"server step: {rule.name} has no {unknown[0]}")
    numbers = {each.name: format_double(given.get(each.name, each.default)) for each in rule.constants}
    spelt = [format_double(rate) for rate in rates] or [numbers[RATE]]
    while len(spelt) > 1 and spelt[-1] == spelt[-2]:  # the last is that of all further rounds
        spelt.pop()
    made = StepRule(rule.name, tuple(spelt), *(numbers.get(name) for name in NUMBERS[1:]))
    try:
        constants_of(rule, made)
    except Rejected as error:
        raise Misuse(f"server step: expected {error.expected}, found {error.found}") from error
    return made


def constants_of(rule: ServerRule, step: StepRule) -> Constants:
    """The constants of a policy's step of this rule; raises Rejected("policy-step") naming the field."""
    known = {each.name for each in rule.constants}
    rates = _parsed_rates(step.learning_rates)
    values = {RATE: rates[0]}
    for name in NUMBERS[1:]:
        text: str | None = getattr(step, name)
        if (text is None) != (name not in known):
            expected = f"{name} with {rule.name}" if text is None else f"no {name} with {rule.name}"
            raise Rejected("policy-step", expected, repr(text))
        if text is not None:
            values[name] = _parsed(name, text)
    return Constants(rule.name, rates, values)


def named(moments: Iterable[Moment]) -> str:
    """Moments in words."""
    return " and ".join(each.name for each in moments) or "nothing"


def _parsed_rates(texts: Sequence[str]) -> tuple[float, ...]:
    """One spelling: at least one, and none at the end that changes nothing."""
    if not texts:
        raise Rejected("policy-step", f"a {RATE}", "none")
    if len(texts) > 1 and texts[-1] == texts[-2]:
        raise Rejected("policy-step", f"a last {RATE} other than the one before it", repr(texts[-1]))
    return tuple(_parsed(RATE, text) for text in texts)


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
