"""What a client keeps in its store: what it has seen of the log, and what it has said (spec 8.4, 8.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from protocols.blobs import BLOB_LIMIT, blob_hash
from protocols.encoding import ENTRY_LIMIT
from protocols.holdings import POLICY, Holding, Holdings
from protocols.invitation import INVITATION_LIMIT
from protocols.membership import Membership
from protocols.messages import AtMost, Hash32
from protocols.rounds.exchange import SubmissionPackage

_WEIGHED_LIMIT = 1 << 23  # of 2^16 models


@dataclass(frozen=True)
class Seen:
    """Size and root of a checkpoint that was verified, and who was in force there."""

    size: int
    root: Hash32
    membership: Membership


@dataclass(frozen=True)
class KeptAnswer:
    """A submission with its blobs, the RoundOpen that it answers, the hash of the update that it was made of, and the
    weight that it states or hides."""

    round: int
    round_open: Hash32
    update: Hash32
    weight: int | None
    entry: Annotated[bytes, AtMost(ENTRY_LIMIT)]
    blobs: tuple[Annotated[bytes, AtMost(BLOB_LIMIT)], ...]

    def package(self) -> SubmissionPackage:
        """As it is sent."""
        return SubmissionPackage(self.entry, {blob_hash(blob): blob for blob in self.blobs})


@dataclass(frozen=True)
class WeighedModel:
    """The weight of an answer, the last one on a model, and its round."""

    model: Hash32
    round: int
    weight: int


@dataclass(frozen=True)
class Weighed:
    """By what it has weighed its updates on every model that it ever answered on: one may come back."""

    models: tuple[WeighedModel, ...] = ()

    def on(self, model: bytes) -> WeighedModel | None:
        """What it weighed on this model; None for nothing."""
        return next((each for each in reversed(self.models) if each.model == model), None)

    def after(self, answer: WeighedModel) -> Weighed:
        """With one more, in the place of what there was on its model."""
        return Weighed((*(each for each in self.models if each.model != answer.model), answer))


SEEN = Holding.of("seen", "the newest checkpoint that it has verified", Seen, INVITATION_LIMIT)
ANSWER = Holding.of("answer", "its submission to the last round that it answered", KeptAnswer, BLOB_LIMIT)
WEIGHED = Holding.of("weighed", "the weights that it has had on each model", Weighed, _WEIGHED_LIMIT)
HOLDINGS = Holdings("a client", (POLICY, SEEN, ANSWER, WEIGHED))


def required() -> tuple[str, ...]:
    """The keys that are in the store of a client who has submitted anything."""
    return SEEN.key, ANSWER.key
