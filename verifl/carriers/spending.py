"""What a run tells of its privacy budget: what is promised, before it begins, and what is spent, round by round."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from protocols.noise_trustees import noise_needed, training_clients
from protocols.pinned import PinnedPolicy
from protocols.privacy.budgets import Spent
from protocols.rounds.ledger import Ledger, cohorts_with
from verifl.formatting import counted
from verifl.progress import RoundSummary

PAGE = "docs/privacy.md"  # where the assumptions stand


def promised(pinned: PinnedPolicy, chosen: bool) -> list[str]:
    """Of whom epsilon is, in how many cohorts, and on whom it counts; nothing of a policy without noise.

    chosen: whether somebody has said how many clients may collude.
    """
    budget, noise, least = pinned.budget, pinned.policy.noise, pinned.policy.min_cohort
    if budget is None or noise is None:
        return []
    rounds = [budget.rounds(member.id) for member in training_clients(pinned.policy)]
    few, most = min(rounds), max(rounds)
    cohorts = counted(most, "closed cohort") if few == most else f"{few} to {most} closed cohorts"
    counts = f"{noise.honest} of {least} clients of a cohort tell nobody their noise"
    if adders := noise_needed(pinned.policy):
        counts = f"{noise.honest} of {adders} trustees with noise in a cohort are honest, and tell nobody theirs"
    first = (
        f"privacy: epsilon {float(budget.epsilon):g} at delta {float(budget.rule.delta):g}, of a client with all its "
        f"data (not of a patient or a record), in {cohorts}, those of aborted rounds included; assumed: {counts}, "
        f"and more: {PAGE}"
    )
    tell = least - noise.honest
    if adders or chosen or tell >= least - 2:
        return [first]
    return [
        first,
        (
            f"privacy: no more than {counted(tell, 'client')} of the roster may tell the server their noise, or this "
            f"epsilon does not hold, though a sum of {least} by itself hides a client from the server with up to "
            f"{counted(least - 2, 'other client')}: say in privacy.colluding how many are not to be trusted with it; "
            "each costs noise"
        ),
    ]


def spent(pinned: PinnedPolicy, ledger: Ledger) -> str | None:
    """What has been spent of whom most is; None without a budget."""
    budget = pinned.budget
    if budget is None:
        return None
    name, most = max(
        (
            (each.id, budget.spent(each.id, cohorts_with(pinned, ledger, each.id)))
            for each in training_clients(pinned.policy)
        ),
        key=lambda each: _epsilon(each[1]),
    )
    epsilon = "more than any epsilon that is proved" if most.epsilon is None else f"epsilon {float(most.epsilon):.4g}"
    return (
        f"privacy: {epsilon} of {float(budget.epsilon):g} is spent, at delta {float(budget.rule.delta):g}, of a client "
        f"as the unit: most of {name}, in {most.rounds} of at most {counted(budget.rounds(name), 'closed cohort')}; "
        f"assumptions: {PAGE}"
    )


def _epsilon(found: Spent) -> float | Fraction:
    return float("inf") if found.epsilon is None else found.epsilon


def spent_by_aborts(summaries: Sequence[RoundSummary]) -> str:
    """In words, how many rounds cost budget and closed nothing; empty where none did."""
    lost = sum(each.aborted is not None and bool(each.accepted) for each in summaries)
    return f"{counted(lost, 'round')} aborted behind a closed cohort spent budget, too; " if lost else ""
