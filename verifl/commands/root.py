"""The `verifl` command. Exit status: 0 done, 1 rejected or failed, 2 usage, configuration or IO; 130 interrupted.

Reports go to stdout, progress and errors to stderr. Imports of torch, numpy and the rest wait until a command needs
them, so that `--help` is immediate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import click

from proofs import VERSION
from proofs.errors import Misuse, VeriflError
from proofs.machine.command_line import interruptible, usage_line
from proofs.machine.installing import install_hint
from verifl.commands.bench import bench
from verifl.commands.client import client
from verifl.commands.coordinator import coordinator
from verifl.commands.demo import demo
from verifl.commands.exchange import exchange
from verifl.commands.export import export
from verifl.commands.init import init
from verifl.commands.keys import keys
from verifl.commands.measure import measure
from verifl.commands.plan import plan
from verifl.commands.policy import policy
from verifl.commands.process_protection import protect_process
from verifl.commands.prune import prune
from verifl.commands.rehearse import rehearse
from verifl.commands.roster import roster
from verifl.commands.run import run
from verifl.commands.shared import FAILED, INTERRUPTED, OK, UNUSABLE
from verifl.commands.status import status
from verifl.commands.trustee import trustee

_WITH_SECRETS = ("client", "coordinator", "demo", "exchange", "run", "keys", "rehearse", "roster", "status", "trustee")


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


for command in (
    bench, client, coordinator, demo, exchange, export, init, keys, measure, plan, policy, prune, rehearse, roster, run,
    status, trustee,
):  # fmt: skip
    cli.add_command(command)


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
        return f"this needs {error.name}, which is not installed: {install_hint('federation')}"
    if isinstance(error, OSError) and error.strerror:
        return " ".join(f"{error.filename or 'input/output'}: {error.strerror}".split())
    return " ".join(str(error).split())


def main() -> None:
    """Entry point of the `verifl` command."""
    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()
