"""The verdict in one sentence, and which of the three kinds of no it is (spec 9.1)."""

from __future__ import annotations

from collections.abc import Mapping

from auditor.reports.page.values import Broken, Conflict, KindOfNo, PageVerdict
from auditor.reports.results import Outcome, Results, Status

LISTED = 20  # broken rules in the verdict; the others are with their checks

WORDS: Mapping[Outcome, str] = {
    Outcome.ACCEPTED: "Accepted",
    Outcome.BROKEN: "Rejected: a rule was broken",
    Outcome.DAMAGED: "Rejected: this copy is damaged or incomplete",
    Outcome.OTHER: "Rejected: this is another federation, or another policy",
}
KINDS: Mapping[Outcome, tuple[str, str]] = {
    Outcome.BROKEN: ("A rule was broken", "Whoever signed this record did what the agreed policy forbids."),
    Outcome.DAMAGED: (
        "The copy is damaged",
        "What was read is not what was published, or not all of it. Nobody is accused.",
    ),
    Outcome.OTHER: ("Another federation", "The record belongs to another policy than the one that was asked about."),
}
ADVICE: Mapping[Outcome, str] = {
    Outcome.ACCEPTED: "Read what this does not say before you rely on it.",
    Outcome.BROKEN: "The evidence is in this transcript. Keep a copy of it, and of the policy.",
    Outcome.DAMAGED: (
        "Fetch the transcript again, or another copy. If the coordinator's own is no better, it withholds what would "
        "show whether it kept the rules."
    ),
    Outcome.OTHER: "Give the policy of this federation, pinned at enrolment, or the transcript of yours.",
}


def verdict_of(report: Results, outcome: Outcome, conflict: Conflict | None = None) -> PageVerdict:
    """outcome: that of the report, or of following it. conflict: with what was accepted before."""
    unpinned = outcome is Outcome.ACCEPTED and not report.pinned
    broken = tuple(
        Broken(result.id, result.title, each.where, each.by or "", each.place.entry) for result, each in report.broken
    )
    return PageVerdict(
        outcome,
        WORDS[outcome] + (", but not against a policy of yours" if unpinned else ""),
        sentence(report, outcome, conflict),
        ADVICE[outcome],
        tuple(KindOfNo(*KINDS[each], given=each is outcome) for each in KINDS),
        broken[:LISTED],
        max(len(broken) - LISTED, 0),
        report.unjudged if outcome is not Outcome.OTHER else (),
        report.trusted,
        conflict,
    )


def sentence(report: Results, outcome: Outcome, conflict: Conflict | None) -> str:
    """The verdict, as one would say it."""
    name = report.federation or "this federation"
    if conflict is not None and (report.accepted or not report.checks):
        return f"The transcript of {name} does not continue what was accepted before: {conflict.what}."
    if outcome is Outcome.ACCEPTED:
        return _accepted(report, name)
    failed = [result.id for result in report.checks if result.status is Status.FAIL]
    which = f"{_check_word(len(failed))} {listed(failed)} failed" if failed else "not every check could be made"
    if outcome is Outcome.BROKEN:
        whose = listed(sorted({each.by or "" for _, each in report.broken}))
        who = f"The {whose} of {name} signed what the policy forbids" if whose else f"A rule of {name} was broken"
        return f"{who}: {which}."
    if outcome is Outcome.OTHER:
        found = next((each.texts for result in report.checks for each in result.findings), ("", ""))
        return f"This transcript is of {found[1]}; asked was {found[0]}."
    return (
        f"This copy of the transcript of {name} is not what was published, or not all of it ({which}); it shows "
        "neither that the rules were kept nor that anybody broke one."
    )


def _accepted(report: Results, name: str) -> str:
    passed = sum(result.status is Status.PASS for result in report.checks)
    unmade = [result.id for result in report.checks if result.status is Status.SKIPPED]
    outside = [result.id for result in report.checks if result.status is Status.NOT_APPLICABLE]
    size = "" if report.checkpoint is None else f" in all {report.checkpoint.size:,} entries"
    whose = "the policy" if report.pinned else "the policy that it comes with"
    rest = f"; {listed(unmade)} could not be made, which the rules allow" if unmade else ""
    rest += f"; {listed(outside)} {'does' if len(outside) == 1 else 'do'} not apply" if outside else ""
    kept = f"Every rule that {whose} of {name} sets for the record was kept{size}: {passed} checks passed{rest}."
    return kept + _named(report)


def _named(report: Results) -> str:
    """That parties committed offences, although the record is right about them."""
    course = report.course
    count = 0 if course is None else len(course.offences) + course.more_offences
    if not count:
        return ""
    offences = "1 offence" if count == 1 else f"{count:,} offences"
    return f" It proves {offences} of clients and trustees, who were dealt with as the policy says."


def _check_word(number: int) -> str:
    return "check" if number == 1 else "checks"


def listed(words: list[str] | tuple[str, ...]) -> str:
    """Words as a sentence has them: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
