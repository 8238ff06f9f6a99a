"""By what an update is weighed in the sum (spec 4.7): the kinds of weights, and what a submission may state.

An update of weight w carries w times what its client trained, within w times the policy's bounds; the server step
divides by the sum of the weights. Ciphertexts are never multiplied by public weights: the weighted sum of keys would
give a heavy client's key away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proofs.errors import Rejected
from protocols.policy import WeightRule
from protocols.registry import Registry

LARGEST_WEIGHT = 2**20


@dataclass(frozen=True)
class WeightKind:
    """stated: whether a submission says its weight, for everybody to read. words: what it means, for people."""

    name: str
    stated: bool
    words: str


EQUAL = WeightKind("equal", stated=False, words="every update counts alike")
DECLARED = WeightKind("declared", stated=True, words="every submission states its weight")
EQUAL_WEIGHTS = WeightRule(EQUAL.name, 1, None)

WEIGHT_KINDS: Registry[WeightKind] = Registry(
    "kind of weights", "policy-weights", (EQUAL, DECLARED), lambda kind: kind.name
)


def check_weight(rule: WeightRule, stated: int | None) -> None:
    """Raise Rejected("weight") unless a submission may state this weight: 1 to W, or none where it is not to."""
    if not WEIGHT_KINDS.find(rule.kind).stated:
        if stated is not None:
            raise Rejected("weight", f"none with {rule.kind} weights", str(stated))
    elif stated is None or not 1 <= stated <= rule.largest:
        raise Rejected("weight", f"1 to {rule.largest}", "none" if stated is None else str(stated))


def check_same_weight(before: int | None, round_number: int, stated: int | None) -> None:
    """Raise Rejected("retry-weight") unless a submission states the weight that its client stated in a round before, on
    the same model: the difference of two such sums would be a multiple of that client's own update."""
    if before is not None and stated != before:
        raise Rejected("retry-weight", f"{before}, as in round {round_number} on this model", str(stated))


def weight_of(stated: int | None) -> int:
    """The weight of a submission that states this, where none is stated: 1."""
    return 1 if stated is None else stated


def lightest(rule: WeightRule) -> int | None:
    """What a submission of weight 1 states."""
    return 1 if WEIGHT_KINDS.find(rule.kind).stated else None


@dataclass(frozen=True)
class Summands:
    """What is in a sum. count: of updates. weight: the sum of their weights."""

    count: int
    weight: int

    @classmethod
    def of(cls, stated: Iterable[int | None]) -> Summands:
        """By what each submission states."""
        weights = [weight_of(each) for each in stated]
        return cls(len(weights), sum(weights))
