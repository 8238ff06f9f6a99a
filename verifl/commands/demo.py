"""`verifl demo`: several sites on real data, and the audit of what they did."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifl.built_in import BUILT_IN_TASKS, FIRST, PRIVATE_DATASET
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
    from verifl.adversaries.injections import Injection

DELTA, COLLUDING = 1e-5, 2  # of a demonstration with noise


@click.command()
@click.option("--out", type=PATH, help="Where to write; by default ./verifl-demo, or the next number that is free.")
@click.option(
    "--dataset",
    type=click.Choice(BUILT_IN_TASKS.names),
    help=f"By default {FIRST}, with --epsilon {PRIVATE_DATASET}.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=4, show_default=True)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True, help="Of training only.")
@click.option(
    "--clients",
    type=click.IntRange(5, 100),
    help="Sites that the data is split among, by default 8; a sum takes 5 of them. With --epsilon 24, and a sum takes "
    "five sixths of them.",
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
@click.option(
    "--epsilon",
    type=click.FloatRange(min=0, max=1024, min_open=True),
    metavar="X",
    help=f"Add noise: differential privacy of each site, with delta {DELTA:g}, if no more than {COLLUDING} sites of a "
    "sum tell their noise. For example 8, for which a linear model of many sites learns.",
)
@inject_option
@device_option
@log_format_option
@log_level_option
@format_option
def demo(
    out: Path | None,
    dataset: str | None,
    rounds: int,
    seed: int,
    clients: int | None,
    coordinate_bound: float | None,
    weights: str,
    epsilon: float | None,
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

    chosen = Demonstration.of(dataset, rounds, seed, clients, coordinate_bound, weights, epsilon)
    return run_demo(out, chosen, device, style, (log_format, log_level), carrier_with(inject))
