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


@dataclass(frozen=True)
class Seen:
    """Size and root of a checkpoint that was verified, and who was in force there."""

    size: int
    root: Hash32
    membership: Membership


@dataclass(frozen=True)
class KeptAnswer:
    """A submission with its blobs, the RoundOpen that it answers and the model there, the hash of the update that it
    was made of, and the weight that it states."""

    round: int
    round_open: Hash32
    model: Hash32
    update: Hash32
    weight: int | None
    entry: Annotated[bytes, AtMost(ENTRY_LIMIT)]
    blobs: tuple[Annotated[bytes, AtMost(BLOB_LIMIT)], ...]

    def package(self) -> SubmissionPackage:
        """As it is sent."""
        return SubmissionPackage(self.entry, {blob_hash(blob): blob for blob in self.blobs})


SEEN = Holding.of("seen", "the newest checkpoint that it has verified", Seen, INVITATION_LIMIT)
ANSWER = Holding.of("answer", "its submission to the last round that it answered", KeptAnswer, BLOB_LIMIT)
HOLDINGS = Holdings("a client", (POLICY, SEEN, ANSWER))


def required() -> tuple[str, ...]:
    """The keys that are in the store of a client who has submitted anything."""
    return SEEN.key, ANSWER.key
