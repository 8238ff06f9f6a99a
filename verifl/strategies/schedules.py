"""Schedules of learning rates: evaluated once, when a policy is made, which has the numbers (spec 4.6).

The same configuration gives the same doubles on every machine, as whoever checks a policy against its own configuration
evaluates it again: products are IEEE operations in one order, cosines are decimal arithmetic that is rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Context, Decimal, localcontext
from typing import Literal, Self

from pydantic import Field, model_validator

from proofs.errors import Misuse
from verifl.tables import Finite, TomlTable

_PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
_DIGITS = 60  # of which the recurrence over 2^16 rounds uses up about 10
_EVERY, _FACTOR, _LEAST = 10, 0.5, 0.01

_OWNER: Mapping[str, str] = {"every": "step", "factor": "step", "least": "cosine"}


class ScheduleConfig(TomlTable):
    """How the learning rate changes from round to round.

    warm_up: rounds in which it rises, in equal steps, before it is reached. Behind these, kind: `constant`; `step`:
    times `factor` after each `every` rounds; `cosine`: down to the share `least` in the last of `rounds`, as half a
    cosine (Loshchilov and Hutter 2017). rounds: that it is made for, those of the federation when absent; further ones
    have the last learning rate.
    """

    kind: Literal["constant", "step", "cosine"] = "constant"
    warm_up: int = Field(default=0, ge=0, le=65_535)
    every: int | None = Field(default=None, ge=1, le=65_536)
    factor: Finite | None = Field(default=None, gt=0, le=1)
    least: Finite | None = Field(default=None, gt=0, le=1)
    rounds: int | None = Field(default=None, ge=1, le=65_536)

    @model_validator(mode="after")
    def _own_fields(self) -> Self:
        for name, kind in _OWNER.items():
            if kind != self.kind and getattr(self, name) is not None:
                raise ValueError(
                    f"`{name}` belongs to kind {kind}, found kind {self.kind}; remove it or change the kind"
                )
        return self


def scheduled(rate: float, schedule: ScheduleConfig, rounds: int) -> tuple[float, ...]:
    """Learning rates of rounds 1 to `rounds`, or as many as the schedule says; `rate`: the largest of them.

    Raises Misuse for a schedule that never reaches it.
    """
    total, rising = schedule.rounds or rounds, schedule.warm_up
    if rising >= total:
        raise Misuse(f"server.schedule.warm_up: expected fewer than the {total} rounds of the schedule, found {rising}")
    shares = _SHARES[schedule.kind](schedule, total - rising)
    return (*(rate * (number / (rising + 1)) for number in range(1, rising + 1)), *(rate * each for each in shares))


def _constant(schedule: ScheduleConfig, rounds: int) -> list[float]:  # noqa: ARG001  of any kind
    return [1.0] * rounds


def _steps(schedule: ScheduleConfig, rounds: int) -> list[float]:
    every, factor = schedule.every or _EVERY, schedule.factor or _FACTOR
    shares = [1.0]
    for number in range(1, rounds):
        shares.append(shares[-1] * factor if number % every == 0 else shares[-1])
    return shares


def _cosine(schedule: ScheduleConfig, rounds: int) -> list[float]:
    with localcontext(Context(prec=_DIGITS)):
        least = Decimal(schedule.least or _LEAST)
        return [float(least + (1 - least) * (1 + each) / 2) for each in _cosines(rounds)]


def _cosines(count: int) -> list[Decimal]:
    """cos(pi i / (count - 1)) for i from 0, by cos (i+1)t = 2 cos t cos it - cos (i-1)t."""
    first = _cos(_PI / max(count - 1, 1))
    cosines = [Decimal(1), first]
    while len(cosines) < count:
        cosines.append(2 * first * cosines[-1] - cosines[-2])
    return cosines[:count]


def _cos(angle: Decimal) -> Decimal:
    """Of 0 to pi, by its series."""
    term = total = Decimal(1)
    for order in range(2, 120, 2):
        term *= -angle * angle / (order * (order - 1))
        total += term
    return total


_SHARES: Mapping[str, Callable[[ScheduleConfig, int], list[float]]] = {
    "constant": _constant,
    "step": _steps,
    "cosine": _cosine,
}
