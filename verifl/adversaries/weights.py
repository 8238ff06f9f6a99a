"""Clients that cheat over what their update weighs, where a policy has weights stated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.randomness import Randomness
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import OpenRound
from protocols.rounds.submitting import HONEST, ClientRound, DrawnNoise, Parts, Secrets, Update, commit, encode, prove
from protocols.weights import WEIGHT_KINDS, lightest
from verifl.adversaries.clients import LyingClient, LyingPart
from verifl.adversaries.provers import ANYTHING, ProvesAnything, committing_to


def require_weights(pinned: PinnedPolicy, name: str) -> None:
    """Raise Misuse unless submissions state weights, of which there is more than one."""
    rule = pinned.policy.weights
    if not WEIGHT_KINDS.find(rule.kind).stated or rule.largest == 1:
        raise Misuse(
            f"inject: {name} needs weights that are stated, and the policy has {rule.kind} ones up to {rule.largest}; "
            'set kind = "declared" in [weights]'
        )


class WrongWeight(LyingClient):
    """Commits to, encrypts and proves its update by its own weight, and states another."""

    name_of_kind = "wrong-weight"

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs stated weights."""
        require_weights(pinned, cls.name_of_kind)

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part)
        self.using = replace(HONEST, commit=self._commit, prove=self._prove)

    def place(self, opened: OpenRound) -> ClientRound:
        """See `LyingClient.place`; with the weight that it states."""
        return replace(super().place(opened), weight=self.stated())

    def stated(self) -> int:
        """Another lawful weight than its own."""
        return (self.weight or 0) % self.part.pinned.policy.weights.largest + 1

    def _commit(self, engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
        return commit(engine, replace(at, weight=self.weight), update, rand)

    def _prove(
        self, engine: Engine, at: ClientRound, secrets: Secrets, parts: Parts, message: Submission, rand: Randomness
    ) -> bytes:
        return prove(engine, replace(at, weight=self.weight), secrets, parts, message, rand)


class ExcessiveWeight(WrongWeight):
    """The same, and what it states is more than there is."""

    name_of_kind = "excessive-weight"

    def stated(self) -> int:
        """One more than the largest weight."""
        return self.part.pinned.policy.weights.largest + 1


def _heavy(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> Sequence[Table]:
    largest = at.pinned.policy.weights.largest
    longest = np.zeros_like(update)
    segments = at.pinned.argument_of(largest).segments
    longest[0] = segments[0].bound if segments else largest * at.pinned.policy.update.norm_bound
    return encode(replace(at, weight=largest), longest, noise, rand)


class UnderstatedWeight(ProvesAnything):
    """States the least weight for an update as long as only the heaviest may be, of which all else is true: so the sum
    would move by as much, and be divided by less."""

    using = replace(ANYTHING, commit=committing_to(_heavy))

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Needs stated weights."""
        require_weights(pinned, "understated-weight")

    def place(self, opened: OpenRound) -> ClientRound:
        """See `LyingClient.place`; with the weight that it states."""
        return replace(super().place(opened), weight=lightest(self.part.pinned.policy.weights))


LIARS: dict[str, type[LyingClient]] = {
    "wrong-weight": WrongWeight,
    "understated-weight": UnderstatedWeight,
    "excessive-weight": ExcessiveWeight,
}
