"""The command `verifl-audit`: exit status 0 accepted, 1 rejected, 2 usage or IO, the same in every format."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.arguments import located, web_words
from auditor.auditing import Progress, audit, version
from auditor.commands import (
    PLACE,
    POLICY_FILE,
    AuditorCommand,
    compare_command,
    end,
    follow_command,
    receipt_command,
    schema_command,
    warn,
    web_options,
)
from auditor.packing import pack_command, unpack_command
from auditor.paging import Pager, page_options
from auditor.signing import Signer, keygen_command, require_signer, verify_statement_command
from proofs.errors import Misuse
from protocols.audit_checks import AUDIT_CHECKS
from protocols.log.connection import Remote

if TYPE_CHECKING:
    from auditor.reports.report import Report

ACCEPTED, REJECTED, UNUSABLE = 0, 1, 2
FURTHER = (
    compare_command,
    receipt_command,
    follow_command,
    pack_command,
    unpack_command,
    keygen_command,
    verify_statement_command,
    schema_command,
)
COMMANDS = {str(command.name): command for command in FURTHER}
FILE = click.Path(path_type=Path)


class AuditCommand(AuditorCommand):
    """The audit; but the further commands, where the first argument is the name of one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`; a further command runs here, and ends the process."""
        command = COMMANDS.get(args[0]) if args else None
        if command is not None:
            command.main(args[1:], prog_name=f"{ctx.info_name} {command.name}")
        return super().parse_args(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """See `click.Command.format_epilog`."""
        with formatter.section("Further commands, each with its own --help"):
            formatter.write_dl([(name, command.get_short_help_str(80)) for name, command in COMMANDS.items()])
        formatter.write_paragraph()
        formatter.write_text(f"A directory of such a name is given as ./{', ./'.join(COMMANDS)}.")


class _Check(click.Choice[str]):
    """The number of a check, in letters of either case."""

    def __init__(self) -> None:
        super().__init__(AUDIT_CHECKS.names)

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As click's, which would list the choices in lower case."""
        return super().convert(value.upper(), param, ctx)


@click.command("verifl-audit", cls=AuditCommand, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("transcript", type=PLACE)
@click.option("--policy", type=POLICY_FILE, help="The policy you pinned at enrolment.")
@click.option("--unpinned", is_flag=True, help="Take the policy from the transcript itself, and say what that trusts.")
@click.option(
    "--previous",
    multiple=True,
    type=PLACE,
    help="The transcript of the federation that this one continues; then of the one before that. Repeatable.",
)
@click.option("--format", "form", type=click.Choice(["txt", "json", "jsonl"]), default="txt", show_default=True)
@click.option("--workers", type=click.IntRange(1, 256), help="Threads. [default: one per core]")
@click.option(
    "--require",
    multiple=True,
    metavar="CHECK",
    type=_Check(),
    help="Fail if this check ends as skipped, e.g. I9. Repeatable; adds to the policy's own list.",
)
@click.option("--engine", type=click.Choice(["native", "reference"]), default="native", show_default=True)
@click.option("--explain", metavar="PARTY", help="Tell the story of a client, a trustee or the coordinator, too.")
@click.option("--statement", type=FILE, help="Sign what came of the audit, with --key, into this file.")
@click.option("--key", type=FILE, help="The key file that `verifl-audit keygen` made.")
@click.option("--passphrase-file", type=FILE, help="The passphrase of the key is the first line of this file.")
@page_options
@web_options
@click.version_option(version(), prog_name="verifl-audit")
def main(
    transcript: Path | str,
    policy: Path | None,
    unpinned: bool,
    previous: tuple[Path | str, ...],
    form: str,
    workers: int | None,
    require: tuple[str, ...],
    engine: str,
    explain: str | None,
    statement: Path | None,
    key: Path | None,
    passphrase_file: Path | None,
    html: Path | None,
    graphs: tuple[int, ...],
    metrics: Path | None,
    ca_file: Path | None,
    plain_http: bool,
) -> None:
    """Audit the published TRANSCRIPT of a federation: a directory, its https address, or what `pack` made of it.

    Exit status: 0 accepted, 1 rejected, 2 the audit could not run.
    """
    if (policy is None) == (not unpinned):
        raise click.UsageError("give either --policy FILE, the policy you pinned at enrolment, or --unpinned")
    require_signer(statement, key, unpinned)
    progress = _progress()
    try:
        with closing(progress):
            place = located(transcript, ca_file, plain_http)
            signer = None if statement is None or key is None else Signer.of(statement, key, passphrase_file, place)
            former = [located(each, ca_file, plain_http) for each in previous]
            pager = Pager.of(html, graphs, metrics, (place, *former), (policy, statement, key))
            course = None if pager is None else graphs
            report = audit(place, policy, require, workers, engine, progress, explain, previous=former, course=course)
    except OSError as error:
        name = error.filename if error.filename is not None else transcript
        end(UNUSABLE, f"cannot read {name}: {error.strerror or error}")
    except Misuse as error:
        end(UNUSABLE, str(error))
    from auditor.reports.text import write

    warn(report, set())
    again = _again(place, policy, former, require, engine, explain)
    trouble = _files(report, signer, pager, again)
    try:
        write(report, form, again)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered can go nowhere else
        end(UNUSABLE, f"cannot write the report: {error.strerror or error}")
    if trouble:
        end(UNUSABLE, trouble)
    sys.exit(ACCEPTED if report.accepted else REJECTED)


def _files(report: Report, signer: Signer | None, pager: Pager | None, again: list[str]) -> str:
    """Write statement and page, if any. Returns why one could not be written: the report is told all the same."""
    try:
        digest = "" if signer is None else signer.sign(report)
        if pager is not None:
            pager.write(report, again, statement=digest)
    except OSError as error:
        return f"cannot write {error.filename or 'what goes beside the report'}: {error.strerror or error}"
    except Misuse as error:
        return str(error)
    return ""


def _again(
    transcript: Path | Remote,
    policy: Path | None,
    previous: list[Path | Remote],
    require: tuple[str, ...],
    engine: str,
    explain: str | None,
) -> list[str]:
    command = ["verifl-audit", str(transcript), *web_words([transcript, *previous])]
    command += ["--unpinned"] if policy is None else ["--policy", str(policy)]
    for place in previous:
        command += ["--previous", str(place)]
    for number in require:
        command += ["--require", number]
    if explain is not None:
        command += ["--explain", explain]
    return command if engine == "native" else [*command, "--engine", engine]


class _Lines(Progress):
    """One line on standard error as each check starts."""

    def check(self, number: str, title: str) -> None:
        click.echo(f"{number:<4} {title} ...", err=True)


class _Bar(Progress):
    """A line that is rewritten on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True).status("opening the transcript")
        self._status.start()
        self._title = ""

    def check(self, number: str, title: str) -> None:
        self._title = f"{number} {title}"
        self._status.update(self._title)

    def step(self, done: int, total: int) -> None:
        self._status.update(f"{self._title}  {done}/{total}")

    def close(self) -> None:
        self._status.stop()


def _progress() -> Progress:
    return _Bar() if sys.stderr.isatty() else _Lines()
