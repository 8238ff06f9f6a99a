"""`verifl demo`: several sites on real data, and the audit of what they did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifl.built_in import BUILT_IN_TASKS, FIRST
from verifl.commands.shared import (
    PATH,
    carrier_with,
    device_option,
    format_option,
    inject_option,
    log_format_option,
    log_level_option,
)

if TYPE_CHECKING:
    from verifl.adversaries.registry import Injection


@click.command()
@click.option("--out", type=PATH, help="Where to write; by default ./verifl-demo, or the next number that is free.")
@click.option("--dataset", type=click.Choice(BUILT_IN_TASKS.names), default=FIRST, show_default=True)
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
@click.option(
    "--weights",
    default="equal",
    show_default=True,
    metavar="KIND",
    help="How much a site counts: `kind` of a configuration's [weights].",
)
@inject_option
@device_option
@log_format_option
@log_level_option
@format_option
def demo(
    out: Path | None,
    dataset: str,
    rounds: int,
    seed: int,
    clients: int,
    coordinate_bound: float | None,
    weights: str,
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

    chosen = Demonstration(dataset, rounds, seed, clients, coordinate_bound, weights)
    return run_demo(out, chosen, device, style, (log_format, log_level), carrier_with(inject))
