"""`verifl coordinator`: the coordinator on a machine of its own. It sees no party but what that puts into its inbox."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.parties import PartyOptions, attending, party_options
from verifl.commands.shared import FAILED, OK, PATH, device_option, initial_option


@click.group()
def coordinator() -> None:
    """Run the rounds of a federation whose parties are elsewhere."""


@coordinator.command()
@click.argument("config", type=PATH)
@party_options("coordinator")
@initial_option
@device_option
def run(config: Path, options: PartyOptions, initial: Path | None, device: str) -> int:
    """Ask in the public directory, and take what the parties put there, until the rounds of CONFIG have closed.

    [deadlines] in CONFIG says how long it waits for whom. It needs no task where --initial gives the model; then there
    are no metrics. Model and metrics go to --state. Stopped by SIGTERM or Ctrl-C, or killed at any point, the same
    command goes on.
    """
    from verifl.carriers.exchange.serving import serve
    from verifl.carriers.exchange.training import prepared_training
    from verifl.config import read_config

    settings, ended = read_config(config, needs_task=initial is None), None
    with attending(options) as here:
        training, start = prepared_training(settings, config.parent, here.seat.pinned.policy, device, initial)
        ended = serve(here.seat, settings, training, start, device, here.progress, here.stop)
    return OK if ended is None else FAILED
