"""How what a policy was signed for differs from what a configuration and a task describe, in words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import Any

from protocols.noise import delta_of, epsilon_of
from protocols.policy import (
    SCALE_BIAS,
    STATISTIC,
    AddedNoise,
    LatticeRule,
    PrivacyBudget,
    StepRule,
    TensorSpec,
    UpdateRule,
    WeightRule,
)
from protocols.steps.doubles import parse_double
from protocols.steps.registry import step_constants
from protocols.steps.rule import RATE

_LONGEST = 200  # characters of what is said of one side
_RATES = 5  # learning rates that are shown, beside the last

_NOISE = (
    "federation.rounds with epsilon, delta, colluding of [privacy]; the budget is fixed for good: put them back, or "
    "have a new policy made that goes on from this one"
)
_DECIDING = {  # what of a configuration and a task decides a field; of others the roster does
    "tensors": "the task's model() and [tensors]",
    "dimension": "the task's model() and [tensors]",
    "initial_model": "federation.seed and the task's model()",
    "update": "[update]",
    "lattice": "[update], [weights] and limits.max_cohort",
    "step": "[server], and where it has a schedule federation.rounds",
    "weights": "[weights]",
    "required_checks": "audit.required",
    "noise": _NOISE,
    "privacy_budget": _NOISE,
}


def decided_by(name: str) -> str:
    """Where to look for what a field of the policy follows from, as the end of a sentence."""
    return f"; it follows from {_DECIDING[name]}" if name in _DECIDING else ""


def in_words(name: str, signed: object, found: object) -> tuple[str, str]:
    """What each side says of a field of the policy in which they differ."""
    if name == "initial_model":
        found = "other weights; the seed is another, or model() was changed; --initial starts from a file"
        return "the weights that model() made then", found
    if name == "tensors" and isinstance(signed, tuple) and isinstance(found, tuple):
        return _tensors(signed, found)
    if isinstance(signed, StepRule) and isinstance(found, StepRule):
        return _steps(signed, found)
    sides = [_cut(_describe(each)) for each in (signed, found)]
    return sides[0], sides[1]


def _tensors(signed: Sequence[TensorSpec], found: Sequence[TensorSpec]) -> tuple[str, str]:
    """The first tensor that is not on both sides, or not the same there."""
    there, here = ({each.name: each for each in side} for side in (signed, found))
    for name in dict.fromkeys((*there, *here)):
        if there.get(name) != here.get(name):
            return _tensor(name, there.get(name)), _tensor(name, here.get(name))
    place = next(number for number, (one, other) in enumerate(zip(signed, found, strict=True)) if one != other)
    return f"{signed[place].name!r} as tensor {place + 1}", f"{found[place].name!r}: the same in another order"


def _tensor(name: str, spec: TensorSpec | None) -> str:
    if spec is None:
        return f"a model without {name!r}"
    shape = "x".join(map(str, spec.shape)) or "a single number"
    clamped = ", never below zero" if spec.nonnegative else ""
    measured = ", a statistic" if spec.role == STATISTIC else ""
    return f"{name!r} of {spec.dtype}, {shape}{clamped}{measured}"


def _describe(value: object) -> str:
    if isinstance(value, UpdateRule):
        return ", ".join(_update(value))
    if isinstance(value, LatticeRule):
        proof = "with" if value.encryption_proof else "without"
        return f"a modulus of {value.modulus.bit_length()} bits {proof} the proof of encryption"
    if isinstance(value, WeightRule):
        unit = "" if value.unit is None else f" from 1 to {value.largest}, one for each {parse_double(value.unit):.6g}"
        return f"{value.kind} weights{unit}"
    if isinstance(value, AddedNoise):
        sigma = math.sqrt(value.variance / max(value.variance_divisor, 1))
        return f"noise of sigma {sigma:.6g} by {value.by}, of whom {value.honest} are honest"
    if isinstance(value, PrivacyBudget):
        return f"epsilon {float(epsilon_of(value)):g} and delta {float(delta_of(value)):g} for a client"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _steps(signed: StepRule, found: StepRule) -> tuple[str, str]:
    """Both rules; or the first round in which their learning rates are not the same, where nothing else differs."""
    if dataclasses.replace(signed, learning_rates=found.learning_rates) != found:
        return step_in_words(signed), step_in_words(found)
    there, here = step_constants(signed).in_round, step_constants(found).in_round
    rounds = range(1, max(len(signed.learning_rates), len(found.learning_rates)) + 1)
    number = next(each for each in rounds if there(each).learning_rate != here(each).learning_rate)
    one, other = (f"learning_rate {side(number).learning_rate:.6g} in round {number}" for side in (there, here))
    return one, other


def step_in_words(rule: StepRule) -> str:
    """A server step with its constants, and the first of its learning rates."""
    constants = step_constants(rule)
    others = [f"{name} {value:.6g}" for name, value in constants.values.items() if name != RATE]
    return ", ".join([rule.rule, f"{RATE} {_rates_in_words(constants.rates)}", *others])


def _rates_in_words(rates: Sequence[float]) -> str:
    *others, last = rates
    if not others:
        return f"{last:.6g}"
    shown = [f"{each:.6g}" for each in others[:_RATES]] + ["..."] * (len(others) > _RATES)
    return f"{', '.join(shown)}, and {last:.6g} from round {len(rates)} on"


def step_numbers(rule: StepRule) -> dict[str, Any]:
    """The same as plain values, with every learning rate."""
    constants = step_constants(rule)
    others = {name: value for name, value in constants.values.items() if name != RATE}
    return {"rule": rule.rule, **others, "learning_rates": list(constants.rates)}


def _update(rule: UpdateRule) -> Iterator[str]:
    yield f"clip_norm {math.ldexp(rule.norm_bound, -rule.fraction_bits):.6g}"
    yield f"fraction_bits {rule.fraction_bits}"
    if rule.coordinate_bound is not None:
        yield f"coordinate_bound {math.ldexp(rule.coordinate_bound, -rule.fraction_bits):.6g}"
    for group in rule.groups:
        bound = math.ldexp(group.bound, -rule.fraction_bits)
        yield f"coordinates {group.start} to {group.stop - 1} within {bound:.6g}"
    for each in rule.scales:
        yield f"coordinates {each.start} to {each.stop - 1} in the scale {math.ldexp(1, each.exponent - SCALE_BIAS):g}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
