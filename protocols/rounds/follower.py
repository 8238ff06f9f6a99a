"""Following one log: its tree and what it says, extended together (spec 8.2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from protocols.encoding import decode, encode
from protocols.envelopes import Entry
from protocols.log.merkle import Frontier, leaf_hash
from protocols.messages import AtMost
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import EMPTY, LEDGER_ITEMS, LEDGER_LIMIT, Ledger
from protocols.rounds.rules import apply


@dataclass(frozen=True)
class _Stored:
    frontier: Annotated[bytes, AtMost(4096)]
    ledger: Ledger


@dataclass(frozen=True)
class Follower:
    """The first `ledger.size` entries of a log. A value: `extended` makes the next one."""

    frontier: Frontier
    ledger: Ledger

    @classmethod
    def start(cls) -> Follower:
        """Before the first entry."""
        return cls(Frontier(), EMPTY)

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.ledger.size

    def root(self) -> bytes:
        """Root hash of the entries."""
        return self.frontier.root()

    def extended(self, pinned: PinnedPolicy, entries: Iterable[bytes]) -> Follower:
        """After further entries, each admitted by the rules.

        Raises Malformed for bytes that are no entry, Rejected as `rules.apply` does.
        """
        return self.after(pinned, map(Entry.open, entries))

    def after(self, pinned: PinnedPolicy, entries: Iterable[Entry]) -> Follower:
        """The same, of entries that are decoded."""
        frontier, ledger = self.frontier.copy(), self.ledger
        for entry in entries:
            ledger = apply(pinned, ledger, entry, frontier.root())
            frontier.append(leaf_hash(entry.data))
        return Follower(frontier, ledger)

    def encode(self) -> bytes:
        """Canonical bytes for a party's store."""
        return encode(_Stored(self.frontier.encode(), self.ledger), LEDGER_LIMIT, LEDGER_ITEMS)

    @classmethod
    def decode(cls, data: bytes) -> Follower:
        """Inverse of `encode`; raises Malformed."""
        stored = decode(_Stored, data, LEDGER_LIMIT, LEDGER_ITEMS)
        return cls(Frontier.decode(stored.frontier), stored.ledger)
