"""Where a log stands, and what may come next in it: the order of spec 8.2 in one table.

Everybody who follows a log admits entries by it, the coordinator's conductor takes its stages from it. An auditor has a
table of its own.
"""

from __future__ import annotations

from enum import Enum

from proofs.errors import Rejected
from protocols.rounds.ledger import Ledger


class Phase(Enum):
    """Of a log, by its entries alone."""

    EMPTY = "at the start of the log"
    BETWEEN = "between rounds"
    KEYED = "behind a round key"
    COLLECTING = "in an open round"
    RELEASING = "behind a closed cohort"
    OPENED = "behind an aggregate"
    OVER = "at the end of the federation"


# phase, type of the next entry, phase after it; nothing else may stand there
TRANSITIONS: dict[Phase, dict[str, Phase]] = {
    Phase.EMPTY: {
        "genesis": Phase.BETWEEN,
    },
    Phase.BETWEEN: {
        "key-rotation": Phase.BETWEEN,
        "revocation": Phase.BETWEEN,
        "round-key": Phase.KEYED,
        "round-open": Phase.COLLECTING,
        "federation-closed": Phase.OVER,
    },
    Phase.KEYED: {
        "round-key": Phase.KEYED,
        "round-open": Phase.COLLECTING,
        "federation-closed": Phase.OVER,
    },
    Phase.COLLECTING: {
        "submission": Phase.COLLECTING,
        "share-ack": Phase.COLLECTING,
        "cohort-closed": Phase.RELEASING,
        "round-aborted": Phase.BETWEEN,
    },
    Phase.RELEASING: {
        "release": Phase.RELEASING,
        "aggregate": Phase.OPENED,
        "round-aborted": Phase.BETWEEN,
    },
    Phase.OPENED: {
        "round-closed": Phase.BETWEEN,
    },
    Phase.OVER: {},
}


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


def check_order(ledger: Ledger, entry_type: str) -> None:
    """An entry of this type may come next; raises Rejected("order")."""
    phase = phase_of(ledger)
    if entry_type not in TRANSITIONS[phase]:
        raise Rejected("order", " or ".join(TRANSITIONS[phase]) or "nothing more", f"{entry_type} {phase.value}")
