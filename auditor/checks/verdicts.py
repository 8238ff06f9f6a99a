"""I7: every logged submission is accepted for being valid, or excluded for a reason that is true."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from auditor.case import Case
from auditor.checks.naming import excuse, first_acks, statements
from auditor.checks.numbered import numbered
from auditor.checks.submissions import submission_label
from auditor.findings import Findings, counted
from auditor.index import Entry, Round, label
from auditor.reports.results import Kind
from protocols.cohorts import Choice, Judged, choose
from protocols.messages import CohortClosed
from protocols.reasons import MALFORMED, OFFENCES, SUPPRESSED
from protocols.verdicts import ACCEPTED


@numbered("I7")
def check_verdicts(case: Case, findings: Findings) -> str:
    """I7. For each CohortClosed: 1. there is one character for each entry between RoundOpen and it, a verdict on each
    submission and on nothing else; details are of exclusions, ascending. 2. Each submission's verdict is the one that
    its own faults (I5, I6), the acknowledgements and the rule of the cohort (spec 8.7) give it: accepted, or the first
    reason that holds.

    Leaves `choices`. Notes name the clients whose offences the log proves, also where the round ended without a cohort
    or has not ended: only for what they signed, in this round.
    """
    case.index.report(findings)
    judged = 0
    for found in case.rounds(findings):
        if found.open is None:
            continue
        model, unread = found.open.message.model, case.unread.intersection(found.submissions)
        case.choices[found.number] = choice = _choose(case, found, model)
        case.likely[found.number] = _choose(case, found, model, unread) if unread else choice
        verdicts = _verdicts(case, found, choice)
        if found.cohort is not None:
            _check_partition(findings, found, found.cohort)
            _check_reasons(case, findings, found, found.cohort, verdicts)
            judged += len(verdicts)
        _name_offenders(case, findings, found, verdicts)
    return f"{counted(judged, 'verdict')} re-derived"


def _choose(case: Case, found: Round, model: bytes, without: AbstractSet[int] = frozenset()) -> Choice:
    """The cohort that the rule gives, from the submissions and acknowledgements before CohortClosed; those in `without`
    taken for faulty."""
    pinned, earlier = case.pinned, case.index.opened_before(found.number, model)
    submissions, recent = judged_submissions(case, found, without), case.index.recent_before(found.number)
    return choose(pinned.policy, pinned.hash, submissions, first_acks(found), earlier, recent, model)


def judged_submissions(case: Case, found: Round, without: AbstractSet[int] = frozenset()) -> list[Judged]:
    """The submissions before CohortClosed, ascending, with the faults that I5 and I6 derived; those in `without` taken
    for faulty."""
    end = found.cohort.index if found.cohort is not None else None
    return [
        Judged(index, record.client, case.own_faults.get(index) or (MALFORMED if index in without else None))
        for index, record in sorted(found.submissions.items())
        if end is None or index < end
    ]


def _verdicts(case: Case, found: Round, choice: Choice) -> dict[int, str]:
    """What becomes of each submission before CohortClosed, if there is one; I4 reports later ones."""
    end = found.cohort.index if found.cohort is not None else None
    return {
        index: case.own_faults.get(index) or choice.left_out.get(index) or ACCEPTED
        for index in found.submissions
        if end is None or index < end
    }


def _check_partition(findings: Findings, found: Round, entry: Entry[CohortClosed]) -> None:
    """Rule 1."""
    name, message = label(entry.index, entry.message), entry.message
    judged = message.judged()
    if found.open is not None:
        findings.expect(name.at("first"), found.open.index + 1, message.first)
        findings.expect(name.at("verdicts"), entry.index - found.open.index - 1, len(message.verdicts))
    earlier = {index for index in found.submissions if index < entry.index}
    for index in sorted(judged.keys() - earlier):
        findings.add(name, f"submissions of round {found.number} before it", f"entry {index}")
    details = [each.index for each in message.details]
    left_out = {index for index, said in judged.items() if said != ACCEPTED}
    if details != sorted(left_out.intersection(details)):
        findings.add(name.at("details"), "those of exclusions, ascending", str(details))
    findings.expect(name.at("round_open"), found.open.hash if found.open else None, message.round_open)


def _check_reasons(
    case: Case, findings: Findings, found: Round, entry: Entry[CohortClosed], verdicts: Mapping[int, str]
) -> None:
    """Rule 2."""
    logged = entry.message.judged()
    for index, verdict in verdicts.items():
        record = found.submissions[index]
        said = logged.get(index, "no verdict")
        kind = _kind(case, found, index, verdict, said)
        if index in case.unread and said != verdict:
            said = f"{said}, but the blobs that would show it are not there"
        findings.expect(submission_label(record).at("verdict"), verdict, said, kind)


def _name_offenders(case: Case, findings: Findings, found: Round, verdicts: Mapping[int, str]) -> None:
    known = statements(case, found)
    for index, verdict in verdicts.items():
        record = found.submissions[index]
        if verdict in OFFENCES and excuse(case, found, record, verdict, known) is None:
            why = f" ({case.failed_proofs[index]})" if index in case.failed_proofs else ""
            findings.note(f"{record.client} is named: {verdict} in round {found.number}, entry {index}{why}")


def _kind(case: Case, found: Round, index: int, verdict: str, said: str) -> Kind:
    """Of a wrong verdict: unjudged if it is right as soon as the log is right about submissions that are unread, or
    about the cohorts before."""
    if {verdict, said} == {ACCEPTED, SUPPRESSED} and not case.knows_before(found):
        return Kind.UNJUDGED
    likely = case.own_faults.get(index) or case.likely[found.number].left_out.get(index) or ACCEPTED
    return Kind.UNJUDGED if index in case.unread or likely == said else Kind.BROKEN
