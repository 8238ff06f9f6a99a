"""I14: the federation that this one continues ended as the policy says, and this one begins with its final model."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.findings import DoesNotApply, Findings, Result, Unavailable
from auditor.former import Former
from auditor.reports.results import Kind, Outcome, Place
from proofs.errors import Malformed, Rejected
from protocols.continuation import check_link
from protocols.messages import ISSUER
from protocols.policy import FormerFederation, Policy

EITHER = "issuer, or the former coordinator"  # who answers where the former log has two histories, or went on
WHERE = Place("the former federation")


@dataclass(frozen=True)
class Needs:
    """What I14 is handed."""

    case: Case


@dataclass(frozen=True)
class Continuation(Result):
    """What I14 leaves."""


@numbered("I14")
def check_continuation(given: Needs, findings: Findings) -> Continuation:
    """I14. 1. The former transcript is of the policy named, and its audit accepts. 2. It has the checkpoint named.
    3. The last entry there closes it for good. 4. No cohort in it was closed on its final model. 5. The models are laid
    out alike; name and origin are those of no federation before. 6. The initial model is its final one. 7. Its budget
    is gone on with, and charged for just what was spent there and before. 8. No client of one before has another id
    here. Does not apply to a policy that continues nothing; skipped where a transcript of the line is not given.
    """
    findings.sure = True
    policy, former = given.case.policy, given.case.former
    named = policy.previous
    if named is None:
        raise DoesNotApply("the policy continues no federation")
    if former is None:
        raise Unavailable(
            f"the transcript of {named.federation}, which this federation continues, was not given by --previous: that "
            "its audited final model is the initial model here is not checked"
        )
    if former.fault is not None:
        findings.reject(WHERE, former.fault, Kind.UNJUDGED)
        return Continuation()
    _check_audit(findings, named, former)
    if former.policy is not None and former.end is not None:
        _check_end(findings, policy, former.policy, former)
    _tell(findings, named, former)
    if former.linked is False:
        raise Unavailable(_unlinked(former), Continuation())
    return Continuation(f"{named.federation} at {named.size} entries, its audit, its end, its final model")


def _check_audit(findings: Findings, named: FormerFederation, former: Former) -> None:
    """Rule 1."""
    if former.outcome is not Outcome.ACCEPTED:
        kind = Kind.BROKEN if former.outcome is Outcome.BROKEN else Kind.UNJUDGED
        findings.add(WHERE, "an audit that accepts it", former.outcome.value, kind, by=_answering(named, former))


def _answering(named: FormerFederation, former: Former) -> str:
    """Who answers for what the whole former log shows: where it went on, its issuer may have seen nothing of it."""
    return EITHER if former.size > named.size else ISSUER


def _check_end(findings: Findings, policy: Policy, theirs: Policy, former: Former) -> None:
    """Rules 2 to 8."""
    if former.end is None or policy.previous is None:
        return
    try:
        check_link(policy, theirs, former.policy_hash, former.end, former.earlier)
    except (Malformed, Rejected) as error:
        check = error.check if isinstance(error, Rejected) else ""
        by = ISSUER
        if check == "previous-root":
            by = EITHER
        elif check in ("previous-cohort", "previous-budget", "previous-client"):
            by = _answering(policy.previous, former)
        kind = Kind.BROKEN if former.outcome is Outcome.ACCEPTED else Kind.UNJUDGED
        findings.reject(WHERE, error, kind, by=by)


def _tell(findings: Findings, named: FormerFederation, former: Former) -> None:
    if former.size > named.size:
        findings.note(
            f"{named.federation} went on: its log has {former.size} entries, {named.size} when it was taken up"
        )


def _unlinked(former: Former) -> str:
    """Why it is not known what was before the former federation."""
    if former.policy is None or former.policy.previous is None:
        return "the former federation continues none"
    return (
        f"the transcript of {former.policy.previous.federation}, which {former.policy.federation} continues, was not "
        "given by --previous: what was spent in it, and whose keys and names were in use there, is not checked"
    )
