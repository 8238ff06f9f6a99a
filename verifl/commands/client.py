"""`verifl client`: one client on a machine of its own. It trains where its data is."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.parties import PartyOptions, attending, party_options
from verifl.commands.shared import OK, PATH, device_option, initial_option


@click.group()
def client() -> None:
    """Take part as a client."""


@client.command()
@click.argument("config", type=PATH)
@party_options("client")
@initial_option
@device_option
def run(config: Path, options: PartyOptions, initial: Path | None, device: str) -> int:
    """Train for this client whenever a round is open, by the task that CONFIG names.

    CONFIG is the training configuration that the policy was signed for; of its task, data and train are called for
    this client alone. Its receipts and the newest model go to --state. Runs until it is stopped, by SIGTERM or Ctrl-C;
    killed at any point, the same command goes on.
    """
    from verifl.agents.clock import MachineClock
    from verifl.carriers.exchange.participant import reached
    from verifl.carriers.exchange.training import client_participant, prepared_training
    from verifl.config import read_config

    settings = read_config(config)
    with attending(options) as here:
        seat, progress = here.seat, here.progress
        training, _ = prepared_training(settings, config.parent, seat.pinned.policy, device, initial)
        participant = reached(
            lambda: client_participant(seat, training, progress, MachineClock()), here.stop, options.poll, options.once
        )
        progress.note(f"{seat.party.name} is ready")
        participant.run(here.stop, options.poll, options.once)
    return OK
