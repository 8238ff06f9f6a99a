"""I7: every logged submission is accepted for being valid, or excluded for a reason that is true."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar

from auditor.case import Case
from auditor.checks.naming import excuse, first_acks, statements
from auditor.checks.numbered import numbered
from auditor.checks.proofs import Proofs
from auditor.checks.submissions import submission_label
from auditor.findings import Findings, Result, Unavailable, counted
from auditor.index import Record, Round, label
from auditor.reports.results import Kind
from auditor.signed_log import SignedLog
from protocols.cohorts import Choice, Judged, choose, exempt_clients
from protocols.messages import CohortClosed
from protocols.reasons import MALFORMED, OFFENCES, SUPPRESSED
from protocols.verdicts import ACCEPTED

NO_CHOICE = "because I7 could not choose the cohort"
NOTHING_SAID: Mapping[int, str] = MappingProxyType({})


@dataclass(frozen=True)
class Needs:
    """What I7 is handed."""

    case: Case
    log: SignedLog
    proofs: Proofs


@dataclass(frozen=True)
class Verdicts(Result):
    """What I7 leaves. choices: the cohort that the rule gives a round, by its number. likely: the same if the log is
    right about what is unread."""

    choices: Mapping[int, Choice] = field(default_factory=dict)
    likely: Mapping[int, Choice] = field(default_factory=dict)
    lacking: ClassVar[str] = NO_CHOICE


def choice_of(verdicts: Verdicts, found: Round) -> Choice:
    """The cohort that the rule gives a round, nobody in one that was not opened."""
    if found.open is None:
        return Choice((), (), {})
    if found.number not in verdicts.choices:
        raise Unavailable(NO_CHOICE)
    return verdicts.choices[found.number]


@numbered("I7")
def check_verdicts(given: Needs, findings: Findings) -> Verdicts:
    """I7. For each CohortClosed: 1. there is one character for each entry between RoundOpen and it, a verdict on each
    submission and on nothing else; details are of exclusions, ascending. 2. Each submission's verdict is the one that
    its own faults (I5, I6), the acknowledgements and the rule of the cohort (spec 8.7) give it: accepted, or the first
    reason that holds.

    Notes name the clients whose offences the log proves, also where the round ended without a cohort
    or has not ended: only for what they signed, in this round.
    """
    given.log.index.report(findings)
    judged, choices, likely = 0, dict[int, Choice](), dict[int, Choice]()
    for found in given.log.rounds(findings):
        if found.open is None:
            continue
        model, unread = found.open.message.model, given.proofs.unread.intersection(found.submissions)
        choices[found.number] = choice = _choose(given, found, model)
        likely[found.number] = probable = _choose(given, found, model, _logged(found, unread)) if unread else choice
        verdicts = _verdicts(given, found, choice)
        if found.cohort is not None:
            _check_partition(findings, found, found.cohort)
            _check_reasons(given, findings, found, found.cohort, verdicts, probable)
            judged += len(verdicts)
        _name_offenders(given, findings, found, verdicts)
    checked = f"{counted(judged, 'verdict')} re-derived"
    return Verdicts(checked, MappingProxyType(choices), MappingProxyType(likely))


def _choose(given: Needs, found: Round, model: bytes, said: Mapping[int, str] = NOTHING_SAID) -> Choice:
    """The cohort that the rule gives, from the submissions and acknowledgements before CohortClosed. said: faults that
    are believed."""
    pinned, earlier = given.case.pinned, given.log.index.opened_before(found.number, model)
    submissions, recent = judged_submissions(given.proofs, found, said), given.log.index.recent_before(found.number)
    return choose(pinned.policy, pinned.hash, submissions, first_acks(found), earlier, recent, model)


def _logged(found: Round, unread: AbstractSet[int]) -> dict[int, str]:
    """The fault of each of these that the log speaks of; which one decides whether its client is exempt."""
    said = {} if found.cohort is None else found.cohort.message.judged()
    return {index: said.get(index, MALFORMED) for index in unread}


def judged_submissions(proofs: Proofs, found: Round, said: Mapping[int, str] = NOTHING_SAID) -> list[Judged]:
    """The submissions before CohortClosed, ascending, with the faults that I5 and I6 derived, else those in `said`."""
    end = found.cohort.index if found.cohort is not None else None
    return [
        Judged(index, record.client, proofs.faults.get(index) or said.get(index))
        for index, record in sorted(found.submissions.items())
        if end is None or index < end
    ]


def exempt_in(proofs: Proofs, verdicts: Verdicts, found: Round) -> set[str]:
    """Clients whom P6 lets be missing from this round's cohort: their one submission of the round is proved at
    fault."""
    choice = choice_of(verdicts, found)
    return exempt_clients(judged_submissions(proofs, found), choice)


def may_be_exempt_in(proofs: Proofs, verdicts: Verdicts, found: Round) -> set[str]:
    """Those, and the clients of whom that may be so, if only the evidence were here."""
    likely = verdicts.likely.get(found.number, choice_of(verdicts, found))
    return exempt_clients(judged_submissions(proofs, found, dict.fromkeys(proofs.unread, MALFORMED)), likely)


def _verdicts(given: Needs, found: Round, choice: Choice) -> dict[int, str]:
    """What becomes of each submission before CohortClosed, if there is one; I4 reports later ones."""
    end = found.cohort.index if found.cohort is not None else None
    return {
        index: given.proofs.faults.get(index) or choice.left_out.get(index) or ACCEPTED
        for index in found.submissions
        if end is None or index < end
    }


def _check_partition(findings: Findings, found: Round, entry: Record[CohortClosed]) -> None:
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
    given: Needs,
    findings: Findings,
    found: Round,
    entry: Record[CohortClosed],
    verdicts: Mapping[int, str],
    likely: Choice,
) -> None:
    """Rule 2."""
    logged = entry.message.judged()
    for index, verdict in verdicts.items():
        record = found.submissions[index]
        said = logged.get(index, "no verdict")
        kind = _kind(given, found, index, verdict, said, likely)
        if index in given.proofs.unread and said != verdict:
            said = f"{said}, but the blobs that would show it are not there"
        findings.expect(submission_label(record).at("verdict"), verdict, said, kind)


def _name_offenders(given: Needs, findings: Findings, found: Round, verdicts: Mapping[int, str]) -> None:
    known = statements(given.case.policy, given.log, found)
    for index, verdict in verdicts.items():
        record = found.submissions[index]
        if verdict in OFFENCES and excuse(given.log, found, record, verdict, known) is None:
            why = f" ({given.proofs.failed[index]})" if index in given.proofs.failed else ""
            findings.note(f"{record.client} is named: {verdict} in round {found.number}, entry {index}{why}")


def _kind(given: Needs, found: Round, index: int, verdict: str, said: str, choice: Choice) -> Kind:
    """Of a wrong verdict: unjudged if it is right as soon as the log is right about submissions that are unread, or
    about the cohorts before. choice: the cohort in that case."""
    likely = given.proofs.faults.get(index) or choice.left_out.get(index) or ACCEPTED
    if {ACCEPTED, SUPPRESSED} in ({verdict, said}, {likely, said}) and not given.log.knows_before(found):
        return Kind.UNJUDGED
    return Kind.UNJUDGED if index in given.proofs.unread or likely == said else Kind.BROKEN
