"""The course of the rounds: a line for each, bars for who took part, and curves for the metrics that were published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from auditor.reports.course import Course, RoundCourse
from auditor.reports.page.tables import MOST_COLUMNS, rounds_in_words, ticks
from auditor.reports.page.values import Bars, Curve, RoundRow, Rounds

MOST_CURVES = 8
MOST_POINTS = 500
FEWEST_BARS = 12  # of fewer rounds, the table says enough
ABORTS: Mapping[str, str] = {
    "too-few-submissions": "too few clients submitted",
    "no-quorum": "too few trustees acknowledged",
    "differencing": "no group of clients was left in which nobody is singled out",
    "missing-releases": "too few trustees released their share of the sum",
    "opening-failed": "the sum did not open",
}
Series = Mapping[str, Sequence[tuple[int, float]]]  # by the name of a metric: round and value, ascending


def rounds_of(course: Course, metrics: Series, source: str) -> Rounds | None:
    """None where the log cannot be read. metrics: as somebody published them in `source`."""
    if course.lacking or course.policy is None:
        return None
    return Rounds(
        said=_said(course),
        rows=tuple(_rows(course.rounds)),
        bars=_bars(course),
        curves=tuple(_curve(name, points) for name, points in list(metrics.items())[:MOST_CURVES] if points),
        curves_from=source,
        changes=course.changes,
        more_changes=course.more_changes,
        beyond=course.beyond,
    )


def _said(course: Course) -> str:
    closed = sum(each.ending == "closed" for each in course.rounds)
    aborted = sum(each.ending == "aborted" for each in course.rounds)
    going = len(course.rounds) - closed - aborted
    parts = [f"{closed:,} ended with a new model"]
    parts += [f"{aborted:,} without a result"] if aborted else []
    parts += [f"{going:,} had not ended when this record was made"] if going else []
    head = (
        f"The record has {len(course.rounds):,} {'round' if len(course.rounds) == 1 else 'rounds'}: {', '.join(parts)}."
    )
    if course.ending is not None:
        return f"{head} Then the federation was closed for good ({course.ending[1]}, entry {course.ending[0]})."
    return head


def _rows(rounds: Sequence[RoundCourse]) -> Iterator[RoundRow]:
    """A row for each round; of many rounds, one for all in a row that are alike but for their models."""
    start = 0
    for place in range(1, len(rounds) + 1):
        alike = place < len(rounds) and len(rounds) > MOST_COLUMNS and _alike(rounds[start], rounds[place])
        if not alike:
            yield _row(rounds[start], rounds[place - 1])
            start = place


def _alike(first: RoundCourse, other: RoundCourse) -> bool:
    """But for number, model and entry."""
    shown = [replace(_row(each, each), numbers="", model="", entry=None) for each in (first, other)]
    return shown[0] == shown[1] and other.retry_of is None


def _row(first: RoundCourse, last: RoundCourse) -> RoundRow:
    one = first.number == last.number
    result = {"closed": "new model", "aborted": "no result", "open": "not ended"}[last.ending]
    why = f": {ABORTS.get(last.reason, last.reason)}" if last.reason else ""
    named = f" ({', '.join(f'{party}, {reason}' for party, reason in last.missing)})" if last.missing else ""
    return RoundRow(
        numbers=str(first.number) if one else f"{first.number} to {last.number}",
        what=f"repeats round {last.retry_of}" if last.retry_of is not None else "",
        took_part=_clients(last),
        trustees=f"{last.acknowledged} acknowledged, {last.released} released rightly",
        result=f"{result}{why}{named}",
        model=last.model,
        entry=first.opened,
        ended=last.ending,
    )


def _clients(found: RoundCourse) -> str:
    asked = "" if found.asked is None else f"{found.asked} asked, "
    out = f", {found.left_out} left out" if found.left_out else ""
    noise = f", with noise of {found.noise} trustees" if found.noise else ""
    return f"{asked}{found.submitted} submitted{out}, {found.summed} summed{noise}"


def _bars(course: Course) -> Bars | None:
    """Summed, then what was submitted and not summed, then who was asked and is not there."""
    rounds = course.rounds
    most = max((max(each.asked or 0, each.submitted) for each in rounds), default=0)
    if not most or len(rounds) < FEWEST_BARS:
        return None
    paths: dict[str, list[str]] = {"summed": [], "left-out": [], "absent": []}
    for place, each in enumerate(rounds):
        heights = (each.summed, max(each.submitted - each.summed, 0), max((each.asked or 0) - each.submitted, 0))
        top = 0.0
        for name, height in zip(paths, heights, strict=True):
            if height:
                tall = 100 * height / most
                paths[name].append(f"M{place} {100 - top:.4g}h.86v-{tall:.4g}h-.86z")
                top += tall
    shown = tuple((name, "".join(pieces)) for name, pieces in paths.items())
    at = tuple((place + 0.43, number) for place, number in ticks([each.number for each in rounds]))
    fewest = min(each.summed for each in rounds)
    said = f"{rounds_in_words(rounds[0].number, rounds[-1].number)}: between {fewest} and {most} clients a round"
    return Bars(len(rounds), shown, most, at, said)


def _curve(name: str, points: Sequence[tuple[int, float]]) -> Curve:
    """Of many values, some: as many as can be told apart."""
    values = [value for _, value in points]
    every = len(values) // MOST_POINTS + 1
    drawn = [*values[::every], values[-1]] if every > 1 else values
    low, high, width = min(values), max(values), max(len(drawn) - 1, 1)
    reach = (high - low) or 1.0
    places = (f"{1000 * place / width:.0f} {95 - 90 * (value - low) / reach:.1f}" for place, value in enumerate(values))
    first, last, least, most = (f"{value:.4g}" for value in (values[0], values[-1], low, high))
    return Curve(name, "M" + "L".join(places), first, last, least, most, len(points))
