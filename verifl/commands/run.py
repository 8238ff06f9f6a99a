"""`verifl run`: a federation, from its configuration to a model and a transcript."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proofs.errors import Misuse, VeriflError
from proofs.machine.command_line import command_name
from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import (
    FAILED,
    OK,
    PATH,
    approvals_option,
    carrier_with,
    device_option,
    format_option,
    initial_option,
    inject_option,
    log_format_option,
    log_level_option,
)

if TYPE_CHECKING:
    from verifl.adversaries.injections import Injection
    from verifl.federation import Federation


@click.command()
@click.argument("config", type=PATH)
@click.option("--out", type=PATH, required=True, help="A new or empty directory.")
@click.option("--policy", "policy_file", type=PATH, help="The policy that the issuer signed; needs --keys.")
@click.option("--keys", "folder", type=PATH, help="A directory with the key files (*.pem) of the policy's parties.")
@passphrase_option
@approvals_option
@initial_option
@click.option(
    "--change",
    "change_files",
    type=PATH,
    multiple=True,
    help="A rotation or revocation, to be logged before the next round; may be repeated.",
)
@click.option("--resume", is_flag=True, help="Go on where a run into --out was killed or failed.")
@click.option(
    "--train-on", "devices", multiple=True, metavar="DEVICE",
    help="Train clients in a process of their own on this device (cpu, cuda:0, ...); repeatable, each is one process.",
)  # fmt: skip
@inject_option
@device_option
@log_format_option
@log_level_option
@format_option
def run(
    config: Path,
    out: Path,
    policy_file: Path | None,
    folder: Path | None,
    passphrase_file: Path | None,
    approvals: Path | None,
    initial: Path | None,
    change_files: tuple[Path, ...],
    resume: bool,
    devices: tuple[str, ...],
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
    from protocols.envelopes import open_policy
    from verifl.commands.results import report_run
    from verifl.commands.roster import read_issued
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.enrolment.changes import read_change
    from verifl.enrolment.pins import check_pins
    from verifl.federation import Federation
    from verifl.reports.logs import logged
    from verifl.storage.run_directory import RunDirectory
    from verifl.tasks.loading import load_task
    from verifl.training.initial_files import started_from
    from verifl.training.workers import Apart

    settings = read_config(config)
    issued = read_issued(policy_file, folder, passphrase_source(passphrase_file), approvals)
    changes = [read_change(path) for path in change_files]
    if changes and inject:
        raise Misuse("--inject and --change: parties that misbehave follow no changes; choose one of the two")
    if devices and inject:
        raise Misuse("--inject and --train-on: parties that misbehave train where they are; choose one of the two")
    if resume and inject:
        raise Misuse("--inject and --resume: parties that misbehave do not go on after a kill; choose another --out")
    if inject and RunDirectory(out).resumable:
        raise Misuse(f"{out}: holds a run already, and misbehaviour begins with a run; choose another --out")
    federation: Federation | None = None
    try:
        with logged(log_format, log_level) as progress, printing_to_stderr():
            if issued is not None:
                check_pins(open_policy(issued.policy_file)[0], settings, config.parent, initial)
            task = load_task(settings, config.parent)
            federation = Federation(
                task if initial is None else started_from(task, initial),
                settings,
                out,
                device=device,
                progress=progress,
                carrier=carrier_with(inject),
                issued=issued,
                changes=changes,
                apart=Apart(devices, config.parent, initial) if devices else None,
                promise="" if inject else "interrupted or killed at any time, it goes on with --resume",
            )
            result = federation.run(resume)
    except BaseException as error:
        if _may_go_on(federation, error, resume) and RunDirectory(out).resumable and not inject:
            given = {"passphrase-file": passphrase_file, "approvals": approvals, "initial": initial}
            command = _resumption(config, out, policy_file, folder, given, change_files, device, devices)
            first = "once that is put right, " if isinstance(error, VeriflError) else ""
            error.add_note(f"nothing is lost: {first}`{command}` goes on from there")
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(out)  # the system does not say which file it could not write
        raise
    report_run(result, style)
    return OK if result.ended is None else FAILED


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
    given: Mapping[str, Path | None],
    changes: Sequence[Path],
    device: str,
    devices: Sequence[str],
) -> str:
    """The command that goes on with a run. given: files by the names of their options."""
    options = ["--policy", str(policy_file), "--keys", str(folder)] if policy_file and folder else []
    options += [word for name, path in given.items() if path for word in (f"--{name}", str(path))]
    options += [word for path in changes for word in ("--change", str(path))]
    options += ["--device", device] if device != "auto" else []
    options += [word for name in devices for word in ("--train-on", name)]
    return shlex.join([command_name("verifl"), "run", str(config), "--out", str(out), *options, "--resume"])
