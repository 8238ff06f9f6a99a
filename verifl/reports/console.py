"""Progress for people, on stderr; reports for programs go to stdout and are no business of this module."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from verifl.formatting import format_bytes, format_metrics, format_names
from verifl.progress import RoundSummary

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

_LAST = 20  # rounds in a text of a whole run


class ConsoleProgress:
    """A spinner with the current stage on a terminal, and a few lines a round, also where there is no terminal."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status
        self._clipped: list[bool] = []  # of those that trained in this process
        self._sizes: list[int] = []

    def note(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def stage(self, text: str) -> None:
        """Show the text beside the spinner."""
        self._status.update(text)

    def submitted(self, client: str, size: int, clipped: bool | None) -> None:
        """Count; the spinner names the client."""
        self._sizes.append(size)
        self._clipped += [] if clipped is None else [clipped]
        self._status.update(f"{client} submitted {format_bytes(size)}")

    def measured(self, initial: RoundSummary) -> None:
        """Print a line."""
        self.note(initial_line(initial))

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        """Who submitted, the verdicts, metrics, time and bytes."""
        rows = round_rows(summary, self._clipped, self._sizes)
        for line in aligned(round_label(summary, rounds), rows, self._console.width):
            self.note(line)
        self._clipped, self._sizes = [], []


@contextmanager
def console_progress() -> Iterator[ConsoleProgress]:
    """Progress on stderr for the duration of the block."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("starting") as status:
        yield ConsoleProgress(console, status)


def initial_line(initial: RoundSummary) -> str:
    """What is told of the model before the first round."""
    return f"round 0, the initial model: {format_metrics(initial.metrics)}"


def round_label(summary: RoundSummary, rounds: int) -> str:
    """`round 3 of 4`; once rounds were aborted, which count in the log and not among the `rounds` wanted:
    `round 5 (3 of 4 closed)`."""
    if summary.aborted is None and summary.round == summary.closed:
        return f"round {summary.round} of {rounds}"
    return f"round {summary.round} ({summary.closed} of {rounds} closed)"


def round_rows(summary: RoundSummary, clipped: Sequence[bool], sizes: Sequence[int]) -> list[tuple[str, str]]:
    """One round as rows of a word and a text."""
    each = f", {format_bytes(max(sizes))} each" if sizes else ""
    some = f" of {len(clipped)} that trained in this run" if len(clipped) < len(sizes) else ""
    scaled = f"; {sum(clipped)}{some} scaled back to the clip norm" if any(clipped) else ""
    rows = [("submitted", f"{format_names(summary.submitted)}{each}{scaled}"), ("verdicts", _verdicts(summary))]
    if summary.failed:
        rows.append(("failed", f"{format_names(summary.failed)}: nothing was sent"))
    if summary.aborted is not None:
        rows.append(("aborted", summary.aborted))
    metrics, size = format_metrics(summary.metrics), format_bytes(summary.size)
    took = "" if summary.seconds is None else f"{summary.seconds:.1f} s, "
    return [*rows, ("model", f"{metrics}; {took}{size} of transcript")]


def describe_rounds(initial: Mapping[str, float], rounds: Sequence[RoundSummary]) -> str:
    """A line for each of the last rounds: its number in the log, who was summed, the metrics; round 0 is the initial
    model."""
    lines = [f"round 0: the initial model: {format_metrics(initial)}"]
    if len(rounds) > _LAST:
        lines.append(f"... {len(rounds) - _LAST} rounds more")
    return "\n".join([*lines, *map(_one_line, rounds[-_LAST:])])


def _one_line(summary: RoundSummary) -> str:
    if summary.aborted is None:
        text = f"{format_names(summary.accepted)}: {format_metrics(summary.metrics)}"
    else:
        text = f"aborted: {summary.aborted}"
    excluded = f"; {format_names(list(summary.excluded))} excluded" if summary.excluded else ""
    failed = f"; {format_names(summary.failed)} failed" if summary.failed else ""
    return f"round {summary.round}: {text}{excluded}{failed}"


def aligned(label: str, rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    """The rows under one label, in columns; texts are wrapped at `width` characters, but not to less than 40."""
    words = max(len(word) for word, _ in rows)
    indent = " " * (len(label) + words + 4)
    lines = []
    for position, (word, text) in enumerate(rows):
        head = f"{label if position == 0 else '':{len(label)}}  {word:{words}}  "
        lines += textwrap.wrap(
            text,
            max(width, len(indent) + 40),
            initial_indent=head,
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )
    return lines


def _verdicts(summary: RoundSummary) -> str:
    invalid = [f"{client} excluded: {reason}" for client, reason in summary.describe_excluded()]
    if summary.aborted is None:
        text = f"{len(summary.accepted)} proofs verified and summed; released by {', '.join(summary.trustees)}"
    else:
        text = f"{len(summary.accepted)} in the cohort"
    return "; ".join([text, *invalid])
