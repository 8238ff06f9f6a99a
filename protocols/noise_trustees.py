"""Trustees who add the noise (spec 4.10): they are in the roster, and what they submit is noise alone, of weight 0.

Whoever else is in the roster trains. Cohorts are of both; who is counted for what is said here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from protocols.policy import Member, Policy

CLIENTS = "clients"
TRUSTEES = "trustees"


def noise_trustees(policy: Policy) -> frozenset[str]:
    """Members of the roster whose submissions are noise alone; nobody where clients add it, or nobody does."""
    if policy.noise is None or policy.noise.by != TRUSTEES:
        return frozenset()
    trustees = {member.id for member in policy.trustees}
    return frozenset(member.id for member in policy.roster if member.id in trustees)


def training_clients(policy: Policy) -> tuple[Member, ...]:
    """The members of the roster that train, ascending."""
    adding = noise_trustees(policy)
    return tuple(member for member in policy.roster if member.id not in adding)


def noise_needed(policy: Policy) -> int:
    """Submissions of noise alone that a cohort needs: h of them are of honest trustees, as f at most are not."""
    if policy.noise is None or policy.noise.by != TRUSTEES:
        return 0
    return policy.noise.honest + policy.corrupt


def makes_cohort(policy: Policy, members: Collection[str]) -> bool:
    """Whether enough of these, clients and trustees of the roster, each named once, train, and enough add noise."""
    adding = noise_trustees(policy)
    noise = sum(member in adding for member in members)
    return len(members) - noise >= policy.min_cohort and noise >= noise_needed(policy)


def in_words(policy: Policy) -> str:
    """How large a cohort is."""
    noise = noise_needed(policy)
    clients = f"{policy.min_cohort} to {policy.max_cohort} clients"
    return f"{clients}, of them {noise} or more trustees with noise beside {policy.min_cohort}" if noise else clients


def without_noise(policy: Policy, members: Iterable[str]) -> frozenset[str]:
    """Those of these members of the roster that train."""
    return frozenset(members) - noise_trustees(policy)
