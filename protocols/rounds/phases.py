"""Where a log stands: what may come next in it follows from that (spec 8.2)."""

from __future__ import annotations

from enum import Enum

from protocols.rounds.ledger import Ledger


class Phase(Enum):
    """Of a log, by its entries alone."""

    EMPTY = "empty"
    BETWEEN = "between rounds"
    KEYED = "between rounds, with keys for the next"
    COLLECTING = "a round is open"
    RELEASING = "its cohort is closed"
    OPENED = "its sum is opened"
    OVER = "the federation is closed"


def phase_of(ledger: Ledger) -> Phase:
    """The phase that a log of these entries is in."""
    current = ledger.current
    if ledger.model is None:
        return Phase.EMPTY
    if ledger.closed is not None:
        return Phase.OVER
    if current is None:
        return Phase.KEYED if ledger.keys else Phase.BETWEEN
    if current.cohort is None:
        return Phase.COLLECTING
    return Phase.RELEASING if current.aggregate is None else Phase.OPENED
