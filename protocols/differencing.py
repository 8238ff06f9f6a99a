"""The differencing rule P6 (spec 8.8): two sums on one model must not differ by a few clients.

Whoever knows the sums of two cohorts over the same model knows their difference. So for every two opened rounds on
one model, each one-sided difference of their cohorts is empty, or has at least `min_cohort` clients. A round counts as
opened from its CohortClosed on, whether or not shares were released.

The earlier cohort's clients may be fewer than that in one case: if all of them are exempt, each excluded from the later
round for a fault proved there. Without this a client that cheats could block every repetition of a round. An exemption
is of one pair of rounds, and one way only: nothing exempts a client that joins the later cohort. Exempting more
clients never turns an acceptance into a refusal, so whoever can prove less is the stricter judge.

Three or more cohorts, and models that are nearly equal, are not covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Set

from proofs.errors import Rejected


def check_pair(earlier: Set[str], later: Set[str], exempt: Set[str], min_cohort: int) -> None:
    """Raise Rejected("differencing") if the sums over two cohorts (client ids) on one model isolate a few clients.

    exempt: the clients with a proved fault in the later round (`protocols.cohorts.EXEMPTING`).
    """
    _check_side(earlier - later, exempt, min_cohort)
    _check_side(later - earlier, frozenset(), min_cohort)


def check_candidate(opened: Iterable[Set[str]], candidate: Set[str], exempt: Set[str], min_cohort: int) -> None:
    """`check_pair` of `candidate`, the cohort of the round about to be opened, against each opened before it on its
    model; `exempt` is of the candidate's round."""
    for cohort in opened:
        check_pair(cohort, candidate, exempt, min_cohort)


def _check_side(isolated: Set[str], exempt: Set[str], min_cohort: int) -> None:
    if not isolated or len(isolated) >= min_cohort or isolated <= exempt:
        return
    raise Rejected(
        "differencing",
        f"cohorts on one model to differ by no client, by {min_cohort} or more, or by those proved at fault since",
        f"a difference of {', '.join(sorted(isolated))}",
    )
