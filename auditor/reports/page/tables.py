"""Who took part: parties by rounds, as cells where the rounds are few, else as strips."""

from __future__ import annotations

from collections.abc import Sequence

from auditor.reports.course import NOISE_PARTS, TRUSTEE_PARTS, Course, Part, Row
from auditor.reports.page.values import PartyRow, PartyTable, TableCell

MOST_COLUMNS = 40  # as cells of a table
MOST_CELLS = 10_000
MOST_ROWS = 1000
TICKS = 10  # at most, above strips


def table_of(course: Course, rows: Sequence[Row], members: int, parts: Sequence[Part]) -> PartyTable | None:
    """Of clients or of trustees; None where there is nothing to show. members: how many the policy has."""
    numbers = tuple(course.numbers())
    if not numbers or not rows:
        return None
    rows = rows[:MOST_ROWS]
    cells = len(numbers) <= MOST_COLUMNS and len(numbers) * len(rows) <= MOST_CELLS
    occurring = {run.part for row in rows for run in row.runs}
    return PartyTable(
        width=len(numbers),
        columns=numbers if cells else (),
        cells=cells,
        ticks=() if cells else ticks(numbers),
        rows=tuple(_row(row, numbers, cells) for row in rows),
        parts=tuple(part for part in parts if part in occurring),
        beyond=members - len(rows),
    )


def ticks(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Places of some rounds, with their numbers, for an axis."""
    step = next(each for each in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if len(numbers) <= each * TICKS)
    return tuple((place, numbers[place]) for place in range(step - 1, len(numbers), step))


def _row(row: Row, numbers: Sequence[int], cells: bool) -> PartyRow:
    shown = tuple(
        TableCell(run.part, run.count, _said(run.first, run.count, numbers, run.part, run.why)) for run in row.runs
    )
    return PartyRow(row.party, shown if cells else (), () if cells else _strips(row), _summary(row, len(numbers)))


def _said(first: int, count: int, numbers: Sequence[int], part: Part, why: str) -> str:
    return f"{rounds_in_words(numbers[first], numbers[first + count - 1])}: {part.words}{f' ({why})' if why else ''}"


def rounds_in_words(first: int, last: int) -> str:
    """E.g. round 3; rounds 3 to 9."""
    return f"round {first}" if first == last else f"rounds {first} to {last}"


def _strips(row: Row) -> tuple[tuple[Part, str], ...]:
    """For each part one path: a stroke of a height of one for each run."""
    paths: dict[Part, list[str]] = {}
    end: dict[Part, int] = {}
    for run in row.runs:
        start = f"m{run.first - end[run.part]} 0" if run.part in end else f"M{run.first} .5"
        paths.setdefault(run.part, []).append(f"{start}h{run.count}")
        end[run.part] = run.first + run.count
    return tuple((part, "".join(pieces)) for part, pieces in paths.items())


def _summary(row: Row, rounds: int) -> str:
    counts = row.counts()
    parts = (part for part in (*NOISE_PARTS, *TRUSTEE_PARTS) if part in counts)
    said = (f"{part.name.replace('-', ' ')} in {counts[part]}" for part in dict.fromkeys(parts))
    return f"{', '.join(said)} of {rounds}"
