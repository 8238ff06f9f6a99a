"""`verifl plan`: what a configuration means and costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from verifl.commands.shared import (
    OK,
    PATH,
    dump,
    format_option,
)


@click.command()
@click.argument("config", type=PATH)
@format_option
def plan(config: Path, style: str) -> int:
    """Show what CONFIG means and costs.

    The bit budget, every coordinate's bound, every inequality with its numbers, the bytes of a submission, and what the
    other options would cost and guarantee, before anybody trains.
    """
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.planning.measured import measurement_path, read_measurement
    from verifl.planning.plan import make_plan
    from verifl.planning.proposals import measured_notes
    from verifl.reports.plan import describe_plan
    from verifl.tasks.loading import load_task

    settings = read_config(config)
    with printing_to_stderr():
        planned = make_plan(load_task(settings, config.parent), settings)
    told = measured_notes(planned.policy, read_measurement(measurement_path(config)))
    planned = replace(planned, notes=(*planned.notes, *told))
    click.echo(describe_plan(planned) if style == "txt" else dump(planned.to_dict(), style))
    planned.require()
    return OK
