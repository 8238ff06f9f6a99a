"""What an audit was shown of the federation that this one continues: how its audit ended, and where its log stood."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.reports.results import Outcome
from proofs.errors import Malformed, Rejected
from protocols.continuation import Ancestor, LogEnd
from protocols.policy import Policy


@dataclass(frozen=True)
class Former:
    """A transcript that was given as the continued one. fault: why nothing more can be said of it; then it has no more.

    outcome: of its audit, under the policy that this one names. policy: that one. end: the log at the checkpoint that
    is named; size: entries of the log. linked: whether its own link to a federation before it was checked, None where
    it names none; earlier: if it was, the federations before it, the last one first.
    """

    fault: Malformed | Rejected | None = None
    outcome: Outcome = Outcome.DAMAGED
    policy: Policy | None = None
    policy_hash: bytes = b""
    end: LogEnd | None = None
    size: int = 0
    linked: bool | None = None
    earlier: tuple[Ancestor, ...] = ()
