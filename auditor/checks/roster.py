"""I3: who the parties are, and who was in force when. Unique names and keys, and nobody acts who may not."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.case import IDENTITY, Case
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result, counted
from auditor.index import label
from auditor.reports.results import Place
from auditor.signed_log import SignedLog
from proofs.errors import Rejected
from protocols.identities import check_public_key
from protocols.messages import ISSUER, KeyRotation


@dataclass(frozen=True)
class Needs:
    """What I3 is handed."""

    case: Case
    log: SignedLog


@dataclass(frozen=True)
class Enrolled(Result):
    """What I3 leaves."""


@numbered("I3")
def check_roster(given: Needs, findings: Findings) -> Enrolled:
    """I3. 1. The identity conditions of spec 4 hold, and the issuer is not the coordinator. 2. Every key is a canonical
    point of large order. 3. Every rotation and revocation is rightful (spec 2.5). 4. No entry is by a party that was
    revoked before it, or signed with a key that was replaced before it. 5. Every RoundOpen names exactly the changes
    before it. Notes name whose key was rotated and who was revoked.
    """
    with findings.whether(sure=True):
        checked = _check_policy(given, findings)
    changes = _check_changes(given, findings)
    return Enrolled(f"{checked}; {changes}")


def _check_policy(given: Needs, findings: Findings) -> str:
    """Rules 1 and 2."""
    policy = given.case.policy
    for each in given.case.conditions:
        if each.name in IDENTITY and not each.holds:
            expected = f"{each.explanation} ({each.relation} {each.right})"
            findings.add(Place("policy").at(each.name), expected, str(each.left), by=ISSUER)
    keys = {"log_key": policy.log_key, "issuer_key": policy.issuer_key}
    keys |= {f"trustee {member.id}": member.public_key for member in policy.trustees}
    keys |= {f"client {member.id}": member.public_key for member in policy.roster}
    for where, key in keys.items():
        try:
            check_public_key(key)
        except Rejected as error:
            findings.reject(Place("policy").at(where), error, by=ISSUER)
    if policy.issuer_key == policy.log_key:
        findings.add(Place("policy").at("issuer_key"), "a key of the issuer alone", "the coordinator's", by=ISSUER)
    return f"{len(policy.roster)} clients, {len(policy.trustees)} trustees, {len(keys)} keys"


def _check_changes(given: Needs, findings: Findings) -> str:
    """Rules 3 to 5; 3 and 4 were found as the log was read."""
    index = given.log.index
    index.report(findings)
    for found in index.in_order():
        for entry in found.opens:
            if entry.index in index.memberships:
                name = label(entry.index, entry.message)
                with findings.whether(entry.index not in index.unsettled):
                    findings.expect(name.at("changes"), index.memberships[entry.index], entry.message.changes)
    rotations = 0
    for change in index.changes:
        where, message = label(change.index, change.message), change.message
        rotated = isinstance(message, KeyRotation)
        rotations += rotated
        told = f"now {message.public_key.hex()}" if isinstance(message, KeyRotation) else message.reason
        findings.note(f"{where}: {told}")
    if not index.changes:
        return "no rotation in force"
    return f"{counted(rotations, 'rotation')} and {counted(len(index.changes) - rotations, 'revocation')} in force"
