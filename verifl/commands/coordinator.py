"""`verifl coordinator`: the coordinator on a machine of its own. It sees no party but what that puts into its inbox."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import (
    FAILED,
    OK,
    PATH,
    device_option,
    key_option,
    log_format_option,
    log_level_option,
    policy_option,
    public_option,
    state_option,
)


@click.group()
def coordinator() -> None:
    """Run the rounds of a federation whose parties are elsewhere."""


@coordinator.command()
@click.argument("config", type=PATH)
@public_option
@state_option
@policy_option
@key_option
@passphrase_option
@device_option
@log_format_option
@log_level_option
def run(
    config: Path,
    public: Path,
    state: Path,
    policy_file: Path,
    key_file: Path | None,
    passphrase_file: Path | None,
    device: str,
    log_format: str,
    log_level: str,
) -> int:
    """Ask in the public directory, and take what the parties put there, until the rounds of CONFIG have closed.

    [deadlines] in CONFIG says how long it waits for whom. Model and metrics go to --state. Stopped by SIGTERM or
    Ctrl-C, or killed at any point, the same command goes on.
    """
    from contextlib import suppress

    from verifl.carriers.exchange.seat import taken_seat
    from verifl.carriers.exchange.serving import serve
    from verifl.carriers.exchange.stopping import Stopped, stopping_on_sigterm
    from verifl.carriers.exchange.training import prepared_training
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.reports.logs import logged

    settings = read_config(config)
    with (
        logged(log_format, log_level) as progress,
        printing_to_stderr(),
        suppress(Stopped),
        stopping_on_sigterm() as stop,
        taken_seat("coordinator", public, state, policy_file, key_file, passphrase_source(passphrase_file)) as seat,
    ):
        training, initial = prepared_training(settings, config.parent, seat.pinned.policy, device)
        ended = serve(seat, settings, training, initial, device, progress, stop)
        return OK if ended is None else FAILED
    return OK
