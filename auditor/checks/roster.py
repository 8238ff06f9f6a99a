"""I3: who the parties are. Unique names, unique usable keys, and nobody in two roles that must be apart."""

from __future__ import annotations

from auditor.case import IDENTITY, Case
from auditor.findings import Findings
from proofs.errors import Rejected
from protocols.identities import check_public_key


def check_roster(case: Case, findings: Findings) -> str:
    """I3. 1. The identity conditions of spec 4 hold, and the issuer is not the coordinator. 2. Every key is a canonical
    point of large order.

    Rotations and revocations are reserved types: an entry of one is refused by I1, so none is in force.
    """
    policy = case.policy
    for each in case.conditions:
        if each.name in IDENTITY and not each.holds:
            findings.add(f"policy, {each.name}", f"{each.explanation} ({each.relation} {each.right})", str(each.left))
    keys = {"log_key": policy.log_key, "issuer_key": policy.issuer_key}
    keys |= {f"trustee {member.id}": member.public_key for member in policy.trustees}
    keys |= {f"client {member.id}": member.public_key for member in policy.roster}
    for where, key in keys.items():
        try:
            check_public_key(key)
        except Rejected as error:
            findings.reject(f"policy, {where}", error)
    if policy.issuer_key == policy.log_key:
        findings.add("policy, issuer_key", "a key of the issuer alone", "the coordinator's")
    return f"{len(policy.roster)} clients, {len(policy.trustees)} trustees, {len(keys)} keys; no rotation in force"
