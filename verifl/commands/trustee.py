"""`verifl trustee`: one trustee on a machine of its own. It needs neither torch nor anybody else's files."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import (
    OK,
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
def trustee() -> None:
    """Take part as a trustee."""


@trustee.command()
@public_option
@state_option
@policy_option
@key_option
@passphrase_option
@once_option
@poll_option
@log_format_option
@log_level_option
def run(
    public: Path,
    state: Path,
    policy_file: Path,
    key_file: Path | None,
    passphrase_file: Path | None,
    once: bool,
    poll: float,
    log_format: str,
    log_level: str,
) -> int:
    """Answer what the coordinator asks of this trustee, by the published log.

    Runs until it is stopped, by SIGTERM or Ctrl-C; killed at any point, the same command goes on.
    """
    from contextlib import suppress

    from protocols.rounds.proposals import OF_TRUSTEES
    from protocols.rounds.waits import Waits
    from verifl.agents.clock import CosignatureClock, seconds
    from verifl.agents.trustee import TrusteeAgent
    from verifl.carriers.exchange.participant import Participant, evidence_of
    from verifl.carriers.exchange.seat import taken_seat
    from verifl.carriers.exchange.stopping import Stopped, stopping_on_sigterm
    from verifl.reports.logs import logged

    with (
        logged(log_format, log_level) as progress,
        suppress(Stopped),
        stopping_on_sigterm() as stop,
        taken_seat("trustee", public, state, policy_file, key_file, passphrase_source(passphrase_file)) as seat,
    ):
        clock, reader = CosignatureClock(), seat.public.reader()
        if reader is not None:
            clock.follow(reader.latest())
        evidence = evidence_of(seat.public, seat.party.name)
        agent = TrusteeAgent.open(seat.pinned, seat.party, Waits(seconds), clock, evidence)
        participant = Participant(seat.public, seat.pinned, agent.name, OF_TRUSTEES, agent.answer, agent.expire)
        progress.note(f"{agent.name} has seen {agent.size} log entries")
        if once:
            participant.look()
        else:
            participant.run(stop, poll)
    return OK
