"""When a run gives a federation up: no further round can be closed, or a repetition found no cohort (spec 8.9); and
when it stops on its own account, for which a log needs no entry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

from proofs.errors import Misuse
from protocols.reasons import BUDGET_SPENT, CONTINUED, DIFFERENCING, ENDINGS, NO_COHORT, TOO_FEW_SUBMISSIONS
from protocols.rounds.ledger import Ledger, opened_on
from verifl.carriers.spending import spent_by_aborts
from verifl.formatting import counted
from verifl.progress import RoundSummary
from verifl.strategies.stopping import StoppingConfig, stalled


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
    That it be continued is nobody's to say but whoever runs it.

    A repetition of an opened round may have no other clients than the one before. So one that found no cohort for want
    of them is tried once more, and then given up; other rounds without a cohort are for whoever runs them to judge.
    """
    reasons = [each for each in coordinator.endings() if each != CONTINUED]
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
    lost = spent_by_aborts(summaries) if reason == BUDGET_SPENT else ""
    return f"federation closed after {closed} of {wanted} rounds: {why}; {lost}the final model is {model}"


def _last_closed(summaries: Sequence[RoundSummary]) -> int:
    return max(each.round for each in summaries if each.aborted is None)


def require_metric(rule: StoppingConfig | None, metrics: Mapping[str, float]) -> None:
    """Raise Misuse unless a run can stop by what is measured of a model."""
    if rule is not None and rule.metric not in metrics:
        there = ", ".join(metrics) or "nothing"
        raise Misuse(f"stopping.metric: expected one that evaluate() returns ({there}), found {rule.metric!r}")


def why_stopped(rule: StoppingConfig, summaries: Sequence[RoundSummary], wanted: int) -> str | None:
    """One line: why no more rounds are run; None to go on."""
    closed = [each for each in summaries if each.aborted is None]
    found = stalled(rule, [(each.round, each.metrics.get(rule.metric, math.nan)) for each in closed])
    if found is None:
        return None
    change = f"by {rule.minimum_change:g} or more " if rule.minimum_change else ""
    behind = counted(rule.patience, "round")
    compared = "it is compared with" if rule.minimum_change else "the best is"
    best = f"{found.value:.4g} after round {found.round}" if found.round else "no number in any round"
    return (
        f"stopped after {len(closed)} of {wanted} rounds: {rule.metric} has not become better {change}for {behind}; "
        f"{compared} {best}"
    )
