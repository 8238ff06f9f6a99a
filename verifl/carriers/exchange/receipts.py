"""A client that takes its receipts from the published log: nobody has to hand them out."""

from __future__ import annotations

from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import RoundAborted, RoundClosed, Submission
from protocols.pinned import PinnedPolicy
from protocols.receipts import make_receipts
from verifl.agents.client import ClientAgent
from verifl.carriers.exchange.public import PublicView


class ReceiptKeeper:
    """Of one client: keeps what is missing whenever a round in which it submitted has ended."""

    def __init__(self, public: PublicView, pinned: PinnedPolicy, agent: ClientAgent) -> None:
        self._public, self._pinned, self._agent = public, pinned, agent
        self._read = 0  # entries looked at
        self._submitted: set[int] = set()  # rounds that have not ended

    def look(self) -> None:
        """Look at what was published since the last time; raises Malformed or Rejected for what is no receipt."""
        reader = self._public.reader()
        if reader is None or reader.size <= self._read:
            return
        ended = self._ended(reader)
        for number in ended:
            receipts = make_receipts(self._pinned, reader.latest(), reader.entries(0, reader.size), number)
            if self._agent.name in receipts:
                self._agent.keep_receipt(number, receipts[self._agent.name])
        self._read = reader.size
        self._submitted -= set(ended)

    def _ended(self, reader: TranscriptReader) -> list[int]:
        """The rounds with a submission of this client that ended since the last look."""
        found = []
        for entry in reader.entries(self._read, reader.size):
            message = open_envelope(entry).message
            if isinstance(message, Submission) and message.client == self._agent.name:
                self._submitted.add(message.round)
            elif isinstance(message, RoundClosed | RoundAborted) and message.round in self._submitted:
                found.append(message.round)
        return found
