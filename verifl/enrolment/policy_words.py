"""How what a policy was signed for differs from what a configuration and a task describe, in words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from protocols.policy import LatticeRule, StepRule, TensorSpec, UpdateRule, WeightRule
from protocols.steps.doubles import parse_double

_LONGEST = 200  # characters of what is said of one side


def in_words(name: str, signed: object, found: object) -> tuple[str, str]:
    """What each side says of a field of the policy in which they differ."""
    if name == "initial_model":
        found = "other weights; the seed is another, or model() was changed; --initial starts from a file"
        return "the weights that model() made then", found
    if name == "tensors" and isinstance(signed, tuple) and isinstance(found, tuple):
        return _tensors(signed, found)
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
    return f"{name!r} of {spec.dtype}, {shape}{clamped}"


def _describe(value: object) -> str:
    if isinstance(value, UpdateRule):
        return ", ".join(_update(value))
    if isinstance(value, LatticeRule):
        proof = "with" if value.encryption_proof else "without"
        return f"a modulus of {value.modulus.bit_length()} bits {proof} the proof of encryption"
    if isinstance(value, WeightRule):
        unit = "" if value.unit is None else f" from 1 to {value.largest}, one for each {parse_double(value.unit):.6g}"
        return f"{value.kind} weights{unit}"
    if isinstance(value, StepRule):
        given = {key: each for key, each in dataclasses.asdict(value).items() if key != "rule" and each is not None}
        return ", ".join([value.rule, *(f"{key} {parse_double(each):.6g}" for key, each in given.items())])
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def _update(rule: UpdateRule) -> Iterator[str]:
    yield f"clip_norm {math.ldexp(rule.norm_bound, -rule.fraction_bits):.6g}"
    yield f"fraction_bits {rule.fraction_bits}"
    if rule.coordinate_bound is not None:
        yield f"coordinate_bound {math.ldexp(rule.coordinate_bound, -rule.fraction_bits):.6g}"
    for group in rule.groups:
        bound = math.ldexp(group.bound, -rule.fraction_bits)
        yield f"coordinates {group.start} to {group.stop - 1} within {bound:.6g}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
