"""Who takes part where one process runs everybody: m + n agents, each with what is its own, and the coordinator's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from proofs.errors import Malformed, Rejected
from protocols.log.writer import DiskWatch
from protocols.receipts import Receipt
from protocols.rounds.conductor import Stage
from protocols.rounds.evidence import Evidence
from protocols.rounds.exchange import Answer, Question, SubmissionPackage
from verifl.agents.client import ClientAgent, TurnObserver, ZeroTurn
from verifl.agents.clock import ONE_PROCESS, CosignatureClock
from verifl.agents.party import PublicLog
from verifl.agents.server import ServerAgent
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.base import Parties, Session

# What is told of a stage when the coordinator goes on.
SAID_OF = {
    Stage.SUBMISSIONS: "the coordinator verifies the proofs",
    Stage.RELEASES: "the coordinator opens the sum",
}


class AskedTrustee(Protocol):
    """What a carrier knows of a trustee; see `TrusteeAgent`."""

    @property
    def name(self) -> str:
        """Its id in the policy."""
        ...

    @property
    def size(self) -> int:
        """Entries of the log that it has cosigned."""
        ...

    def answer(self, question: Question, log: PublicLog) -> Answer:
        """What it says to one question."""
        ...


class KeepsReceipts(Protocol):
    """What is known of a client when a round has ended."""

    @property
    def name(self) -> str:
        """Its id in the policy."""
        ...

    def keep_receipt(self, number: int, receipt: Receipt) -> None:
        """Its receipt of a round."""
        ...


class AskedClient(KeepsReceipts, Protocol):
    """What a carrier knows of a client; see `ClientAgent`."""

    def prepare(self, question: Question, log: PublicLog) -> None:
        """Begin what takes long, where that is done elsewhere."""
        ...

    def answer(
        self, question: Question, log: PublicLog, observer: TurnObserver, zero: ZeroTurn | None = None
    ) -> SubmissionPackage:
        """Its submission; zero: see `ClientAgent.answer`."""
        ...


@dataclass(frozen=True)
class Company:
    """The agents that answer in one process, by name; whoever is revoked may be missing."""

    trustees: Mapping[str, AskedTrustee]
    clients: Mapping[str, AskedClient]


Casting = Callable[[Session, Parties, Mapping[str, Evidence], CosignatureClock, DiskWatch], Company]
"""Makes the agents of a session. evidence: what the log has of each party; clock: this machine's, for cosignatures."""


def honest_company(
    session: Session, parties: Parties, evidence: Mapping[str, Evidence], clock: CosignatureClock, watch: DiskWatch
) -> Company:
    """Everybody plays by the rules."""
    pinned, rand = session.pinned, session.rand
    return Company(
        {
            name: TrusteeAgent.open(pinned, party, ONE_PROCESS, clock, evidence[name], rand, watch)
            for name, party in parties.trustees.items()
        },
        {
            name: ClientAgent.open(pinned, party, session.apart or session.training, evidence[name], rand, watch)
            for name, party in parties.clients.items()
        },
    )


def hand_out_receipts(
    server: ServerAgent, clients: Iterable[KeepsReceipts], number: int, tell: Callable[[str], None]
) -> None:
    """Every client verifies its receipt of a published round and keeps it, unless it has one from before; `tell` hears
    who refuses, and why."""
    receipts = server.receipts(number)
    for client in clients:
        try:
            if client.name in receipts:
                client.keep_receipt(number, receipts[client.name])
        except (Malformed, Rejected) as error:
            tell(f"round {number}: {client.name} refuses its receipt: {error}")
