"""`verifl policy`: the policy that everybody pins."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.shared import (
    FAILED,
    OK,
    PATH,
    dump,
    format_option,
)


@click.group()
def policy() -> None:
    """Look at the policy that everybody pins."""


@policy.command()
@click.argument("file", type=PATH)
@format_option
def show(file: Path, style: str) -> int:
    """Show the signed policy in FILE.

    Its hash, parties and bounds, and whether its conditions hold. FILE may be the directory of a run.
    """
    from verifl.planning.plan import read_policy
    from verifl.reports.policy import describe_policy, policy_dict

    planned = read_policy(file)
    click.echo(describe_policy(planned) if style == "txt" else dump(policy_dict(planned), style))
    return OK if not planned.failed else FAILED
