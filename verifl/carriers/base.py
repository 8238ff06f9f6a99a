"""What every carrier is given and what it reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from proofs.randomness import Randomness
from protocols.identities import SigningKey
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy
from protocols.steps.doubles import Doubles
from verifl.agents.party import Party
from verifl.config import Config
from verifl.enrolment.policies import Enrolment
from verifl.progress import Progress, RoundSummary
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.run_directory import RunDirectory
from verifl.training.local_training import LocalTraining
from verifl.training.workers import Workers


@dataclass(frozen=True)
class Parties:
    """Everybody who takes part, in a process that runs all of them: each is given to its own agent, and to nobody
    else. trustees, clients: by name."""

    coordinator: Party
    trustees: Mapping[str, Party]
    clients: Mapping[str, Party]

    @classmethod
    def of(cls, enrolment: Enrolment, directory: RunDirectory) -> Parties:
        """Of the keys that an enrolment has, and the directories of a run."""

        def party(name: str, key: SigningKey, own: PartyDirectory) -> Party:
            return Party(name, (key, *enrolment.successors.get(name, ())), own)

        return cls(
            party(COORDINATOR, enrolment.coordinator, directory.coordinator),
            {name: party(name, key, directory.trustee(name)) for name, key in enrolment.trustees.items()},
            {name: party(name, key, directory.client(name)) for name, key in enrolment.clients.items()},
        )


@dataclass(frozen=True)
class Session:
    """One federation about to run.

    initial: the initial model, float64 (d,). changes: rotations and revocations to be logged. rand: draws protocol
    randomness. promise: a line to tell once the run could go on from what is on disk and has a round before it; empty
    for none. approvals: those that the policy demands. apart: who makes the clients' turns, where `training` does not.
    """

    config: Config
    training: LocalTraining
    initial: Doubles
    pinned: PinnedPolicy
    changes: tuple[bytes, ...]
    directory: RunDirectory
    device: str
    progress: Progress
    rand: Randomness
    promise: str = ""
    approvals: bytes = b""
    apart: Workers | None = None


@dataclass(frozen=True)
class RunResult:
    """The rounds in order, the model after the last, float64 (d,), and the metrics of the one before the first.

    ended: in one line, why the federation was closed before as many rounds as configured had; None if it was not.
    stopped: in one line, why the run stopped before, as its configuration says; None if it did not. spent: in one line,
    what of the privacy budget is; None without one.
    """

    rounds: tuple[RoundSummary, ...]
    model: Doubles
    initial: Mapping[str, float]
    ended: str | None = None
    stopped: str | None = None
    spent: str | None = None


class Carrier(Protocol):
    """Runs the parties of a session until its rounds are done."""

    def run(self, session: Session, parties: Parties) -> RunResult:
        """Write the transcript into `session.directory` and return how it went. parties: each for its own agent."""
        ...
