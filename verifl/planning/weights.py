"""What clients' data weigh in the mean, how that is rounded, and what weights cost: for a plan, before training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any

from proofs.errors import Misuse
from protocols.derivation import derive_lattice
from protocols.policy import Policy, WeightRule
from protocols.weights import EQUAL, LARGEST_WEIGHT
from verifl.formatting import counted
from verifl.strategies.weights import beyond, mapped, unit_of
from verifl.tasks.base import Task
from verifl.tasks.loading import client_names, weighing_task
from verifl.tasks.seeding import seeded
from verifl.tasks.surroundings import surroundings_of
from verifl.tasks.user_code import ClientFailed, client_code
from verifl.tasks.weighing import weigh

COARSE = Fraction(1, 10)  # of what data weigh: from there on a plan says that rounding changes the mean
_MOST = Fraction(2) ** 1000  # a double has room for this
_FAR = 10  # times what data weigh: from there on a share in percent says nothing more
_UNITS = Context(prec=2, rounding=ROUND_CEILING)


@dataclass(frozen=True)
class StatedWeight:
    """measured: what the client's data weigh, by the task. weight: what it states of that; 0 where it abstains.
    problem: why there is neither."""

    client: str
    measured: float | None
    weight: int
    problem: str = ""

    def error(self, rule: WeightRule) -> Fraction:
        """By how much of itself what it states differs from what its data weigh; 0 where it states nothing."""
        if not self.measured or not self.weight:
            return Fraction(0)
        exact = Fraction(self.measured)
        return abs(self.weight * Fraction(unit_of(rule)) - exact) / exact


@dataclass(frozen=True)
class WeightPlan:
    """bits: of T and q that weights take. modulus_bits, without: of q, and what it would have without weights; None
    where there would be none. share: the most that one client can weigh in a smallest cohort, of all of it. clients:
    all of the task; of those whose data are not at hand nothing is known."""

    rule: WeightRule
    bits: int
    modulus_bits: int
    without: int | None
    share: Fraction
    min_cohort: int
    clients: tuple[StatedWeight, ...] = ()

    def notes(self) -> list[str]:
        """What of the mapping changes the mean much, and what to do."""
        rule, unit = self.rule, unit_of(self.rule)
        stating = [each for each in self.clients if each.measured and each.weight]
        capped = [each for each in stating if beyond(each.measured or 0.0, rule)]
        found = [f"weights: {each.client}: {each.problem}" for each in self.clients if each.problem]
        if capped:
            most = max(each.measured or 0.0 for each in capped)
            found.append(
                f"weights: the data of {counted(len(capped), 'client')} weigh more than {rule.largest} units of "
                f"{unit:g}, up to {most:g}, and count for no more: set {' or '.join(_room_for(most, rule))}"
            )
        coarse = [each for each in stating if each not in capped and each.error(rule) > COARSE]
        if coarse:
            worst = max(each.error(rule) for each in coarse)
            found.append(
                f"weights: rounding to units of {unit:g} changes the weight of {counted(len(coarse), 'client')} by "
                f"more than {float(COARSE):.0%}, up to {_percent(worst)}: lower unit, and raise largest with it"
            )
        return [*found, *self._too_few()]

    def _too_few(self) -> list[str]:
        """Where so many have no data that no round can close. Whose data are not here may have some."""
        able = sum(each.measured != 0 for each in self.clients)
        if not self.clients or able >= self.min_cohort:
            return []
        who = f"{able} of {len(self.clients)} clients have data that weigh anything"
        least = f"limits.min_cohort = {self.min_cohort}"
        return [f"weights: {who}, and {least}: no round can close; see what the task's weight() returns"]

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        return {
            "kind": self.rule.kind,
            "largest": self.rule.largest,
            "unit": unit_of(self.rule),
            "bits": self.bits,
            "modulus_bits": self.modulus_bits,
            "modulus_bits_with_equal": self.without,
            "largest_share": float(self.share),
            "clients": [
                {
                    "client": each.client,
                    "data": each.measured,
                    "weight": each.weight,
                    "error": float(min(each.error(self.rule), _MOST)),
                }
                for each in self.clients
            ],
        }


def weight_plan(policy: Policy, clients: Sequence[StatedWeight] = ()) -> WeightPlan | None:
    """Of a policy that weighs; None of one that does not."""
    rule = policy.weights
    if rule.kind == EQUAL.name:
        return None
    bits, others = (rule.largest - 1).bit_length(), max(policy.min_cohort - 1, 0)
    try:
        plain = derive_lattice(policy.update, policy.max_cohort, policy.lattice.encryption_proof)
        without: int | None = plain.modulus.bit_length()
    except Misuse:
        without = None
    share = Fraction(rule.largest, max(rule.largest + others, 1))
    return WeightPlan(
        rule, bits, policy.lattice.modulus.bit_length(), without, share, policy.min_cohort, tuple(clients)
    )


def _room_for(most: float, rule: WeightRule) -> list[str]:
    """What to set so that data that weigh so much weigh `largest` at most: a unit of two digits; the largest weight,
    where there may be one."""
    exact = Fraction(most) / rule.largest
    unit = _UNITS.divide(Decimal(exact.numerator), Decimal(exact.denominator))
    largest = math.ceil(Fraction(most) / Fraction(unit_of(rule)))
    return [f"unit = {float(unit):g}", *([f"largest = {largest}"] if largest <= LARGEST_WEIGHT else [])]


def _percent(share: Fraction) -> str:
    return f"{float(share):.0%}" if share < _FAR else f"{float(min(share, _MOST)):.2g} times what it is"


def measured_clients(task: Task[Any], rule: WeightRule, seed: int) -> tuple[StatedWeight, ...]:
    """What the task says of every client's data, which are loaded for it one client after another; nothing where
    updates are not weighed. Raises Misuse of a task that does not say."""
    if rule.kind == EQUAL.name:
        return ()
    weighing = weighing_task(task)
    found = []
    for client in client_names(task):
        try:
            with surroundings_of(task).entered():
                with seeded(seed, f"data 1 {client}"), client_code(client, "data"):
                    data = task.data(client)
                found.append(_client(client, weigh(weighing, client, data, seed, 1), rule))
        except ClientFailed as error:
            found.append(StatedWeight(client, None, 0, error.reason))
    return tuple(found)


def _client(client: str, measured: float, rule: WeightRule) -> StatedWeight:
    if measured == 0:
        return StatedWeight(client, measured, 0, "its data weigh 0: it takes no part")
    return StatedWeight(client, measured, mapped(measured, rule))
