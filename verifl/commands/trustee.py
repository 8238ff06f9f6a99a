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
@click.option(
    "--keep-secrets",
    type=click.IntRange(min=60),
    default=3 * 86_400,
    show_default=True,
    help="Seconds, after which the key and the shares of a round are erased, from when the key was made.",
)
@click.option(
    "--quorum-wait", type=click.IntRange(min=0), default=3600, show_default=True,
    help="Seconds before a round may be given up for want of acknowledgements, from its last submission.",
)  # fmt: skip
def run(options: PartyOptions, keep_secrets: int, quorum_wait: int) -> int:
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
        look = lambda: evidence_of(seat.public, seat.pinned, seat.party)  # noqa: E731
        evidence = reached(look, here.stop, options.poll, options.once)
        waits = Waits(seconds, keep_secrets, quorum_wait)
        agent = TrusteeAgent.open(seat.pinned, seat.party, waits, CosignatureClock(), evidence)
        participant = Participant(
            seat.public, seat.pinned, agent.name, OF_TRUSTEES, agent.answer, agent.expire, MachineClock()
        )
        here.progress.note(f"{agent.name} has seen {agent.size} log entries")
        participant.run(here.stop, options.poll, options.once)
    return OK
