"""When a run gives a federation up: no further round can be closed, or a repetition found no cohort (spec 8.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from protocols.reasons import DIFFERENCING, ENDINGS, NO_COHORT, TOO_FEW_SUBMISSIONS
from protocols.rounds.ledger import Ledger, opened_on
from verifl.progress import RoundSummary


class Closing(Protocol):
    """What a coordinator knows of the end of its federation."""

    @property
    def ledger(self) -> Ledger:
        """What its log says."""
        ...

    def endings(self) -> tuple[str, ...]:
        """The reasons for which it may be closed now."""
        ...


def due_ending(coordinator: Closing, summaries: Sequence[RoundSummary]) -> str | None:
    """The reason for which the federation is to be closed now, None to go on. summaries: of the rounds of this run.

    A repetition of an opened round may have no other clients than the one before. So one that found no cohort for want
    of them is tried once more, and then given up; other rounds without a cohort are for whoever runs them to judge.
    """
    reasons = coordinator.endings()
    if not reasons or reasons[0] != NO_COHORT:
        return next(iter(reasons), None)
    ledger = coordinator.ledger
    repeats = opened_on(ledger, ledger.model or b"") is not None
    short = [each.aborted in (TOO_FEW_SUBMISSIONS, DIFFERENCING) for each in summaries[-2:]]
    return NO_COHORT if repeats and len(short) == 2 and all(short) else None


def describe_ending(reason: str, summaries: Sequence[RoundSummary], wanted: int) -> str:
    """One line: why there are fewer rounds than wanted, and what the model is."""
    closed = sum(each.aborted is None for each in summaries)
    model = f"that of round {_last_closed(summaries)}" if closed else "the initial one"
    why = f"{ENDINGS.find(reason).words} ({reason})"
    return f"federation closed after {closed} of {wanted} rounds: {why}; the final model is {model}"


def _last_closed(summaries: Sequence[RoundSummary]) -> int:
    return max(each.round for each in summaries if each.aborted is None)
