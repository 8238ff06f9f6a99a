"""Logs on stderr: what a run tells, levelled, for people or as one JSON object a line.

Every record has a time, a level, an event and a message; further fields depend on the event. Messages are made of
names, numbers and reasons only, never of what a party keeps for itself.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from verifl.formatting import format_metrics, format_names
from verifl.progress import Progress
from verifl.reports.console import ConsoleProgress, console_progress, initial_line, round_label

if TYPE_CHECKING:
    from verifl.progress import RoundSummary

LOGGER = logging.getLogger("verifl")
LEVELS = ("debug", "info", "warning", "error")
STYLES = ("txt", "json")


class JsonFormatter(logging.Formatter):
    """One object a line: time (UTC), level, event, message, and the record's `fields`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields = {"event": "note", **_fields(record)}
        return json_line(record.created, record.levelname.lower(), record.getMessage(), fields)


def json_line(seconds: float, level: str, message: str, fields: Mapping[str, Any]) -> str:
    """A log line; seconds: POSIX time."""
    time = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "level": level, **fields, "message": message}, allow_nan=False, default=str)


class LoggedProgress:
    """A `Progress` whose every call is a log record."""

    def note(self, text: str) -> None:
        """Event `note`, level info."""
        _log(logging.INFO, "note", text)

    def stage(self, text: str) -> None:
        """Event `stage`, level debug."""
        _log(logging.DEBUG, "stage", text)

    def submitted(self, client: str, size: int, clipped: bool | None) -> None:
        """Event `submitted`, level info: client, bytes, clipped."""
        _log(logging.INFO, "submitted", f"{client} submitted", client=client, bytes=size, clipped=clipped)

    def measured(self, initial: RoundSummary) -> None:
        """Event `note`, level info."""
        _log(logging.INFO, "note", initial_line(initial))

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        """Event `round` with what `metrics.jsonl` says of it; level info, or warning where it was aborted, somebody's
        submission was excluded, or somebody sent nothing."""
        how = format_metrics(summary.metrics) if summary.aborted is None else f"aborted, {summary.aborted}"
        excluded = "".join(f"; {client} excluded, {reason}" for client, reason in summary.describe_excluded())
        failed = f"; {format_names(summary.failed)} failed" if summary.failed else ""
        level = logging.WARNING if summary.aborted is not None or excluded or failed else logging.INFO
        _log(level, "round", f"{round_label(summary, rounds)}: {how}{excluded}{failed}", **summary.to_dict())


@contextmanager
def logged(style: str, level: str) -> Iterator[Progress]:
    """Log to stderr during the block, and give what reports progress there.

    style: one of STYLES. level: one of LEVELS, the least that is written. With txt and info a terminal also has a
    spinner, and rounds are told in a few lines each.
    """
    if style == "txt" and level == "info":
        with console_progress() as progress, _handled(_ConsoleHandler(progress), level):
            yield progress
        return
    handler = logging.StreamHandler(sys.stderr)
    lines = JsonFormatter() if style == "json" else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(lines)
    with _handled(handler, level):
        yield LoggedProgress()


class _ConsoleHandler(logging.Handler):
    """What is logged among the lines of progress, which tells of the rounds itself."""

    def __init__(self, progress: ConsoleProgress) -> None:
        super().__init__()
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        level = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        self._progress.note(f"{level}{record.getMessage()}")


@contextmanager
def _handled(handler: logging.Handler, level: str) -> Iterator[None]:
    before, propagated = LOGGER.level, LOGGER.propagate
    handler.setLevel(level.upper())  # others may listen to less
    LOGGER.addHandler(handler)
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.setLevel(before)
        LOGGER.propagate = propagated


def _log(level: int, event: str, message: str, **fields: Any) -> None:
    LOGGER.log(level, "%s", message, extra={"fields": {"event": event, **fields}})


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields
