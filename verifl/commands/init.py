"""`verifl init`: an example to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from proofs.machine.command_line import command_name
from verifl.commands.shared import OK, PATH


@click.command()
@click.argument("directory", type=PATH)
@click.option("--role", type=click.Choice(["coordinator", "trustee", "client"]), help="Write the file of such a party.")
def init(directory: Path, role: str | None) -> int:
    """Write an example config.toml and task.py.

    Both are commented and run as they are; DIRECTORY is made if needed, and nothing in it is overwritten. With --role
    it is one file, for a party in a process of its own: what its command is told.
    """
    from verifl.commands.scaffold import EXAMPLE, write_templates

    if role is not None:
        [path] = write_templates(directory, [f"{role}.toml"])
        click.echo(f"wrote {path}, what `verifl {role} run` is told")
        click.echo(f"next: edit it, then: {shlex.join([command_name('verifl'), role, 'run', '--config', str(path)])}")
        return OK
    config, task = write_templates(directory, EXAMPLE)
    click.echo(f"wrote {config}, the configuration")
    click.echo(f"wrote {task}, your model, data and training loop: an example that runs as it is")
    verifl = command_name("verifl")
    click.echo(f"next: {shlex.join([verifl, 'plan', str(config)])}")
    click.echo(f"then: {shlex.join([verifl, 'run', str(config), '--out', str(directory / 'out')])}")
    return OK
