"""The differencing rule P6 (spec 8.8): two sums on one model must not differ by a few clients.

Whoever knows the sums of two cohorts over the same model knows their difference. So for every two opened rounds on
one model, each one-sided difference of their cohorts is empty, or has at least `min_cohort` clients, or consists of
known offenders only. A round counts as opened from its CohortClosed on, whether or not shares were released. Knowing
of more offenders never turns an acceptance into a refusal, so whoever knows fewer is the stricter judge.

Three or more cohorts, and models that are nearly equal, are not covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from itertools import combinations

from proofs.errors import Rejected


def check_pair(first: Set[str], second: Set[str], offenders: Set[str], min_cohort: int) -> None:
    """Raise Rejected("differencing") if the sums over `first` and `second` (client ids) isolate fewer than
    `min_cohort` clients that are not all in `offenders`."""
    for left, right in ((first, second), (second, first)):
        isolated = left - right
        if not isolated or len(isolated) >= min_cohort or isolated <= offenders:
            continue
        raise Rejected(
            "differencing",
            f"cohorts on one model to differ by no client, by {min_cohort} or more, or by offenders only",
            f"a difference of {', '.join(sorted(isolated))}",
        )


def check_difference(cohorts: Iterable[Set[str]], offenders: Set[str], min_cohort: int) -> None:
    """`check_pair` for every two of `cohorts`, the opened cohorts on one model (client ids)."""
    for first, second in combinations(tuple(cohorts), 2):
        check_pair(first, second, offenders, min_cohort)


def check_candidate(opened: Iterable[Set[str]], candidate: Set[str], offenders: Set[str], min_cohort: int) -> None:
    """`check_pair` of `candidate`, a cohort about to be opened, against each already opened one on its model."""
    for cohort in opened:
        check_pair(cohort, candidate, offenders, min_cohort)
