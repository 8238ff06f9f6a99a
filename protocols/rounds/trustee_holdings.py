"""What a trustee keeps in its store: the log that it follows, what it said in the open round, and its secrets there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from protocols.encoding import ENTRY_LIMIT
from protocols.holdings import POLICY, Holding, Holdings, RoundHolding, as_it_is
from protocols.messages import AtMost, Hash32
from protocols.rounds.exchange import ReleasePackage
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.round_secrets import ERASED_UP_TO, ROUND_KEY, SECRETS, SHARE
from protocols.stores import ReadableStore

_RELEASE_LIMIT = 1 << 30


@dataclass(frozen=True)
class StoredRelease:
    """What was released, and the digest of its cohort."""

    digest: Hash32
    entry: Annotated[bytes, AtMost(ENTRY_LIMIT)]
    blob: Annotated[bytes, AtMost(_RELEASE_LIMIT)]

    def release(self) -> ReleasePackage:
        """As it is sent."""
        return ReleasePackage(self.entry, self.blob)


@dataclass(frozen=True)
class Shown:
    """When the last of a round's so many submissions was first shown, in seconds of the trustee's clock."""

    round: int
    submissions: int
    at: int


LOG = Holding("log", "the log that it has cosigned: tree frontier and ledger", Follower.encode, Follower.decode)
ACK = RoundHolding("ack", "its acknowledgement of a round", as_it_is, as_it_is)
RELEASE = RoundHolding.of("release", "its release of a round, and of which cohort", StoredRelease, 2 * _RELEASE_LIMIT)
SHOWN = Holding.of("shown", "when it was first shown the open round's newest submission", Shown, ENTRY_LIMIT)
HOLDINGS = Holdings("a trustee", (POLICY, LOG, ACK, RELEASE, SHOWN, *SECRETS))


def required(store: ReadableStore, name: str, current: CurrentRound | None) -> Iterator[str]:
    """The keys that are in a trustee's store by what the log has of it in the open round: the release; before it,
    unless one is made, the acknowledgement and what it needs to open and to add up shares."""
    if current is None or all(key.trustee != name for key in current.keys):
        return
    number = current.number
    if any(each.message.trustee == name for each in current.releases):
        yield RELEASE.key(number)
    elif RELEASE.get(store, number) is None and (ERASED_UP_TO.get(store) or 0) < number:
        yield ROUND_KEY.key(number)
        if any(ack.trustee == name for ack in current.acks):
            yield from (ACK.key(number), SHARE.key(number))


def required_of_cosigner(ended: bool) -> tuple[str, ...]:
    """The keys that are in the store of whoever cosigned a checkpoint; ended: whether a round has, under it."""
    return (LOG.key, ERASED_UP_TO.key) if ended else (LOG.key,)
