"""What each round came to."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from auditor.index import Round
from auditor.reports.course import RoundCourse
from auditor.stories import Told
from protocols.noise_trustees import noise_trustees

CLOSED, ABORTED, GOING_ON = "closed", "aborted", "open"


def round_course(told: Told, found: Round, asked: AbstractSet[str] | None) -> RoundCourse:
    """One round, by the first of each entry that must be single. asked: to whom it was open, None if that is
    unknown."""
    summed = found.accepted() if found.aggregate is not None else []
    adding = noise_trustees(told.case.policy)
    valid = told.cohorts.releases.get(found.number, {})
    end = found.closed or found.aborted
    ended = CLOSED if found.closed is not None else ABORTED if found.aborted is not None else GOING_ON
    aborted = None if found.closed is not None or found.aborted is None else found.aborted.message
    return RoundCourse(
        number=found.number,
        opened=None if found.open is None else found.open.index,
        submitted=len({each.client for each in found.submissions.values() if not each.noise}),
        summed=sum(not each.noise for each in summed),
        noise=sum(each.noise for each in summed),
        left_out=0 if found.cohort is None else len(found.cohort.message.excluded),
        asked=None if asked is None else len(asked - adding),
        acknowledged=len({each.message.trustee for each in found.acks}),
        released=len(valid),
        ending=ended,
        reason="" if aborted is None else aborted.reason,
        model="" if found.closed is None else found.closed.message.model.hex(),
        retry_of=None if found.open is None else found.open.message.retry_of,
        last=None if end is None else end.index,
        missing=() if aborted is None else tuple((each.party, each.reason) for each in aborted.missing),
    )
