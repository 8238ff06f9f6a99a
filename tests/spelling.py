"""What trustees and coordinators say of submissions, from lists of log indices to the texts of their messages."""

from __future__ import annotations

from collections.abc import Iterable

from protocols.messages import Detail, Dispute, Exclusion
from protocols.verdicts import ACCEPTED, ANSWERS, HELD, VERDICTS, spell


def answering(first: int, acknowledged: Iterable[int], disputed: Iterable[Dispute] = ()) -> tuple[int, str]:
    """(first, answers) of a ShareAck that holds and disputes these."""
    said = dict.fromkeys(acknowledged, HELD) | {each.index: each.reason for each in disputed}
    return first, spell(first, said, ANSWERS)


def judging(
    first: int, accepted: Iterable[int], excluded: Iterable[Exclusion] = (), stop: int | None = None
) -> tuple[int, str, tuple[Detail, ...]]:
    """(first, verdicts, details) of a CohortClosed, to be entry `stop`, that accepts and excludes these."""
    left_out = list(excluded)
    said = dict.fromkeys(accepted, ACCEPTED) | {each.index: each.reason for each in left_out}
    details = tuple(Detail(each.index, each.detail) for each in left_out if each.detail)
    return first, spell(first, said, VERDICTS, stop), details
