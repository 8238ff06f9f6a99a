"""A report as text, JSON or JSON lines (spec 9.2). The three say the same; rich only adds colour on a terminal."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from typing import Any, TextIO

from auditor.reports.results import CheckResult, Kind, Outcome, Results, Status, Story

WIDTH = 34  # columns of number, status and title
STYLES = {
    Status.PASS: "green",
    Status.FAIL: "bold red",
    Status.SKIPPED: "yellow",
    Status.NOT_APPLICABLE: "dim",
}
WORDS = {Status.PASS: "pass", Status.FAIL: "FAIL", Status.SKIPPED: "skip", Status.NOT_APPLICABLE: "n/a"}
KINDS = {
    Kind.BROKEN: "a rule was broken",
    Kind.OTHER: "another federation or policy",
    Kind.UNJUDGED: "could not be judged",
    Kind.DAMAGED: "this copy is damaged",
}
ANOTHER = "THIS IS ANOTHER FEDERATION OR POLICY"
SHOWN = 5  # broken rules listed at the end
Line = tuple[str, str]  # text, style


def to_json(report: Results) -> str:
    """One JSON document."""
    return json.dumps(report.to_dict(), indent=2)


def events(report: Results) -> list[dict[str, Any]]:
    """One for each check, one each for account and story if there is one, then one with everything else."""
    lines = [{"event": "check", **result.to_dict()} for result in report.checks]
    if report.account is not None:
        lines.append({"event": "account", **report.account.to_dict()})
    if report.story is not None:
        lines.append({"event": "story", **report.story.to_dict()})
    return [*lines, {"event": "audit", **report.summary()}]


def to_json_lines(report: Results) -> str:
    """`events`, one a line."""
    return "\n".join(map(json.dumps, events(report)))


def to_text(report: Results, command: list[str]) -> str:
    """The plain text report; `command` is what a reader types to audit again, empty to say nothing of it."""
    return "\n".join(text for text, _ in text_lines(report, command))


def write_text(report: Results, command: list[str], stream: TextIO) -> None:
    """Write the text report to `stream`, coloured where it is a terminal."""
    if not stream.isatty():
        stream.write(to_text(report, command) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    for text, style in text_lines(report, command):
        console.print(Text(text, style=style), soft_wrap=True)


def text_lines(report: Results, command: list[str]) -> Iterator[Line]:
    """The text report, line by line, each with the style a terminal gives it."""
    yield from _head(report)
    if report.outcome is not Outcome.OTHER:
        yield from _checks(report)
    if report.story is not None:
        yield from _story(report.story)
    yield from _verdict(report, command)


def _checks(report: Results) -> Iterator[Line]:
    for group, prefix in (("Integrity", "I"), ("Privacy", "P")):
        yield "", ""
        yield group, "bold"
        for result in report.checks:
            if result.id.startswith(prefix):
                yield from _check(result)
    for result in report.checks:
        if result.findings:
            yield from _failure(result)


def _story(story: Story) -> Iterator[Line]:
    yield "", ""
    yield f"The story of {story.party} ({', '.join(story.roles) or 'unknown: the policy does not open'})", "bold"
    for event in story.events:
        when = f"round {event.round}" if event.round else "always"
        where = "" if event.entry is None else f"entry {event.entry}"
        said = {True: " [re-verified]", False: " [FALSE]", None: ""}[event.holds]
        yield f"  {when:<10} {where:<12} {event.text}{said}", "bold red" if event.holds is False else ""
    for check, finding in story.findings:
        expected, found = finding.texts
        yield f"  {check:<10} {finding.where}: expected {expected}, found {found}", "red"
    if not story.findings:
        yield "  no finding is about it", ""


def _head(report: Results) -> Iterator[Line]:
    yield f"verifl-audit {report.version}", "bold"
    yield f"  transcript  {report.transcript}", ""
    yield f"  federation  {report.federation or 'unknown: the policy does not open'}", ""
    how = "pinned by you" if report.pinned else "NOT PINNED: taken from the transcript"
    yield f"  policy      {report.policy_hash or 'none'} ({how})", "" if report.pinned else "bold yellow"
    if report.checkpoint is None:
        yield "  checkpoint  none that can be read", "bold red"
    else:
        yield f"  checkpoint  {report.checkpoint.hash}", ""
        cosigners = ", ".join(report.checkpoint.cosigners) or "nobody"
        yield f"              {report.checkpoint.size} entries, root {report.checkpoint.root}", ""
        yield f"              cosigned by {cosigners}", ""
    if report.trusted:
        yield "", ""
        yield (
            "  UNPINNED. This audit shows that the transcript agrees with itself and no more: nothing else says who",
            "bold yellow",
        )
        yield "  the parties are and what they agreed on. The transcript was believed about:", "bold yellow"
        for line in report.trusted:
            yield f"    - {line}", "yellow"


def _check(result: CheckResult) -> Iterator[Line]:
    both = result.checked and result.reason
    said = f"{result.checked} ({result.reason})" if both else result.checked or result.reason
    head = f"  {result.id:<4} {WORDS[result.status]:<5} {result.title}"
    yield f"{head:<{WIDTH + 14}} {said}".rstrip(), STYLES[result.status]
    for note in result.notes:
        yield f"{'':<11} note: {note}", "dim"
    for warning in result.warnings:
        yield f"{'':<11} warning: {warning}", "yellow"


def _failure(result: CheckResult) -> Iterator[Line]:
    yield "", ""
    yield f"{result.id} {result.title}", "bold red"
    for finding in result.findings:
        yield f"  {finding.where}  [{KINDS[finding.kind]}]", "bold"
        expected, found = finding.texts
        yield f"    expected  {expected}", ""
        yield f"    found     {found}", ""
    if result.omitted:
        yield f"  and {result.omitted} more of the same check", ""


def _verdict(report: Results, command: list[str]) -> Iterator[Line]:
    yield "", ""
    if report.accepted:
        yield f"ACCEPTED{'' if report.pinned else ', unpinned'} in {report.seconds:.1f} s", "bold green"
    else:
        failed = [result.id for result in report.checks if result.status is Status.FAIL]
        skipped = sum(result.status is Status.SKIPPED and not result.acceptable for result in report.checks)
        rest = f"; {skipped} more could not run" if skipped else ""
        yield f"REJECTED in {report.seconds:.1f} s: {', '.join(failed)} failed{rest}", "bold red"
        yield from _outcome(report)
    if command:
        yield f"audit again: {shlex.join(command)}", "dim"


def _outcome(report: Results) -> Iterator[Line]:
    """Which of the three kinds of no, and what to do."""
    if report.outcome is Outcome.OTHER:
        (finding, *_) = (each for result in report.checks for each in result.findings)
        expected, found = finding.texts
        yield f"{ANOTHER}: it is of {found}, asked was {expected}", "bold red"
        yield "  give the policy of this federation, pinned at enrolment, or the transcript of yours", ""
        return
    if report.outcome is Outcome.BROKEN:
        for result, finding in report.broken[:SHOWN]:
            text = f"A RULE WAS BROKEN by the {finding.by}: {result.id} {result.title}, {finding.where}"
            yield text, "bold red"
        if len(report.broken) > SHOWN:
            yield f"  and {len(report.broken) - SHOWN} more", ""
    else:
        yield "THIS COPY IS DAMAGED OR INCOMPLETE: it is not what was published, or not all of it", "bold red"
        yield (
            "  fetch it again, or another copy; if the coordinator's own is no better, it withholds what would show",
            "",
        )
        yield "  whether it kept the rules", ""
    if report.unjudged:
        yield "could not be judged:", "yellow"
        for line in report.unjudged:
            yield f"  {line}", "yellow"


def write(report: Results, form: str, command: list[str], stream: TextIO | None = None) -> None:
    """Write `report` in `form` (txt, json or jsonl) to `stream`, by default standard output."""
    stream = stream or sys.stdout
    if form == "txt":
        write_text(report, command, stream)
    else:
        stream.write((to_json(report) if form == "json" else to_json_lines(report)) + "\n")
    stream.flush()
