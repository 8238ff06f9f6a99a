"""Who takes part: the identities that a policy enrols (spec 2.4, audit check I3)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from proofs.errors import Rejected
from protocols.envelopes import RESERVED_NAMES
from protocols.identities import check_public_key
from protocols.policy import Member, Policy


def check_roster(policy: Policy) -> None:
    """Accept the identities of a policy, or raise Rejected.

    1. Trustee ids are unique, roster ids strictly ascending: ("roster-ids").
    2. No id is "coordinator" or "issuer", which sign under these names: ("roster-reserved-name").
    3. Every key is canonical and not of small order: ("public-key").
    4. No two identities share a key; a client who is also a trustee has one id and one key in both roles, and may
       share with nobody else: ("roster-keys").
    """
    named = [Member("coordinator (log_key)", policy.log_key), Member("issuer (issuer_key)", policy.issuer_key)]
    check_identities(named, policy.trustees, policy.roster)


def check_identities(named: Sequence[Member], trustees: Sequence[Member], roster: Sequence[Member]) -> None:
    """`check_roster` for identities that are no policy yet; `named` are the holders of the keys that are no party's."""
    _check_ids(trustees, roster)
    owners: dict[bytes, str] = {}
    keys: dict[str, bytes] = {}
    for member in (*named, *trustees, *roster):
        if member.public_key not in owners:
            check_public_key(member.public_key)
        owner = owners.setdefault(member.public_key, member.id)
        if owner != member.id:
            raise Rejected("roster-keys", "one key for each identity", f"{owner} and {member.id} with the same key")
        if keys.setdefault(member.id, member.public_key) != member.public_key:
            raise Rejected("roster-keys", f"one key for {member.id}", "another as a client than as a trustee")


def both_roles(policy: Policy) -> tuple[str, ...]:
    """Ids that are trustee and client at once, in the order of the trustees; allowed, and to be reported."""
    clients = {member.id for member in policy.roster}
    return tuple(member.id for member in policy.trustees if member.id in clients)


def _check_ids(trustees: Sequence[Member], roster: Sequence[Member]) -> None:
    names = [member.id for member in trustees]
    if len(set(names)) != len(names):
        raise Rejected("roster-ids", "each trustee once", ", ".join(names))
    _check_ascending(roster)
    for member in (*trustees, *roster):
        if member.id in RESERVED_NAMES:
            raise Rejected("roster-reserved-name", "an id that is not a signer's role", member.id)


def _check_ascending(roster: Sequence[Member]) -> None:
    for before, after in pairwise(roster):
        if before.id >= after.id:
            raise Rejected("roster-ids", "clients strictly ascending by id", f"{before.id} then {after.id}")
