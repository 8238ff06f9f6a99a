"""The `verifl` command. Exit status: 0 done, 1 rejected or failed, 2 usage, configuration or IO; 130 interrupted.

Reports go to stdout, progress and errors to stderr. Imports of torch, numpy and the rest wait until a command needs
them, so that `--help` is immediate.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from proofs import VERSION
from proofs.errors import Misuse, VeriflError
from verifl.bench.command import bench
from verifl.keys_command import keys, passphrase_option, passphrase_source
from verifl.roster_command import roster

OK, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

_format = click.option(
    "--format", "style", type=click.Choice(["txt", "json", "jsonl"]), default="txt", show_default=True,
    help="Form of the report on stdout.",
)  # fmt: skip
_device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True,
    help="Where to train and to sum ciphertexts; the transcript does not depend on it.",
)  # fmt: skip
_path = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="verifl")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
def cli(debug: bool) -> None:
    """Federated learning whose every round anybody can verify afterwards."""
    del debug  # read by `invoke`, which sees errors that come before the group runs, too


@cli.command()
@click.option("--out", type=_path, help="Where to write; by default ./verifl-demo, or the next number that is free.")
@click.option("--dataset", type=click.Choice(["breast-cancer", "digits"]), default="breast-cancer", show_default=True)
@click.option("--rounds", type=click.IntRange(1, 1000), default=4, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of training only.")
@_device
@_format
def demo(out: Path | None, dataset: str, rounds: int, seed: int, device: str, style: str) -> int:
    """Train 8 sites on real data, then audit.

    With 5 trustees of whom 2 may be corrupt and 4 open each sum. Writes a fresh directory and prints the report of
    the audit, what was written where, and the command that audits it again.
    """
    from verifl.demo import run_demo

    return run_demo(out, dataset, rounds, seed, device, style)


@cli.command()
@click.argument("directory", type=_path)
def init(directory: Path) -> int:
    """Write an example config.toml and task.py.

    Both are commented and run as they are; DIRECTORY is made if needed, and nothing in it is overwritten.
    """
    from verifl.scaffold import write_example

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
@_device
@_format
def run(
    config: Path,
    out: Path,
    policy_file: Path | None,
    folder: Path | None,
    passphrase_file: Path | None,
    device: str,
    style: str,
) -> int:
    """Run the federation that CONFIG describes.

    Writes its policy, transcript, model, metrics and the parties' state to --out. Without --policy it makes all keys
    and signs the policy itself.
    """
    from verifl.config import read_config
    from verifl.federation import Federation, report_run
    from verifl.progress import console_progress
    from verifl.roster_command import read_members
    from verifl.tasks.loading import load_task

    settings = read_config(config)
    members = read_members(policy_file, folder, passphrase_source(passphrase_file))
    with console_progress() as progress:
        task = load_task(settings, config.parent)
        result = Federation(task, settings, out, device=device, progress=progress, members=members).run()
    report_run(result, style)
    return OK


@cli.command()
@click.argument("config", type=_path)
@_format
def plan(config: Path, style: str) -> int:
    """Show what CONFIG means and costs.

    The bit budget, every inequality with its numbers, and the bytes of a submission, before anybody trains.
    """
    from verifl.config import read_config
    from verifl.plan import describe_plan, make_plan
    from verifl.tasks.loading import load_task

    settings = read_config(config)
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
    from verifl.policy_report import describe_policy, policy_dict, read_policy

    planned = read_policy(file)
    click.echo(describe_policy(planned) if style == "txt" else _dump(policy_dict(planned), style))
    return OK if not planned.failed else FAILED


cli.add_command(bench)
cli.add_command(keys)
cli.add_command(roster)


def _dump(document: dict[str, Any], style: str) -> str:
    return json.dumps(document, indent=2 if style == "json" else None, allow_nan=False)


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; every error is one line on stderr."""
    try:
        status = cli.main(list(arguments), prog_name="verifl", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return UNUSABLE
    except (click.Abort, KeyboardInterrupt):
        click.echo("verifl: interrupted", err=True)
        return INTERRUPTED
    except (click.ClickException, VeriflError, OSError, ModuleNotFoundError) as error:
        if "--debug" in arguments:
            raise
        click.echo(f"verifl: {_one_line(error)}", err=True)
        return FAILED if isinstance(error, VeriflError) and not isinstance(error, Misuse) else UNUSABLE
    return status if isinstance(status, int) else OK


def _one_line(error: Exception) -> str:
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx else "verifl"
        return f"{' '.join(error.format_message().split())} (see `{command} --help`)"
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
