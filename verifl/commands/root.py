"""The `verifl` command. Exit status: 0 done, 1 rejected or failed, 2 usage, configuration or IO; 130 interrupted.

Reports go to stdout, progress and errors to stderr. Imports of torch, numpy and the rest wait until a command needs
them, so that `--help` is immediate.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proofs import VERSION
from proofs.errors import Misuse, VeriflError
from proofs.machine.command_line import interruptible, usage_line
from verifl.commands.bench import bench
from verifl.commands.keys import keys, passphrase_option, passphrase_source
from verifl.commands.process_protection import protect_process
from verifl.commands.roster import roster

if TYPE_CHECKING:
    from verifl.adversaries.registry import Injection
    from verifl.carriers.base import FederationEngine
    from verifl.federation import Federation

OK, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
_WITH_SECRETS = ("demo", "run", "keys", "roster")

_format = click.option(
    "--format", "style", type=click.Choice(["txt", "json", "jsonl"]), default="txt", show_default=True,
    help="Form of the report on stdout.",
)  # fmt: skip
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Where to train and to sum ciphertexts; the transcript does not depend on it.",
)  # fmt: skip
_path = click.Path(path_type=Path)


def _injections(context: click.Context, _: click.Parameter, values: tuple[str, ...]) -> tuple[Injection, ...]:
    """`--inject` as values; `--inject list` prints the kinds and ends the command."""
    if not values:
        return ()
    from verifl.adversaries.registry import LIST, listing, parse_injection

    if LIST in values:
        click.echo(listing())
        context.exit(OK)
    return tuple(parse_injection(value) for value in values)


_inject = click.option(
    "--inject", multiple=True, metavar="KIND[:PARTY]", is_eager=True, callback=_injections,
    help="Let a party misbehave in round 2, to see what happens; repeatable. `--inject list` lists the kinds.",
)  # fmt: skip

_log_format = click.option(
    "--log-format", type=click.Choice(["txt", "json"]), default="txt", show_default=True,
    help="Form of what goes to stderr: for people, or one JSON object a line.",
)  # fmt: skip
_log_level = click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="The least that goes to stderr.",
)  # fmt: skip


class _Root(click.Group):
    """The command itself; Ctrl-C ends it with click.Abort, while options are read or after that."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with interruptible():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with interruptible():
            return super().invoke(ctx)


@click.group(cls=_Root, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="verifl")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
def cli(debug: bool) -> None:
    """Federated learning whose every round anybody can verify afterwards."""
    del debug  # read by `invoke`, which sees errors that come before the group runs, too
    if click.get_current_context().invoked_subcommand in _WITH_SECRETS:
        protect_process()


@cli.command()
@click.option("--out", type=_path, help="Where to write; by default ./verifl-demo, or the next number that is free.")
@click.option("--dataset", type=click.Choice(["breast-cancer", "digits"]), default="breast-cancer", show_default=True)
@click.option("--rounds", type=click.IntRange(1, 1000), default=4, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of training only.")
@click.option(
    "--clients",
    type=click.IntRange(5, 100),
    default=8,
    show_default=True,
    help="Sites that the data is split among; a sum takes 5 of them.",
)
@click.option(
    "--coordinate-bound",
    type=click.FloatRange(min=0, min_open=True),
    metavar="X",
    help="Also bound, and prove, every single coordinate of an update; it is cut there. For example 0.05.",
)
@_inject
@_device
@_log_format
@_log_level
@_format
def demo(
    out: Path | None,
    dataset: str,
    rounds: int,
    seed: int,
    clients: int,
    coordinate_bound: float | None,
    inject: tuple[Injection, ...],
    device: str,
    log_format: str,
    log_level: str,
    style: str,
) -> int:
    """Train several sites on real data, then audit.

    With 5 trustees of whom 2 may be corrupt and 4 open each sum. Writes a fresh directory and prints the report of
    the audit, what was written where, and the command that audits it again.
    """
    from verifl.commands.demonstration import Demonstration, run_demo

    chosen = Demonstration(dataset, rounds, seed, clients, coordinate_bound)
    return run_demo(out, chosen, device, style, (log_format, log_level), _engine(inject))


@cli.command()
@click.argument("directory", type=_path)
def init(directory: Path) -> int:
    """Write an example config.toml and task.py.

    Both are commented and run as they are; DIRECTORY is made if needed, and nothing in it is overwritten.
    """
    from verifl.commands.scaffold import write_example

    config, task = write_example(directory)
    click.echo(f"wrote {config}, the configuration")
    click.echo(f"wrote {task}, your model, data and training loop: an example that runs as it is")
    click.echo(f"next: verifl plan {config}; verifl run {config} --out {directory / 'out'}")
    return OK


@cli.command()
@click.argument("config", type=_path)
@click.option("--out", type=_path, required=True, help="A new or empty directory.")
@click.option("--policy", "policy_file", type=_path, help="The policy that the issuer signed; needs --keys.")
@click.option("--keys", "folder", type=_path, help="A directory with the key files (*.pem) of the policy's parties.")
@passphrase_option
@click.option(
    "--change",
    "change_files",
    type=_path,
    multiple=True,
    help="A rotation or revocation, to be logged before the next round; may be repeated.",
)
@click.option("--resume", is_flag=True, help="Go on where a run into --out was killed or failed.")
@_inject
@_device
@_log_format
@_log_level
@_format
def run(
    config: Path,
    out: Path,
    policy_file: Path | None,
    folder: Path | None,
    passphrase_file: Path | None,
    change_files: tuple[Path, ...],
    resume: bool,
    inject: tuple[Injection, ...],
    device: str,
    log_format: str,
    log_level: str,
    style: str,
) -> int:
    """Run the federation that CONFIG describes.

    Writes its policy, transcript, model, metrics and the parties' state to --out. Without --policy it makes all keys
    and signs the policy itself. With --resume, the same command goes on from the last complete step, however the run
    before it ended; if it had not begun, it begins.
    """
    from verifl.commands.roster import read_members
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.enrolment.changes import read_change
    from verifl.federation import Federation, report_run
    from verifl.reports.logs import logged
    from verifl.storage.run_directory import RunDirectory
    from verifl.tasks.loading import load_task

    settings = read_config(config)
    members = read_members(policy_file, folder, passphrase_source(passphrase_file))
    changes = [read_change(path) for path in change_files]
    if changes and inject:
        raise Misuse("--inject and --change: parties that misbehave follow no changes; choose one of the two")
    if resume and inject:
        raise Misuse("--inject and --resume: parties that misbehave do not go on after a kill; choose another --out")
    federation: Federation | None = None
    try:
        with logged(log_format, log_level) as progress, printing_to_stderr():
            federation = Federation(
                load_task(settings, config.parent),
                settings,
                out,
                device=device,
                progress=progress,
                engine=_engine(inject),
                members=members,
                changes=changes,
                promise="" if inject else "interrupted or killed at any time, it goes on with --resume",
            )
            result = federation.run(resume)
    except BaseException as error:
        if _may_go_on(federation, error, resume) and RunDirectory(out).resumable and not inject:
            command = _resumption(config, out, policy_file, folder, passphrase_file, change_files)
            error.add_note(f"nothing is lost: `{command}` goes on from there")
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(out)  # the system does not say which file it could not write
        raise
    report_run(result, style)
    return OK if result.ended is None else FAILED


@cli.command()
@click.argument("config", type=_path)
@_format
def plan(config: Path, style: str) -> int:
    """Show what CONFIG means and costs.

    The bit budget, every coordinate's bound, every inequality with its numbers, the bytes of a submission, and what the
    other options would cost and guarantee, before anybody trains.
    """
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.planning.plan import make_plan
    from verifl.reports.plan import describe_plan
    from verifl.tasks.loading import load_task

    settings = read_config(config)
    with printing_to_stderr():
        planned = make_plan(load_task(settings, config.parent), settings)
    click.echo(describe_plan(planned) if style == "txt" else _dump(planned.to_dict(), style))
    planned.require()
    return OK


@cli.group()
def policy() -> None:
    """Look at the policy that everybody pins."""


@policy.command()
@click.argument("file", type=_path)
@_format
def show(file: Path, style: str) -> int:
    """Show the signed policy in FILE.

    Its hash, parties and bounds, and whether its conditions hold. FILE may be the directory of a run.
    """
    from verifl.reports.policy import describe_policy, policy_dict, read_policy

    planned = read_policy(file)
    click.echo(describe_policy(planned) if style == "txt" else _dump(policy_dict(planned), style))
    return OK if not planned.failed else FAILED


cli.add_command(bench)
cli.add_command(keys)
cli.add_command(roster)


def _may_go_on(federation: Federation | None, error: BaseException, resume: bool) -> bool:
    """Whether the same command with --resume is what to do: not after a refusal, which says what else is to be done."""
    from verifl.tasks.user_code import ClientFailed

    if federation is None or not federation.began:
        return resume and isinstance(error, KeyboardInterrupt | OSError)
    return not (resume and isinstance(error, Misuse) and not isinstance(error.__cause__, ClientFailed))


def _resumption(
    config: Path,
    out: Path,
    policy_file: Path | None,
    folder: Path | None,
    passphrase_file: Path | None,
    changes: Sequence[Path],
) -> str:
    """The command that goes on with a run."""
    members = ["--policy", str(policy_file), "--keys", str(folder)] if policy_file and folder else []
    members += ["--passphrase-file", str(passphrase_file)] if passphrase_file else []
    members += [word for path in changes for word in ("--change", str(path))]
    return shlex.join(["verifl", "run", str(config), "--out", str(out), *members, "--resume"])


def _engine(injections: tuple[Injection, ...]) -> FederationEngine | None:
    """The engine in which these parties misbehave; None for the default one."""
    if not injections:
        return None
    from verifl.adversaries.engine import InjectedEngine

    return InjectedEngine(injections)


def _dump(document: dict[str, Any], style: str) -> str:
    return json.dumps(document, indent=2 if style == "json" else None, allow_nan=False)


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; every error is one line on stderr."""
    try:
        status = cli.main(list(arguments), prog_name="verifl", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return UNUSABLE
    except (click.Abort, KeyboardInterrupt) as error:
        _complain(arguments, "interrupted", error.__cause__ or error)
        return INTERRUPTED
    except (click.ClickException, VeriflError, OSError, ModuleNotFoundError) as error:
        if "--debug" in arguments:
            raise
        _complain(arguments, _one_line(error), error)
        return FAILED if isinstance(error, VeriflError) and not isinstance(error, Misuse) else UNUSABLE
    return status if isinstance(status, int) else OK


def _complain(arguments: Sequence[str], text: str, error: BaseException) -> None:
    """One line on stderr: what is wrong and what to do; as a log record where logs are JSON."""
    line = "; ".join([text, *getattr(error, "__notes__", [])])
    if "--log-format=json" in arguments or ("--log-format", "json") in pairwise(arguments):
        from verifl.reports.logs import json_line

        click.echo(json_line(time.time(), "error", line, {"event": "failed"}), err=True)
    else:
        click.echo(f"verifl: {line}", err=True)


def _one_line(error: Exception) -> str:
    if isinstance(error, click.UsageError):
        return usage_line(error, "verifl")
    if isinstance(error, ModuleNotFoundError):
        return f"this needs {error.name}, which is not installed: pip install 'verifl[federation]'"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'input/output'}: {error.strerror}"
    return " ".join(str(error).split())


def main() -> None:
    """Entry point of the `verifl` command."""
    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()
