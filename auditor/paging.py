"""Pages of audits as files (`--html`): what they are made from, and that they can be written, is known before the
audit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from auditor.output import replace_file, require_writable
from proofs.errors import Malformed, Misuse

if TYPE_CHECKING:
    from auditor.following import Followed
    from auditor.reports.page.rounds import Series
    from auditor.reports.page.values import Conflict
    from auditor.reports.report import Report
    from protocols.log.connection import Remote

FILE = click.Path(path_type=Path)
Function = TypeVar("Function", bound=Callable[..., Any])


def page_options(function: Function) -> Function:
    """Of the commands that make a page."""
    what = "What a coordinator publishes beside its transcript (metrics.jsonl), to be shown on the page, unverified."
    function = click.option("--metrics", type=FILE, help=what)(function)
    what = "Draw the evidence of this round on the page, too. Repeatable."
    function = click.option("--graph", "graphs", type=click.IntRange(1), metavar="ROUND", multiple=True, help=what)(
        function
    )
    what = "Write the report as a page for people, too: one file, for a browser, for paper."
    return click.option("--html", type=FILE, help=what)(function)


@dataclass(frozen=True)
class Pager:
    """Writes the page of an audit. graphs: rounds whose evidence is to be drawn. metrics: a file of them."""

    file: Path
    graphs: tuple[int, ...] = ()
    metrics: Path | None = None

    @classmethod
    def of(
        cls,
        file: Path | None,
        graphs: Sequence[int],
        metrics: Path | None,
        places: Iterable[Path | Remote],
        kept: Iterable[Path | None] = (),
    ) -> Pager | None:
        """None without a file. places: transcripts, in which nothing may be written; kept: files that the page may not
        replace. Raises UsageError, Misuse, OSError."""
        if file is None:
            if graphs or metrics is not None:
                raise click.UsageError("--graph and --metrics are about the page: give --html FILE, too")
            return None
        for place in places:
            require_writable(file, place)
        if any(each is not None and each.resolve() == file.resolve() for each in (*kept, metrics)):
            raise Misuse(f"{file}: is what this audit reads or signs; write the page elsewhere")
        pager = cls(file, tuple(graphs), metrics)
        pager.series()
        return pager

    def series(self) -> Series:
        """The metrics, as they are published now. Raises Misuse, OSError."""
        from auditor.reports.page.metrics import LIMIT, read_metrics

        if self.metrics is None:
            return {}
        with self.metrics.open("rb") as stream:
            data = stream.read(LIMIT + 1)
        try:
            return read_metrics(data)
        except Malformed as error:
            raise Misuse(f"{self.metrics}: {error}; metrics are lines of JSON, as in metrics.jsonl") from None

    def write(
        self, report: Report, command: Sequence[str], *, statement: str = "", found: Followed | None = None
    ) -> None:
        """Write the page, in the place of an older one. statement: SHA-256 of a signed one; found: of following."""
        from auditor.reports.page.compose import page_of
        from auditor.reports.page.render import to_html

        page = page_of(
            report,
            command,
            datetime.now(UTC),
            outcome=None if found is None else found.outcome,
            conflict=None if found is None else conflict_of(found),
            metrics=self.series(),
            metrics_from="" if self.metrics is None else str(self.metrics),
            statement=statement,
        )
        replace_file(self.file, to_html(page).encode())
        click.echo(f"page: {page.verdict.word}, in {self.file}", err=True)


def conflict_of(found: Followed) -> Conflict | None:
    """What contradicts an accepted checkpoint, with both as they were signed."""
    from auditor.reports.page.values import Conflict

    wrong = found.contradiction
    if wrong is None:
        return None
    names = ("what was accepted before", "this transcript")
    notes = tuple((name, head.note.decode()) for name, head in zip(names, wrong.heads, strict=False))
    return Conflict(wrong.kind, wrong.what, notes)
