"""What a federation did, from what the checks left: the values that a page shows. It re-derives nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice

from auditor.course.citing import cited
from auditor.course.evidence import drawable, evidence_of
from auditor.course.naming import disputes, offences
from auditor.course.parties import client_rows, trustee_rows
from auditor.course.rounds import round_course
from auditor.findings import Unavailable
from auditor.reports.course import Course
from auditor.reports.results import CheckResult
from auditor.stories import Told, asked_in
from protocols.messages import KeyRotation
from protocols.noise_trustees import noise_trustees

MOST_ROUNDS = 4096  # that are listed; the rest are counted
MOST_NAMED = 200  # offences, and disputes
LACKING = "no checkpoint signs the entries that are here"
FOREIGN = "this is another policy's log"


def course_of(told: Told, results: Sequence[CheckResult], graphs: Collection[int] = ()) -> Course:
    """The course of the federation, once all checks have been run. graphs: rounds whose evidence is wanted, beside
    those that findings are about."""
    policy = None if told.case.pinned_policy is None else told.case.policy
    if policy is None or told.log.filed is None:
        lacking = LACKING if told.case.foreign is None else FOREIGN
        return Course(policy, sound=policy is not None and _is_sound(told), lacking=lacking)
    index = told.log.index
    found = tuple(islice(index.in_order(), MOST_ROUNDS))
    asked = [asked_in(told, each) for each in found]
    named, argued = offences(told, index.in_order()), disputes(told, index.in_order())
    rows, adding = client_rows(told, found, asked, named), noise_trustees(policy)
    drawn = evidence_of(told, results, graphs)
    return Course(
        policy=policy,
        sound=_is_sound(told),
        entries=len(index.headings),
        rounds=tuple(round_course(told, each, open_to.clients) for each, open_to in zip(found, asked, strict=True)),
        beyond=len(index.rounds) - len(found),
        clients=tuple(row for row in rows if row.party not in adding),
        noise=tuple(row for row in rows if row.party in adding),
        trustees=trustee_rows(told, found),
        offences=named[:MOST_NAMED],
        more_offences=max(len(named) - MOST_NAMED, 0),
        disputes=argued[:MOST_NAMED],
        more_disputes=max(len(argued) - MOST_NAMED, 0),
        evidence=drawn,
        drawable=drawable(index.in_order()),
        cited=cited(told, results, named[:MOST_NAMED], drawn),
        changes=_changes(told),
        more_changes=max(len(index.changes) - MOST_NAMED, 0),
        ending=None if index.ending is None else (index.ending[0].index, index.ending[0].message.reason),
        gaps=len(told.log.gaps),
        cut=told.log.cut,
    )


def _is_sound(told: Told) -> bool:
    """Whether the sizes and parameters that follow from the policy are computable."""
    try:
        return told.case.pinned is not None
    except Unavailable:
        return False


def _changes(told: Told) -> tuple[tuple[int, str, str], ...]:
    changes = told.log.index.changes[:MOST_NAMED]
    words = {True: "rotated its key", False: "its key was revoked by the issuer"}
    return tuple((each.index, each.message.party, words[isinstance(each.message, KeyRotation)]) for each in changes)
