"""When a federation may be closed, so that there is a way out of every state (spec 8.9).

Each reason is one that the log itself shows. A server that wants to stop can stop without any; what an entry adds is
that nothing may follow it, so that the last closed model is final for whoever holds the log, and another federation may
go on from it (spec 4.8).
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

from protocols.policy import Policy
from protocols.reasons import ABORTS_SPENT, BUDGET_SPENT, CONTINUED, NO_COHORT, ROUNDS_SPENT, TOO_FEW_CLIENTS


@dataclass(frozen=True)
class Past:
    """What decides between rounds. aborts: of rounds after CohortClosed. rounds: how many were opened. aborted: whether
    the last of them was; failed: whether before CohortClosed. clients: those in force. able: of these, who may be in
    another cohort by what they have spent. earlier: the cohort opened last on the model that the next round would open
    on, None for none."""

    aborts: int
    rounds: int
    aborted: bool
    failed: bool
    clients: Set[str]
    able: Set[str]
    earlier: Set[str] | None


def endings(policy: Policy, past: Past) -> tuple[str, ...]:
    """The reasons that hold, of `protocols.reasons.ENDINGS` and in their order; with one of the first four no further
    round can be closed."""
    enough = _can_be_cohort(past.clients, past.earlier, policy.min_cohort)
    holding = {
        ABORTS_SPENT: past.aborts > policy.max_aborts,
        ROUNDS_SPENT: past.rounds >= policy.max_rounds,
        TOO_FEW_CLIENTS: not enough,
        BUDGET_SPENT: enough and not _can_be_cohort(past.able, past.earlier, policy.min_cohort),
        NO_COHORT: past.failed,
        CONTINUED: not past.aborted,
    }
    return tuple(reason for reason, holds in holding.items() if holds)


def _can_be_cohort(clients: Set[str], earlier: Set[str] | None, min_cohort: int) -> bool:
    """Whether the rule of the cohort (spec 8.7) can find one among these clients if they all submit."""
    if earlier is None:
        return len(clients) >= min_cohort
    gone = len(earlier - clients)
    return len(earlier) - (max(gone, min_cohort) if gone else 0) >= min_cohort
