"""`verifl policy`: the policy that everybody pins."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import (
    FAILED,
    OK,
    PATH,
    dump,
    format_option,
)


@click.group()
def policy() -> None:
    """Look at the policy that everybody pins, and approve it."""


@policy.command()
@click.argument("file", type=PATH)
@format_option
def show(file: Path, style: str) -> int:
    """Show the signed policy in FILE.

    Its hash, parties and bounds, and whether its conditions hold. FILE may be the directory of a run.
    """
    from verifl.planning.plan import read_policy
    from verifl.reports.policy import describe_policy, policy_dict

    judged = read_policy(file)
    click.echo(describe_policy(judged) if style == "txt" else dump(policy_dict(judged), style))
    return OK if not judged.failed else FAILED


@policy.command()
@click.argument("file", type=PATH)
@click.option("--key", "key_file", type=PATH, required=True, help="The key file of the party that approves.")
@click.option("--sha256", help="What the issuer read out to you: refuse any other policy.")
@click.option("--config", "config_file", type=PATH, help="Your configuration: is its task file the one that is pinned?")
@click.option("--initial", type=PATH, help="The initial model that came with the policy: is it the one?")
@click.option("--out", type=PATH, required=True, help="A new file, for the coordinator.")
@passphrase_option
def approve(
    file: Path,
    key_file: Path,
    sha256: str | None,
    config_file: Path | None,
    initial: Path | None,
    out: Path,
    passphrase_file: Path | None,
) -> int:
    """Approve the policy in FILE, for the party whose key this is.

    Shows on stderr what is agreed to, as `verifl policy show` does. Refused where a condition of the policy fails,
    where it demands no approval of this key's, or is another than was read out, or pins another task file or initial
    model.
    """
    from protocols.key_files import read_key, write_new
    from verifl.enrolment.approvals import approval_by
    from verifl.enrolment.pins import check_known
    from verifl.planning.plan import read_policy
    from verifl.reports.policy import describe_policy

    judged = read_policy(file)
    judged.require()
    check_known(judged.pinned, sha256, config_file, initial)
    key = read_key(key_file, passphrase_source(passphrase_file))
    data = approval_by(judged.pinned, key)
    click.echo(describe_policy(judged), err=True)
    write_new(out, data, 0o644, "a signed approval is never overwritten")
    click.echo(f"wrote {out}: that you take part under all this; send it to the coordinator")
    return OK


@policy.command()
@click.argument("file", type=PATH)
@click.argument("approvals", nargs=-1, required=True, type=PATH)
@click.option("--out", type=PATH, required=True, help="A new file, for `--approvals`.")
def collect(file: Path, approvals: tuple[Path, ...], out: Path) -> int:
    """Put the APPROVALS of the policy in FILE together: those of all parties that it demands them of.

    What is written goes into the log, and the audit checks it.
    """
    from protocols.key_files import write_new
    from verifl.enrolment.approvals import gathered
    from verifl.planning.plan import read_policy

    pinned = read_policy(file).pinned
    write_new(out, gathered(pinned, approvals), 0o644, "approvals are not overwritten")
    click.echo(f"wrote {out}: {len(approvals)} approvals, all that the policy demands")
    return OK
