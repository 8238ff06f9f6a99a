"""What a client keeps of the published log: its receipts, which nobody has to hand out, and the newest model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

from protocols.envelopes import Entry
from protocols.log.reader import TranscriptReader
from protocols.messages import (
    CohortClosed,
    KeyRotation,
    Revocation,
    RoundAborted,
    RoundClosed,
    RoundOpen,
    Submission,
)
from protocols.pinned import PinnedPolicy
from protocols.receipts import ReceiptPlaces, make_receipt
from protocols.rounds.follower import Follower
from verifl.agents.client import ClientAgent
from verifl.agents.published import follow


class Models(Protocol):
    """Hears of the model after a round that closed: a `ModelKeeper`."""

    def keep(self, number: int, model: bytes) -> None:
        """number: of the last round that closed; model: the hash that the log has of the model after it."""
        ...


@dataclass
class _Places:
    """Where in the log something is that one client keeps; indices alone, whatever the entries hold. closed: the last
    round that was; 0 for none. changes: index and party. ended: the client's rounds that are over, without a receipt;
    opened, submitted, cohort: of the round that is open."""

    client: str
    size: int = 0
    closed: int = 0
    changes: list[tuple[int, str]] = field(default_factory=list)
    ended: dict[int, ReceiptPlaces] = field(default_factory=dict)
    opened: int | None = None
    submitted: int | None = None
    cohort: int | None = None

    def copy(self) -> _Places:
        """Independent of this."""
        return replace(self, changes=list(self.changes), ended=dict(self.ended))

    def hear(self, entry: Entry) -> None:
        """The next entry."""
        index, message = self.size, entry.message
        self.size += 1
        match message:
            case RoundOpen():
                self.opened, self.submitted, self.cohort = index, None, None
            case Submission() if message.client == self.client and self.submitted is None:
                self.submitted = index
            case CohortClosed():
                self.cohort = index
            case RoundClosed() | RoundAborted():
                self._end(index, message.round)
                self.closed = message.round if isinstance(message, RoundClosed) else self.closed
            case KeyRotation() | Revocation():
                self.changes.append((index, message.party))

    def _end(self, index: int, number: int) -> None:
        if self.opened is not None and self.submitted is not None:
            self.ended[number] = ReceiptPlaces(self.opened, self.submitted, self.cohort, index)
        self.opened = None


class ClientKeeper:
    """Of one client: follows the log, as a trustee does, and keeps what is missing. models: None to keep no model."""

    def __init__(self, pinned: PinnedPolicy, agent: ClientAgent, models: Models | None = None) -> None:
        self._pinned, self._agent, self._models = pinned, agent, models
        self._log, self._places = Follower.start(), _Places(agent.name)

    def look(self, reader: TranscriptReader | None) -> None:
        """Look at what was published since the last time; reader: None where nothing is published.

        Raises Malformed or Rejected, as `follow` and `verify_receipt` do, for what is no such log; nothing of it is
        kept then.
        """
        if reader is None:
            return
        places = self._places.copy()
        self._log = follow(self._pinned, reader, self._log, places.hear)
        self._places = places
        if reader.size < self._log.size:
            return
        self._keep_receipts(reader)
        model = self._log.ledger.model
        if self._models is not None and self._places.closed and model is not None:
            self._models.keep(self._places.closed, model)

    def _keep_receipts(self, reader: TranscriptReader) -> None:
        for number, places in tuple(self._places.ended.items()):
            if not self._agent.has_receipt(number):
                receipt = make_receipt(self._pinned, reader, places, self._places.changes)
                self._agent.keep_receipt(number, receipt)
            del self._places.ended[number]
