"""I13: everybody who the policy says has to approve it did, before the first round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auditor.blobs import Blobs, Roles
from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.findings import DoesNotApply, Findings, Result, Unavailable, counted
from auditor.index import label
from auditor.reports.results import Place
from auditor.signed_log import SignedLog
from protocols.approvals import faulty


@dataclass(frozen=True)
class Needs:
    """What I13 is handed."""

    case: Case
    log: SignedLog
    blobs: Annotated[Blobs, Roles("approvals")]


@dataclass(frozen=True)
class Approvals(Result):
    """What I13 leaves. missing: of those whose approval the policy demands, who has given none; None where it was not
    judged."""

    missing: frozenset[str] | None = None


@numbered("I13")
def check_approvals(given: Needs, findings: Findings) -> Approvals:
    """I13. 1. Genesis names approvals just where the policy demands some. 2. They are signatures, over the hash of this
    policy, by all whose approval it demands, with the keys that it enrols. Does not apply where neither has any.
    """
    findings.sure = True
    pinned, first = given.case.pinned, next(iter(given.log.index.genesis), None)
    demanded = pinned.approvers
    if first is None and demanded:
        raise Unavailable("because I2 failed: there is no Genesis")
    named = None if first is None else first.message.approvals
    if not demanded and named is None:
        raise DoesNotApply("the policy demands no approvals")
    if first is not None and (named is None or not demanded):
        expected = f"those of {len(demanded)} parties" if demanded else "none"
        findings.add(label(first.index, first.message).at("approvals"), expected, "some" if named else "none")
        return Approvals(missing=frozenset(demanded))
    wrong = faulty(pinned, given.blobs.read("approvals", named or b""))
    for member in wrong:
        findings.add(Place("approvals", party=member.id), f"a signature of {member.id}", "none")
    missing = frozenset(member.id for member in wrong)
    return Approvals(f"{counted(len(demanded), 'approval')} of the policy", missing)
