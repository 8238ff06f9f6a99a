"""The page of an audit, from its report: the one function that all of it comes from, without a clock and without
files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from auditor.reports.clauses import CLAUSES, ORIENTATION
from auditor.reports.course import CLIENT_PARTS, NOISE_PARTS, TRUSTEE_PARTS, Course, RoundEvidence
from auditor.reports.page.drawing import drawing_of
from auditor.reports.page.offences import offences_of
from auditor.reports.page.privacy import privacy_of
from auditor.reports.page.promises import promises_of
from auditor.reports.page.rounds import Series, rounds_of
from auditor.reports.page.tables import table_of
from auditor.reports.page.values import Again, Annex, CheckRow, Conflict, Duty, Identity, Page
from auditor.reports.page.verdict import verdict_of
from auditor.reports.results import CheckResult, Kind, Outcome, Results, Status
from protocols.noise_trustees import noise_trustees, training_clients
from protocols.policy import Policy

MOST_EVENTS = 2000  # of a story
NO_METRICS: Series = {}
WORDS: Mapping[Status, str] = {
    Status.PASS: "passed",
    Status.FAIL: "failed",
    Status.SKIPPED: "not made",
    Status.NOT_APPLICABLE: "does not apply",
}
FOUND: Mapping[Kind, str] = {
    Kind.BROKEN: "a rule was broken",
    Kind.OTHER: "another federation or policy",
    Kind.UNJUDGED: "could not be judged",
    Kind.DAMAGED: "this copy is damaged",
}
MEANS: Mapping[str, str] = {
    "I1": "The files are all there and unaltered, and are what the signed checkpoints say.",
    "I2": "The policy is signed by its issuer, its numbers are sound, and this record is of that policy.",
    "I3": "Who took part is who the policy lists; changes of keys are rightful.",
    "I4": "Rounds follow one another as agreed, each with fresh keys and from the right model.",
    "I5": "Each submission is signed by its client, answers its round, and is the only one.",
    "I6": "The mathematical proof of every submission was verified again.",
    "I7": "Every verdict on a submission was derived again, and is the one in the record.",
    "I8": "Who was summed follows from the rules; trustees released only for that.",
    "I9": "The encrypted sum was computed again from the encrypted updates.",
    "I10": "The opened sum fits the commitments of those who were summed, and of nobody else.",
    "I11": "Every model was computed again from the one before and the opened sum.",
    "I12": "All evidence hangs together: every entry leads to its round's end, and to nothing else.",
    "I13": "Whoever had to approve the policy signed it.",
    "I14": "The former federation, that this one continues, ended with the model that this one began with.",
    "P1": "No sum is over fewer clients than agreed.",
    "P2": "In no round was more than one group of clients fixed, or anything released twice.",
    "P3": "The numbers of trustees leave no room for two records.",
    "P4": "How far one client can move a sum is what was proved.",
    "P5": "What was spent of the clients' privacy stays within the budget.",
    "P6": "No sums that were opened show few clients when they are compared.",
    "P7": "Nothing stands in the record that the protocol does not provide for.",
}


def page_of(
    report: Results,
    command: Sequence[str],
    made: datetime,
    *,
    outcome: Outcome | None = None,
    conflict: Conflict | None = None,
    metrics: Series = NO_METRICS,
    metrics_from: str = "",
    statement: str = "",
) -> Page:
    """The page of a report. command: what audits again; made: when the audit was, with a time zone. outcome, conflict:
    of following a transcript, where these are not the report's own. metrics: published in `metrics_from`, unverified.
    statement: SHA-256 of the signed statement of the same audit."""
    course = report.course if report.course is not None else Course(None, lacking="this report was made without them")
    other = report.outcome is Outcome.OTHER
    policy = None if other else course.policy
    members = (0, 0, 0)
    if policy is not None:
        members = len(training_clients(policy)), len(policy.trustees), len(noise_trustees(policy))
    drawn = tuple(drawing_of(each, place == 0) for place, each in enumerate(_best_first(course)))
    return Page(
        identity=identity_of(report, made, statement),
        verdict=verdict_of(report, outcome or report.outcome, conflict),
        promises=() if other else promises_of(report),
        lacking=_lacking(report, course),
        clients=table_of(course, course.clients, members[0], CLIENT_PARTS),
        trustees=table_of(course, course.trustees, members[1], TRUSTEE_PARTS),
        noise=table_of(course, course.noise, members[2], NOISE_PARTS),
        rounds=rounds_of(course, metrics, metrics_from),
        drawings=drawn,
        undrawn=_undrawn(course),
        privacy=None if other else privacy_of(report, course),
        offences=offences_of(report, course, command),
        story=report.story and replace(report.story, events=report.story.events[:MOST_EVENTS]),
        more_story=0 if report.story is None else max(len(report.story.events) - MOST_EVENTS, 0),
        limits=tuple(limits_of(report, policy)),
        checks=() if other else tuple(_check(each) for each in report.checks),
        entries=course.cited,
        annex=None if other or not report.checks else annex_of(report),
        again=again_of(report, command),
    )


def identity_of(report: Results, made: datetime, statement: str = "") -> Identity:
    """What was audited."""
    head = report.checkpoint
    return Identity(
        federation=report.federation or "unknown",
        transcript=report.transcript,
        policy=report.policy_hash or "none",
        pinned=report.pinned,
        checkpoint="" if head is None else head.hash,
        root="" if head is None else head.root,
        entries=None if head is None else head.size,
        cosigners=() if head is None else head.cosigners,
        model=None if report.model is None else (_model(report.model.round), report.model.hash),
        version=report.version,
        engine=report.engine,
        made=made.strftime("%Y-%m-%d %H:%M UTC"),
        seconds=report.seconds,
        statement=statement,
    )


def _model(number: int) -> str:
    return f"of round {number}" if number else "the initial one"


def _lacking(report: Results, course: Course) -> str:
    if report.outcome is Outcome.OTHER:
        return "This is another policy's record, so nothing of it was judged."
    if not report.checks:
        return "Nothing was audited: the record is another than the one that was accepted before, or it is gone."
    if course.policy is None:
        return "The policy does not open, so nothing can be said of what was agreed or done."
    if not course.sound and not course.lacking:
        return "The policy's numbers cannot be used (I2), so nothing can be said of what it promises."
    return f"The record cannot be read: {course.lacking}." if course.lacking else ""


def _best_first(course: Course) -> list[RoundEvidence]:
    """The last aggregate first: its sum is behind the final model; where findings are about rounds, these."""
    return sorted(course.evidence, key=lambda each: (not any(node.fault for node in each.nodes), -each.round))


def _undrawn(course: Course) -> str:
    drawn = {each.round for each in course.evidence}
    left = len(set(course.drawable) - drawn)
    if not left:
        return ""
    more = "1 more round has" if left == 1 else f"{left:,} more rounds have"
    return f"{more} an aggregate; --graph ROUND draws the evidence of any."


def limits_of(report: Results, policy: Policy | None) -> Iterator[str]:
    """What this page does not say."""
    yield "Whether clients trained honestly, or on real, lawful or fitting data: only the size of updates is proved."
    yield "Whether the model is good, fair, safe, or fit for any purpose."
    yield (
        "Who stands behind a key: that is the issuer's word, in the policy. An identity is as good as the enrolment "
        "was."
    )
    if policy is not None:
        yield (
            f"That at most {policy.corrupt} of the {len(policy.trustees)} trustees are corrupt is an assumption, and "
            f"no check can show it: {policy.threshold} of them together with the server can open single updates, and "
            "leave no trace."
        )
        if policy.privacy_budget is None:
            yield (
                "Differential privacy: no noise was added. A client that is absent from the next round may be "
                "recognised from the difference of two sums, once training hardly moves the model; P6 lists who."
            )
    yield "Whether a submission was never put into the record: only the client itself can tell, by its missing receipt."
    yield "What came after the checkpoint that was audited, and what is kept in other copies that nobody compared."
    yield "When anything happened: the record has an order and no clock. The time on this page is this auditor's own."
    yield "Anything by itself: this page is not signed, and can be altered. Its worth is that anybody makes it again."
    yield "Whether any law is complied with. It is evidence for those who judge that, and no legal advice."
    if not report.pinned:
        yield (
            "Whether the policy is the one that the parties agreed on: it was taken from the transcript itself. Give "
            "--policy with the file that was pinned at enrolment."
        )


def _check(result: CheckResult) -> CheckRow:
    findings = tuple((finding, FOUND[finding.kind]) for finding in result.findings)
    return CheckRow(result, WORDS[result.status], MEANS[result.id], findings)


def annex_of(report: Results) -> Annex:
    """The duties, with how the checks ended."""
    duties = [
        Duty(each, tuple((number, WORDS[report.check(number).status]) for number in each.checks)) for each in CLAUSES
    ]
    laws = dict.fromkeys(each.clause.law for each in duties)
    return Annex(ORIENTATION, tuple((law, tuple(each for each in duties if each.clause.law == law)) for law in laws))


def again_of(report: Results, command: Sequence[str]) -> Again:
    """How to repeat it."""
    commands = [
        ("pip install .", f"In the source of verifl {report.version}: the auditor alone, no training code, no key.")
    ]
    if command:
        again = shlex.join(command)
        commands.append((again, "The same audit. Exit status 0 is accepted, 1 rejected, 2 could not be made."))
        if report.engine == "native":
            commands.append(
                (f"{again} --engine reference", "The same with slow, plain arithmetic, written a second time.")
            )
    hints = [
        f"The policy file has the SHA-256 {report.policy_hash}: compare it with what you were given at enrolment."
        if report.policy_hash and report.pinned
        else "Ask the issuer for the policy file, and give it by --policy.",
        (
            "The specification (docs/spec, chapter 9) says all that an auditor does: another program can be written "
            "from it."
        ),
    ]
    if report.checkpoint is not None:
        hints.append(
            f"The checkpoint file has the SHA-256 {report.checkpoint.hash}. Ask trustees whether they cosigned it; "
            "verifl-audit compare shows whether two copies have one history."
        )
    return Again(tuple(commands), tuple(hints))
