"""`verifl init`: an example to begin with."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from proofs.machine.command_line import command_name
from verifl.commands.shared import OK, PATH


@click.command()
@click.argument("directory", type=PATH)
def init(directory: Path) -> int:
    """Write an example config.toml and task.py.

    Both are commented and run as they are; DIRECTORY is made if needed, and nothing in it is overwritten.
    """
    from verifl.commands.scaffold import write_example

    config, task = write_example(directory)
    click.echo(f"wrote {config}, the configuration")
    click.echo(f"wrote {task}, your model, data and training loop: an example that runs as it is")
    verifl = command_name("verifl")
    click.echo(f"next: {shlex.join([verifl, 'plan', str(config)])}")
    click.echo(f"then: {shlex.join([verifl, 'run', str(config), '--out', str(directory / 'out')])}")
    return OK
