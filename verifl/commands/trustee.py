"""`verifl trustee`: one trustee on a machine of its own. It needs neither torch nor anybody else's files."""

from __future__ import annotations

import click

from verifl.commands.parties import PartyOptions, attending, party_options
from verifl.commands.shared import OK


@click.group()
def trustee() -> None:
    """Take part as a trustee."""


@trustee.command()
@party_options("trustee")
def run(options: PartyOptions) -> int:
    """Answer what the coordinator asks of this trustee, by the published log.

    Runs until it is stopped, by SIGTERM or Ctrl-C; killed at any point, the same command goes on.
    """
    from protocols.rounds.proposals import OF_TRUSTEES
    from protocols.rounds.waits import Waits
    from verifl.agents.clock import CosignatureClock, MachineClock, seconds
    from verifl.agents.trustee import TrusteeAgent
    from verifl.carriers.exchange.participant import Participant, evidence_of, reached

    with attending(options) as here:
        seat = here.seat
        evidence = reached(lambda: evidence_of(seat.public, seat.party.name), here.stop, options.poll, options.once)
        clock = CosignatureClock()
        if evidence.note:
            clock.follow(evidence.note)
        agent = TrusteeAgent.open(seat.pinned, seat.party, Waits(seconds), clock, evidence)
        participant = Participant(
            seat.public, seat.pinned, agent.name, OF_TRUSTEES, agent.answer, agent.expire, MachineClock()
        )
        here.progress.note(f"{agent.name} has seen {agent.size} log entries")
        participant.run(here.stop, options.poll, options.once)
    return OK
