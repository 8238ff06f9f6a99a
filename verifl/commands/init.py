"""`verifl init`: an example to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.shared import (
    OK,
    PATH,
)


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
    click.echo(f"next: verifl plan {config}; verifl run {config} --out {directory / 'out'}")
    return OK
