"""The differencing rule (spec 8.8): the cohorts opened on one model nest, so that no number of sums isolates anybody.

Whoever knows the sums of several cohorts over one model knows every sum and difference of them. So of the cohorts
opened on one model each is a subset of the one opened before it, and what leaves from one to the next is nobody, at
least `min_cohort` clients, or exempt clients only. Then every combination of the sums, with whatever integer weights,
is constant on each block of clients that left together: it shows blocks, and no part of one. A round counts as opened
from its CohortClosed on, whether or not shares were released.

A client is exempt that is excluded from the later round for a fault proved there: without this a client that cheats
could make a repetition leave out others. It is given up. Exempting more clients never turns an acceptance into a
refusal, so whoever can prove less is the stricter judge.

Cohorts on models that are nearly equal are another matter: where training hardly moves the model any more, a client's
updates of consecutive rounds are alike, and the sums of these rounds show what cohorts on one model would show.
`exposed_by_two` and `exposed_by_three` say whom; `exposed_by_weights`, where a client's weight changes in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from fractions import Fraction
from itertools import compress

from proofs.errors import Rejected


def check_nested(earlier: Set[str], later: Set[str], exempt: Set[str], min_cohort: int) -> None:
    """Raise Rejected("differencing") unless the cohort `later` may be opened on a model after `earlier`, the latest one
    opened on it (sets of client ids). Every cohort before that has `earlier` in it, so no other need be looked at.

    exempt: the clients with a proved fault in the later round (`protocols.reasons.EXEMPTING`).
    """
    if joined := later - earlier:
        raise Rejected("differencing", "a subset of the cohort opened on this model before", _named("new are", joined))
    if not may_leave(earlier - later, exempt, min_cohort):
        raise Rejected(
            "differencing",
            f"cohorts on one model to differ by no client, by {min_cohort} or more, or by those proved at fault since",
            _named("a difference of", earlier - later),
        )


def may_leave(gone: Set[str], exempt: Set[str], min_cohort: int) -> bool:
    """Whether these clients may be missing from a cohort and have been in the one before it."""
    return not gone or len(gone) >= min_cohort or gone <= exempt


def exposed_by_two(earlier: Set[str], later: Set[str], min_cohort: int) -> frozenset[str]:
    """The clients that the difference of two sums on alike models shows: those who left or joined, if on that side they
    are fewer than `min_cohort`. Linear in the cohorts."""
    sides = (earlier - later, later - earlier)
    return frozenset().union(*(side for side in sides if len(side) < min_cohort))


def exposed_by_weights(earlier: Mapping[str, int], later: Mapping[str, int], min_cohort: int) -> frozenset[str]:
    """The clients in both cohorts whom a combination of the two weighed sums shows on alike models: those who have not
    the ratio of weights, 1 or more each, that it leaves out, if they are fewer than `min_cohort`. Linear in the
    cohorts."""
    ratios = {client: Fraction(later[client], earlier[client]) for client in earlier.keys() & later.keys()}
    few = {ratio for ratio, count in Counter(ratios.values()).items() if len(ratios) - count < min_cohort}
    return frozenset(client for client, ratio in ratios.items() if len(few) > (ratio in few))


# Combinations of three sums, up to the sign, that the first and the last are part of: others are `exposed_by_two`.
_WEIGHTS = tuple((1, second, third) for second in (-1, 0, 1) for third in (-1, 1))


def exposed_by_three(cohorts: Sequence[Set[str]], min_cohort: int) -> frozenset[str]:
    """The clients that some combination of three sums on alike models, with weights -1, 0 and 1, shows: where it is of
    fewer than `min_cohort` clients in all. Linear in the cohorts."""
    places = {client: tuple(client in cohort for cohort in cohorts) for client in frozenset().union(*cohorts)}
    blocks = Counter(places.values())
    exposed: set[tuple[bool, ...]] = set()
    for weights in _WEIGHTS:
        shown = {block for block in blocks if sum(compress(weights, block))}
        if sum(blocks[block] for block in shown) < min_cohort:
            exposed |= shown
    return frozenset(client for client, block in places.items() if block in exposed)


@dataclass(frozen=True)
class Cohort:
    """Clients whose sum was opened on a model."""

    model: bytes
    clients: Set[str]


def check_consecutive(before: Sequence[Cohort], later: Cohort, exempt: Set[str], min_cohort: int) -> None:
    """Raise Rejected("differencing") where the sum of `later`, next to those of the one or two cohorts that were opened
    before it, in this order and on whatever models, would expose a few clients if all models were alike.

    On one model the cohorts nest, which is looked at elsewhere. exempt: as in `check_nested`, of the later round.
    """
    exposed = consecutively_exposed(before, later, min_cohort)
    if before and before[-1].model != later.model and before[-1].clients - later.clients <= exempt:
        exposed -= before[-1].clients - later.clients
    if exposed - exempt:
        expected = f"consecutive cohorts that expose nobody, or {min_cohort} clients or more"
        raise Rejected("differencing", expected, _named("a difference of", exposed))


def consecutively_exposed(before: Sequence[Cohort], later: Cohort, min_cohort: int) -> frozenset[str]:
    """Whom the sums of `later` and the one or two cohorts before it expose on alike models, two or three together."""
    two: frozenset[str] = frozenset()
    if before and before[-1].model != later.model:
        two = exposed_by_two(before[-1].clients, later.clients, min_cohort)
    if len(before) < 2 or len({each.model for each in (*before[-2:], later)}) == 1:
        return two
    known = exposed_by_two(before[-2].clients, before[-1].clients, min_cohort)
    return two | (exposed_by_three([each.clients for each in (*before[-2:], later)], min_cohort) - known)


def _named(what: str, clients: Set[str]) -> str:
    return f"{what} {', '.join(sorted(clients))}"
