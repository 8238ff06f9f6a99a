"""The further commands of `verifl-audit`: compare, receipt, follow. Exit status 0 yes, 1 no, 2 usage or IO."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from auditor.paging import Pager, page_options
from auditor.reports.results import Outcome
from proofs.errors import Malformed, Misuse, Rejected
from proofs.machine.command_line import interruptible, usage_line
from proofs.machine.streams import is_read

if TYPE_CHECKING:
    from auditor.following import FollowState
    from auditor.reports.report import Report
    from protocols.log.connection import Remote
    from protocols.pinned import PinnedPolicy

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2
SETTINGS = {"help_option_names": ["-h", "--help"]}

Function = TypeVar("Function", bound=Callable[..., Any])


class AuditorCommand(click.Command):
    """A command whose usage errors, and Ctrl-C, are one line on standard error, and status 2, whatever the format."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """As click's in standalone mode."""
        try:
            status = super().main(*args, **{"prog_name": self.name, **extra, "standalone_mode": False})
        except click.UsageError as error:
            end(UNUSABLE, usage_line(error, self.name or ""))
        except click.Abort:
            end(UNUSABLE, "interrupted")
        sys.exit(status)

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click's; the further commands run inside it."""
        with interruptible():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """As click's."""
        with interruptible():
            return super().invoke(ctx)


def end(status: int, why: str) -> NoReturn:
    """Say one line on standard error, and exit."""
    click.echo(f"verifl-audit: {why}", err=True)
    sys.exit(status)


def warn(report: Report, told: set[str]) -> None:
    """Say what is to be put right, on standard error, whatever the format of the report; once for each in `told`."""
    for warning in (warning for result in report.checks for warning in result.warnings):
        if warning not in told:
            click.echo(f"verifl-audit: warning: {warning}", err=True)
        told.add(warning)


class _Place(click.Path):
    """A directory, or the address of one: that stays text, in which // are two slashes."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's, but for addresses."""
        is_address = isinstance(value, str) and value.lower().startswith(("https://", "http://"))
        return value if is_address else super().convert(value, param, ctx)


class _PolicyFile(click.Path):
    """A file; an address pins nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As click's, but for addresses."""
        if isinstance(value, str) and value.lower().startswith(("https://", "http://")):
            self.fail(
                f"{value}: a pinned policy is a file of your own, not what a server has at the moment", param, ctx
            )
        return super().convert(value, param, ctx)


PLACE, POLICY_FILE = _Place(path_type=Path), _PolicyFile(path_type=Path)


def web_options(function: Function) -> Function:
    """How a transcript at an address is read."""
    plain = "Read an address that begins with http://, too. What is read is no secret, but can be changed on the way."
    function = click.option("--plain-http", is_flag=True, help=plain)(function)
    what = "Certificates (PEM) to trust for an address, in place of the system's."
    return click.option("--ca-file", type=click.Path(path_type=Path), metavar="FILE", help=what)(function)


def _policy_options(unpinned: str) -> Callable[[Function], Function]:
    def decorate(function: Function) -> Function:
        function = click.option("--unpinned", is_flag=True, help=unpinned)(function)
        return click.option("--policy", type=POLICY_FILE, help="The policy you pinned at enrolment.")(function)

    return decorate


def format_option(function: Function) -> Function:
    """How a report is written."""
    forms = click.Choice(["txt", "json", "jsonl"])
    return click.option("--format", "form", type=forms, default="txt", show_default=True)(function)


@click.command("compare", AuditorCommand, context_settings=SETTINGS, short_help="Two copies: one history, or a fork.")
@click.argument("first", metavar="A", type=PLACE)
@click.argument("second", metavar="B", type=PLACE)
@_policy_options("Take the policy from A, and say so.")
@web_options
@format_option
def compare_command(
    first: Path | str,
    second: Path | str,
    policy: Path | None,
    unpinned: bool,
    ca_file: Path | None,
    plain_http: bool,
    form: str,
) -> None:
    """Compare two copies A and B of one federation's transcript, each a directory or an https address.

    Exit status: 0 one continues the other, 1 a fork, shown with the two signed checkpoints, or a copy that is damaged
    or of another federation, 2 usage or IO. This is no audit: it shows which history was signed, not that it is right.
    A fork is evidence against the holder of the log's key, however few trustees cosigned it, and against those who
    cosigned both.
    """
    from auditor.arguments import located
    from auditor.comparison import compare, text

    if (policy is None) == (not unpinned):
        raise click.UsageError("give either --policy FILE, the policy you pinned at enrolment, or --unpinned")
    with reporting():
        ours, theirs = located(first, ca_file, plain_http), located(second, ca_file, plain_http)
        pinned, believed = _open_policy(policy, ours)
        found = compare(ours, theirs, pinned, believed)
        write_report(form, found.to_dict(), text(found), found.events())
    sys.exit(ACCEPTED if found.outcome is Outcome.ACCEPTED else REJECTED)


@click.command("receipt", AuditorCommand, context_settings=SETTINGS, short_help="A client's proof that it was heard.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--transcript", type=PLACE, help="Check that this directory, or address, contains it, too.")
@_policy_options("With --transcript: take the policy from the transcript, and say so.")
@web_options
@format_option
def receipt_command(
    file: Path,
    transcript: Path | str | None,
    policy: Path | None,
    unpinned: bool,
    ca_file: Path | None,
    plain_http: bool,
    form: str,
) -> None:
    """Check the receipt in FILE: that a client's submission is in the cosigned log, and what became of it.

    Exit status: 0 it holds, and the transcript contains it; 1 it does not hold, or the transcript is not the log that
    it is from; 2 usage or IO.
    """
    from auditor.arguments import located
    from auditor.receipts import check_receipt, text
    from protocols.receipts import RECEIPT_LIMIT

    if unpinned and transcript is None:
        raise click.UsageError(
            "a receipt does not hold the policy: --unpinned needs --transcript DIR to take it from; "
            "or give --policy FILE, the policy pinned at enrolment"
        )
    if (policy is None) == (not unpinned):
        raise click.UsageError(
            "give either --policy FILE, the policy pinned at enrolment, or --transcript and --unpinned"
        )
    with reporting():
        data = read_at_most(file, RECEIPT_LIMIT)
        place = None if transcript is None else located(transcript, ca_file, plain_http)
        pinned, believed = _open_policy(policy, place)
        found = check_receipt(file, data, pinned, place, believed)
        write_report(form, found.to_dict(), text(found), [{"event": "receipt", **found.to_dict()}])
    sys.exit(ACCEPTED if found.accepted else REJECTED)


@click.command("follow", AuditorCommand, context_settings=SETTINGS, short_help="Audit while the federation runs.")
@click.argument("transcript", type=PLACE)
@click.option("--policy", type=POLICY_FILE, required=True, help="The policy you pinned at enrolment.")
@click.option("--state", "file", type=click.Path(path_type=Path), help="[default: one a policy, in the user's state]")
@click.option("--once", is_flag=True, help="Audit once, and end.")
@click.option("--interval", type=click.FloatRange(0.1, 86400), default=10.0, show_default=True, metavar="SECONDS")
@page_options
@web_options
@format_option
@click.option("--workers", type=click.IntRange(1, 256), help="Threads. [default: one per core]")
def follow_command(
    transcript: Path | str,
    policy: Path,
    file: Path | None,
    once: bool,
    interval: float,
    html: Path | None,
    graphs: tuple[int, ...],
    metrics: Path | None,
    ca_file: Path | None,
    plain_http: bool,
    form: str,
    workers: int | None,
) -> None:
    """Audit TRANSCRIPT, a directory or an https address, while its federation runs, again for each new checkpoint,
    until interrupted, or until nobody reads what it writes any longer. A server that cannot be reached is asked again.

    Between audits a state file keeps the last checkpoint that was accepted, and which proofs are verified. Exit
    status: 0 everything so far was accepted, 1 it is wrong, rolled back or forked, 2 usage or IO. Each audit writes one
    document of JSON, or its own JSON lines, of which the last is the event "follow".
    """
    from auditor.arguments import located
    from auditor.following import default_state, load_state

    with reporting():
        place = located(transcript, ca_file, plain_http)
        pinned, _ = _open_policy(policy, None)
        file = file or default_state(pinned)
        pager = Pager.of(html, graphs, metrics, (place,), (policy, file))
        try:
            state = load_state(file)
        except Malformed as error:
            raise Misuse(f"{file}: no state of a follower: {error}; removing it forgets what was accepted") from None
        click.echo(f"state in {file}: {_described(state)}", err=True)
        _follow(_Following(place, policy, pinned, file, form, workers, pager), state, once, interval)


@click.command("schema", AuditorCommand, context_settings=SETTINGS, short_help="The form of a report in JSON.")
@click.option("--lines", is_flag=True, help="Of a line of --format jsonl, in the place of --format json.")
def schema_command(lines: bool) -> None:
    """Print the JSON Schema of an audit's report (draft 2020-12).

    Later versions may add fields; none goes, or comes to mean something else.
    """
    from auditor.reports.schema import events_schema, report_schema

    click.echo(json.dumps(events_schema() if lines else report_schema(), indent=2))


@dataclass(frozen=True)
class _Following:
    """What stays the same while a transcript is followed."""

    transcript: Path | Remote
    policy: Path
    pinned: PinnedPolicy
    file: Path
    form: str
    workers: int | None
    pager: Pager | None = None
    told: set[str] = field(default_factory=set)  # warnings

    def audit(self, state: FollowState | None) -> FollowState:
        """Audit once, say what came of it, and keep the new state; ends the command where it is no yes."""
        from auditor.arguments import web_words
        from auditor.following import follow, nothing_audited, save_state, text

        started = time.perf_counter()
        course = None if self.pager is None else self.pager.graphs
        found = follow(self.transcript, self.pinned, state, workers=self.workers, course=course)
        again = ["verifl-audit", str(self.transcript), *web_words([self.transcript]), "--policy", str(self.policy)]
        lines = text(found, time.perf_counter() - started, again)
        if found.report is not None:
            warn(found.report, self.told)
        if self.pager is not None:
            report = found.report or nothing_audited(self.transcript, self.pinned)
            self.pager.write(report, again, found=found)
        write_report(self.form, found.to_dict(), lines, found.events())
        if found.state is None:
            sys.exit(REJECTED)
        save_state(self.file, found.state)
        return found.state


def _follow(what: _Following, state: FollowState | None, once: bool, interval: float) -> None:
    from auditor.arguments import require_transcript
    from auditor.following import latest_note
    from protocols.log.connection import Unreachable

    if state is None and (
        once or (isinstance(what.transcript, Path) and what.transcript.is_file())
    ):  # else one may yet appear
        require_transcript(what.transcript)
    while True:
        try:
            note = latest_note(what.transcript)
            if once or _is_new(note, state):
                state = what.audit(state)
        except Unreachable as error:
            if once:
                raise
            click.echo(f"verifl-audit: cannot read {error.filename}: {error.strerror}; asked again", err=True)
        if once or not _waited(interval):
            sys.exit(ACCEPTED if state is not None else UNUSABLE)


def _waited(seconds: float) -> bool:
    """Wait this long; False once somebody interrupts it, or nobody reads what is written any longer."""
    try:
        return is_read(seconds)
    except KeyboardInterrupt:
        return False


def _is_new(note: bytes | None, state: FollowState | None) -> bool:
    """Whether there is something to audit; a checkpoint that is gone is, one that was not yet there is not."""
    return note is not None if state is None else note != state.note


def _described(state: FollowState | None) -> str:
    return "nothing accepted yet" if state is None else f"{state.head.head.size} entries accepted"


def _open_policy(policy: Path | None, transcript: Path | Remote | None) -> tuple[PinnedPolicy, str | None]:
    """The policy, and its hash where it was taken from the transcript."""
    from auditor.arguments import no_policy, read_policy, require_transcript
    from protocols.log.reader import TranscriptReader
    from protocols.pinned import PinnedPolicy

    if policy is not None:
        try:
            return PinnedPolicy.open(read_policy(policy)), None
        except (Malformed, Rejected) as error:
            raise no_policy(policy, error) from None
    if transcript is None:
        raise Misuse("policy: a file, or a transcript to take it from")
    require_transcript(transcript)
    pinned = PinnedPolicy.open(TranscriptReader(transcript).policy())
    return pinned, pinned.hash.hex()


def read_at_most(file: Path, limit: int) -> bytes:
    """A file's bytes, at most one more than it may have."""
    with file.open("rb") as stream:
        return stream.read(limit + 1)


def write_report(form: str, plain: dict[str, Any], lines: Iterable[str], events: Iterable[dict[str, Any]]) -> None:
    """A report in one of its three forms: one document of JSON, lines of text, or of JSON."""
    if form == "jsonl":
        lines = map(json.dumps, events)
    click.echo(json.dumps(plain, indent=2) if form == "json" else "\n".join(lines))


@contextmanager
def reporting() -> Iterator[None]:
    """Status 2 for what cannot be done, 1 for what a file says wrongly, each with one line on standard error."""
    try:
        yield
    except OSError as error:
        name = "" if error.filename is None else f" {error.filename}"
        end(UNUSABLE, f"cannot read or write{name}: {error.strerror or error}")
    except Misuse as error:
        end(UNUSABLE, str(error))
    except (Malformed, Rejected) as error:
        end(REJECTED, f"rejected: {error}")
