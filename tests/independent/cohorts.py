"""The choice of a cohort, and the rule against differencing (spec 8.7, 8.8): functions of sets alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

from tests.independent.encoding import Body, Envelope, framed_hash


def ack_digest(round_open: bytes, trustee: str, submissions: Sequence[tuple[str, bytes]]) -> bytes:
    parts = [part for pair in submissions for part in pair]
    return framed_hash("verifl/v1/acknowledgement", round_open, trustee, len(submissions), *parts)


def cohort_digest(round_open: bytes, members: Sequence[tuple[str, bytes]], trustees: Sequence[str]) -> bytes:
    parts = [part for pair in members for part in pair]
    return framed_hash("verifl/v1/cohort", round_open, len(members), *parts, len(trustees), *trustees)


def choose(
    policy: Body, valid: Sequence[int], acks: Mapping[str, Envelope]
) -> tuple[list[int], list[str], dict[int, str]]:
    """A, Q and the reasons of all other valid submissions, from at most one acknowledgement a trustee."""
    reasons: dict[int, str] = {}
    candidates: list[int] = []
    for index in valid:
        disputes = sum(index in disputed(ack) for ack in acks.values())
        if disputes > policy["corrupt"]:
            reasons[index] = "disputed"
        elif len(candidates) == policy["max_cohort"]:
            reasons[index] = "cohort-full"
        else:
            candidates.append(index)
    order = [member["id"] for member in policy["trustees"]]
    held = {name: set(acks[name].body["acknowledged"]) & set(candidates) for name in order if name in acks}
    accepted, trustees = best(held, order, policy["threshold"], set(candidates))
    reasons |= {index: "unacknowledged" for index in candidates if index not in accepted}
    return sorted(accepted), trustees, reasons


def best(
    held: Mapping[str, set[int]], order: Sequence[str], threshold: int, candidates: set[int]
) -> tuple[set[int], list[str]]:
    """The set of trustees with most common submissions, then most trustees, then the first positions."""
    choices = []
    for names in combinations(held, threshold):
        common = candidates.intersection(*(held[name] for name in names))
        grown = [name for name in held if common <= held[name]]
        positions = [order.index(name) for name in grown]
        choices.append((-len(common), -len(grown), positions, common, grown))
    if not choices:
        return set(), []
    chosen = min(choices, key=lambda choice: choice[:3])
    return chosen[3], chosen[4]


def disputed(ack: Envelope) -> set[int]:
    return {dispute["index"] for dispute in ack.body["disputed"]}


def differs_too_little(
    earlier: Collection[str], later: Collection[str], exempt: Collection[str], min_cohort: int
) -> bool:
    """Whether two cohorts on one model show the sum over too few (8.8)."""
    gone, new = set(earlier) - set(later), set(later) - set(earlier)
    if gone and len(gone) < min_cohort and not gone <= set(exempt):
        return True
    return 0 < len(new) < min_cohort
