"""Who is named, with the evidence, and how somebody else verifies it without believing this page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from auditor.reports.course import CitedEntry, Course, Offence
from auditor.reports.page.values import Named, Offences
from auditor.reports.results import Results

WHAT: Mapping[str, str] = {
    "duplicate": "submitted twice in one round",
    "replayed": "submitted bytes that were another submission's before",
    "malformed": "submitted bytes that are nothing that was agreed on",
    "invalid-proof": "submitted an update whose proof of being within the bounds does not hold",
    "disputed": "gave more trustees a bad share than can be corrupt, so an honest one says so",
    "wrong-release": "released a share that does not open the sum of the shares that it was given",
}
SHOWN_BY: Mapping[str, str] = {
    "duplicate": "I7",
    "replayed": "I7",
    "malformed": "I7",
    "invalid-proof": "I7",
    "disputed": "I7",
    "wrong-release": "I8",
}
PROVED_BY: Mapping[str, str] = {
    "duplicate": "Find two submissions of this client in the entries of this round, both with its signature.",
    "replayed": "Find a blob with one of these hashes among those of an earlier submission.",
    "malformed": "Read the blobs: they do not decode as sections 6 and 7 of the specification say.",
    "invalid-proof": "Verify the proof against the commitments as section 5 of the specification says: it fails.",
    "disputed": "Count the acknowledgements in this round whose trustees signed that they dispute the share.",
    "wrong-release": "Check the released share against the share commitments of the cohort, as section 7 says.",
}


def offences_of(report: Results, course: Course, command: Sequence[str]) -> Offences | None:
    """None where the log cannot be read. command: what audits this transcript again."""
    if course.lacking or course.policy is None:
        return None
    entries = {each.index: each for each in course.cited}
    count = len(course.offences) + course.more_offences
    lies = "No client and no trustee is proved to have broken a rule."
    if count:
        of = "offence is" if count == 1 else "offences are"
        lies = f"{count} {of} proved of clients and trustees, by what they signed."
    if report.broken:
        lies += " Whoever wrote the record, or its policy, broke rules: these are at the top, and with their checks."
    disputes = tuple(
        (each.entry, f"{each.trustee} and {each.client} in round {each.round}: {each.reason}")
        for each in course.disputes
    )
    named = tuple(_named(each, entries.get(each.entry), command) for each in course.offences)
    return Offences(lies, named, disputes, course.more_offences, course.more_disputes)


def _named(each: Offence, entry: CitedEntry | None, command: Sequence[str]) -> Named:
    what = WHAT.get(each.offence, each.offence) + (f" ({each.detail})" if each.detail else "")
    steps = [
        (
            "Take the entry from its file, compare its SHA-256, and verify its signature with the key that was in "
            f"force for {each.party} (policy, rotations in the log): nobody else can have made it."
        ),
        PROVED_BY.get(each.offence, ""),
    ]
    if command:
        steps.append(f"Or have it done: {shlex.join([*_without_story(command), '--explain', each.party])}")
    return Named(
        each.party,
        each.role,
        each.round,
        entry,
        what,
        SHOWN_BY.get(each.offence, "I7"),
        each.blobs,
        tuple(filter(None, steps)),
    )


def _without_story(command: Sequence[str]) -> list[str]:
    """A command, asking for nobody's story."""
    at = command.index("--explain") if "--explain" in command else len(command)
    return [*command[:at], *command[at + 2 :]]
