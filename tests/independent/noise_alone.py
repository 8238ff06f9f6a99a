"""Trustees whose submissions are noise alone, and what a cohort needs of them (spec 4.10)."""

from __future__ import annotations

from collections.abc import Iterable

from tests.independent.encoding import Body


def by_trustees(policy: Body) -> bool:
    return policy["noise"] is not None and policy["noise"]["by"] == "trustees"


def adding(policy: Body) -> set[str]:
    """Of the roster, those who submit noise alone."""
    trustees = {member["id"] for member in policy["trustees"]} if by_trustees(policy) else set()
    return trustees & {member["id"] for member in policy["roster"]}


def training(policy: Body) -> list[str]:
    """The others, in order."""
    return [member["id"] for member in policy["roster"] if member["id"] not in adding(policy)]


def demanded(policy: Body) -> int:
    """So many of a cohort are noise alone."""
    return policy["noise"]["honest"] + policy["corrupt"] if by_trustees(policy) else 0


def suffices(policy: Body, clients: Iterable[str]) -> bool:
    """Whether these make a cohort."""
    members = set(clients)
    noise = members & adding(policy)
    return len(members - noise) >= policy["min_cohort"] and len(noise) >= demanded(policy)


def laws(policy: Body) -> list[tuple[Body, int]]:
    """Each law of noise, and how many of the roster draw by it."""
    noise, alone = policy["noise"], len(adding(policy))
    own = noise if noise["error"] is None else noise["error"]
    found = [(own, len(policy["roster"]) - alone)]
    return [*found, (noise, alone)] if alone else found
