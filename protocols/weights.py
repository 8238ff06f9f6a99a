"""By what an update is weighed in the sum (spec 4.9): the kinds of weights, and what a submission may state.

An update of weight w carries w times what its client trained, within w times the policy's bounds; the server step
divides by the sum of the weights. Ciphertexts are never multiplied by public weights: the weighted sum of keys would
give a heavy client's key away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from proofs.arrays import Integers
from proofs.errors import Rejected
from protocols.policy import Policy, WeightRule
from protocols.registry import Registry

LARGEST_WEIGHT = 2**20


@dataclass(frozen=True)
class WeightKind:
    """stated: whether a submission says its weight, for everybody to read. hidden: whether it is the last coordinate of
    what is committed and encrypted, and proved to be in range. words: what it means, for people."""

    name: str
    stated: bool
    words: str
    hidden: bool = False

    @property
    def weighs(self) -> bool:
        """Whether clients have weights of their own."""
        return self.stated or self.hidden


EQUAL = WeightKind("equal", stated=False, words="every update counts alike")
DECLARED = WeightKind("declared", stated=True, words="every submission states its weight")
PRIVATE = WeightKind("private", stated=False, words="weights are proved, and only their sum is opened", hidden=True)
EQUAL_WEIGHTS = WeightRule(EQUAL.name, 1, None)
NO_WEIGHT = 0  # of noise alone

WEIGHT_KINDS: Registry[WeightKind] = Registry(
    "kind of weights", "policy-weights", (EQUAL, DECLARED, PRIVATE), lambda kind: kind.name
)


def check_weight(rule: WeightRule, stated: int | None, *, noise_alone: bool = False) -> None:
    """Raise Rejected("weight") unless a submission may state this weight: 1 to W, or none where it is not to; 0 of one
    that is noise alone, and of no other."""
    if noise_alone:
        if stated != NO_WEIGHT:
            raise Rejected("weight", f"{NO_WEIGHT}, of noise alone", "none" if stated is None else str(stated))
    elif not WEIGHT_KINDS.find(rule.kind).stated:
        if stated is not None:
            raise Rejected("weight", f"none with {rule.kind} weights", str(stated))
    elif stated is None or not 1 <= stated <= rule.largest:
        raise Rejected("weight", f"1 to {rule.largest}", "none" if stated is None else str(stated))


def check_same_weight(before: int | None, round_number: int, stated: int | None) -> None:
    """Raise Rejected("retry-weight") unless a submission states the weight that its client stated in a round before, on
    the same model: the difference of two such sums would be a multiple of that client's own update."""
    if before is not None and stated != before:
        raise Rejected("retry-weight", f"{before}, as in round {round_number} on this model", str(stated))


def check_own_weight(rule: WeightRule, weight: int | None, *, noise_alone: bool = False) -> None:
    """The same of what a client weighs its update by, whether it states that or hides it."""
    if not WEIGHT_KINDS.find(rule.kind).hidden:
        check_weight(rule, weight, noise_alone=noise_alone)
    elif weight is None or not 1 <= weight <= rule.largest:
        raise Rejected("weight", f"1 to {rule.largest}", "none" if weight is None else str(weight))


def stated_of(rule: WeightRule, weight: int | None) -> int | None:
    """What a submission states of its client's weight."""
    return None if WEIGHT_KINDS.find(rule.kind).hidden else weight


def vector_of(rule: WeightRule, update: Integers, weight: int | None) -> Integers:
    """What a client commits to and encrypts: its update, int64 (d,), and behind it a weight that it hides."""
    return np.append(update, np.int64(weight or 0)) if WEIGHT_KINDS.find(rule.kind).hidden else update


def weight_of(stated: int | None) -> int:
    """The weight of a submission that states this, where none is stated: 1."""
    return 1 if stated is None else stated


def lightest(rule: WeightRule) -> int | None:
    """What a client of weight 1 weighs its update by; None where clients have no weights of their own."""
    return 1 if WEIGHT_KINDS.find(rule.kind).weighs else None


@dataclass(frozen=True)
class Summands:
    """What is in a sum. count: of updates. weight: the sum of the weights that they state, 1 where they state none."""

    count: int
    weight: int

    @classmethod
    def of(cls, stated: Iterable[int | None]) -> Summands:
        """By what each submission states."""
        weights = [weight_of(each) for each in stated]
        return cls(len(weights), sum(weights))

    def heaviest(self, rule: WeightRule) -> int:
        """The sum of the weights as far as it is known before anything is opened: it is at most this."""
        return self.count * rule.largest if WEIGHT_KINDS.find(rule.kind).hidden else self.weight


@dataclass(frozen=True)
class WeighedSum:
    """An opened sum. update: U, int64 (d,). weight: the sum of the weights, of which the server step takes the mean."""

    update: Integers
    weight: int

    @classmethod
    def of(cls, policy: Policy, plaintext: Integers, summands: Summands) -> WeighedSum:
        """From what is published: its first d values, of which a sum of hidden weights, or the noise on the padding, is
        none. Raises Rejected("weight-sum") where hidden weights sum to less than 1 or more than W for each update."""
        rule, dimension = policy.weights, policy.dimension
        if not WEIGHT_KINDS.find(rule.kind).hidden:
            return cls(plaintext[:dimension], summands.weight)
        weight = int(plaintext[dimension])
        if not summands.count <= weight <= summands.heaviest(rule):
            raise Rejected("weight-sum", f"{summands.count} to {summands.heaviest(rule)}", str(weight))
        return cls(plaintext[:dimension], weight)
