"""`verifl client`: one client on a machine of its own. It trains where its data is."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import (
    OK,
    PATH,
    device_option,
    key_option,
    log_format_option,
    log_level_option,
    once_option,
    policy_option,
    poll_option,
    public_option,
    state_option,
)


@click.group()
def client() -> None:
    """Take part as a client."""


@client.command()
@click.argument("config", type=PATH)
@public_option
@state_option
@policy_option
@key_option
@passphrase_option
@once_option
@poll_option
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
    once: bool,
    poll: float,
    device: str,
    log_format: str,
    log_level: str,
) -> int:
    """Train for this client whenever a round is open, by the task that CONFIG names.

    CONFIG is the training configuration that the policy was signed for; of its task, data and train are called for
    this client alone. Runs until it is stopped, by SIGTERM or Ctrl-C; killed at any point, the same command goes on.
    """
    from contextlib import suppress

    from protocols.rounds.proposals import OF_CLIENTS
    from verifl.agents.client import ClientAgent
    from verifl.carriers.exchange.participant import Participant, evidence_of
    from verifl.carriers.exchange.receipts import ReceiptKeeper
    from verifl.carriers.exchange.seat import taken_seat
    from verifl.carriers.exchange.stopping import Stopped, stopping_on_sigterm
    from verifl.carriers.exchange.training import ClientTurns, prepared_training
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.reports.logs import logged

    settings = read_config(config)
    with (
        logged(log_format, log_level) as progress,
        printing_to_stderr(),
        suppress(Stopped),
        stopping_on_sigterm() as stop,
        taken_seat("client", public, state, policy_file, key_file, passphrase_source(passphrase_file)) as seat,
    ):
        training, _ = prepared_training(settings, config.parent, seat.pinned.policy, device)
        agent = ClientAgent.open(seat.pinned, seat.party, training, evidence_of(seat.public, seat.party.name))
        turns, keeper = ClientTurns(agent, progress), ReceiptKeeper(seat.public, seat.pinned, agent)
        participant = Participant(seat.public, seat.pinned, agent.name, OF_CLIENTS, turns.answer, keeper.look)
        progress.note(f"{agent.name} is ready")
        if once:
            participant.look()
        else:
            participant.run(stop, poll)
    return OK
