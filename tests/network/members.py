"""Trustees and clients as processes on machines of their own: started, looking, dying, started again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from proofs.engines import get_engine
from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import open_envelope
from protocols.log.connection import Remote, Unreachable
from protocols.messages import Submission
from protocols.rounds.answers import encode_answer
from protocols.rounds.client_holdings import ANSWER, KeptAnswer
from protocols.rounds.exchange import Answer, Question, SubmissionPackage
from protocols.rounds.proposals import OF_CLIENTS, OF_TRUSTEES, open_proposal
from protocols.rounds.waits import Waits
from tests.network.clocks import MachineClock
from tests.network.delivery import Link
from tests.network.disks import Crash, Machine, Process
from tests.network.scenario import Kill
from tests.network.training import Training
from tests.seeded import seeded
from verifl.adversaries import provers
from verifl.adversaries.cast import LyingClientAgent
from verifl.adversaries.clients import LIARS, LyingPart, PublicRound
from verifl.adversaries.trustees import LIARS as LYING_TRUSTEES
from verifl.agents.client import ClientAgent
from verifl.agents.clock import CosignatureClock
from verifl.agents.party import Party, PublicLog
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.exchange.access import KEPT
from verifl.carriers.exchange.keeping import ClientKeeper
from verifl.carriers.exchange.participant import Outage, Participant, ProposedLog, evidence_of
from verifl.carriers.exchange.public import Glance
from verifl.carriers.exchange.website import PublicSite
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import DirectoryStore, StoredValues, make_private_directory

if TYPE_CHECKING:
    from tests.network.history import World

POLL = 7.0  # seconds between two looks
AGAIN = 10.0  # seconds after which a process that ended with an error is started again


@dataclass
class Member:
    """One trustee or client. process: None while it does not run."""

    world: World
    name: str
    machine: Machine
    clock: MachineClock
    link: Link
    process: Process | None = None
    started: int = 0
    stopped: bool = False  # by whoever runs it: it is not started again by itself
    seen: Callable[[], int] = lambda: 0  # entries of the log that it has cosigned
    _look: Callable[[], object] = lambda: None
    _outage: Outage = field(default_factory=Outage)
    _pause: float = POLL

    def start(self) -> None:
        """As its command does; it looks from now on."""
        if self.process is not None or self.stopped or not self.machine.up:
            return
        process = self.process = Process(self.machine)
        self.started += 1
        self._outage, self._pause = Outage(), POLL
        opened = self._guard(self._open)
        if self.process is process and opened:
            self._plan()
        elif self.process is process:
            self._ends(process, "it could not start")

    def stop(self) -> None:
        """SIGTERM, or the end of the machine: at whatever it is."""
        if self.process is not None:
            self.process.dead = True
            self.process = None

    def kill_after(self, fault: Kill, then: Callable[[], None]) -> None:
        """Let its process die as the fault says; `then` is called at once when it does."""
        if self.process is None:
            then()
            return
        self.process.steps_left, self.process.answers_left, self._died = fault.steps, fault.answers, then

    def _died(self) -> None:
        """What follows its death."""

    def _plan(self) -> None:
        process = self.process
        rng = self.world.rng
        self.world.scheduler.after(self._pause * rng.uniform(0.8, 1.2), lambda: self._turn(process))

    def _turn(self, process: Process | None) -> None:
        if process is None or self.process is not process:
            return
        self._pause = POLL
        if self._guard(self._look):
            self._outage.ended()
        if self.process is process:
            self._plan()

    def _guard(self, action: Callable[[], object]) -> bool:
        """Do it as this process; whether it went well. Whatever it ends with, the real process does."""
        process = self.process
        assert process is not None
        try:
            with self.world.disks.running(process):
                action()
                return True
        except Crash as crash:
            if self.process is process:
                self.world.tell(f"{self.name} dies before: {crash}")
                self.process = None
                self._died()
        except (Malformed, Rejected) as error:
            self.world.tell(f"{self.name} refuses: {error}")
        except Unreachable as error:
            self._pause = self._outage.begun(error, POLL)
        except OSError as error:
            self._ends(process, f"{type(error).__name__}: {error.strerror}")
        except Misuse as error:
            self.world.complain(self.name, error)
            self._ends(process, str(error))
        return False

    def _ends(self, process: Process, why: str) -> None:
        self.world.tell(f"{self.name} ends: {why}")
        process.dead = True
        if self.process is process:
            self.process = None
            self.world.scheduler.after(AGAIN, self.start)

    def pass_time(self, seconds: float) -> None:
        """While a request of this party is on its way; raises Crash where it dies meanwhile."""
        process = self.process
        if self.world.waiting < 3:
            self.world.wait(seconds)
        if process is not None and process.dead:
            raise Crash("an answer arrives")

    # ---- what it runs ----

    def _open(self) -> None:
        """Begin as its command does: `_look` is what it does from now on."""
        raise NotImplementedError  # each role has its own

    @property
    def party(self) -> Party:
        return Party(self.name, self.world.keys[self.name], PartyDirectory(self.machine.root))

    @property
    def rand(self) -> Callable[[int], bytes]:
        """Other randomness in each process."""
        return seeded(f"{self.world.scenario.seed} {self.name} {self.started}")

    def _view(self) -> PublicSite:
        assert self.process is not None
        kept = self.machine.root / KEPT
        make_private_directory(kept)
        return MortalSite(Remote(f"https://{self.name}"), kept, self.process)

    @property
    def _liar(self) -> str | None:
        return self.world.scenario.liars.get(self.name)


class MortalSite(PublicSite):
    """The public directory of a process that can die right after it has sent something."""

    def __init__(self, remote: Remote, kept: Path, process: Process) -> None:
        super().__init__(remote, kept)
        self._process = process

    def put(self, party: str, answer: bytes) -> None:
        try:
            super().put(party, answer)
        finally:
            self._process.sent()


class TrusteeMember(Member):
    """As `verifl trustee run`."""

    def _open(self) -> None:
        view, pinned = self._view(), self.world.pinned
        clock, waits = CosignatureClock(self.clock.wall), Waits(self.clock.seconds, quorum=self.world.deadlines.quorum)
        reader = view.reader()
        if reader is not None:
            clock.follow(reader.latest())
        if self._liar is None:
            evidence = evidence_of(view, pinned, self.party)
            agent = TrusteeAgent.open(pinned, self.party, waits, clock, evidence, self.rand)
        else:
            agent = self._lying(clock)
        self.seen = lambda: agent.size
        participant = Participant(
            view, pinned, self.name, OF_TRUSTEES, partial(self._answer, agent), agent.expire, self.clock
        )
        self._look = participant.look

    def _answer(self, agent: TrusteeAgent, question: Question, log: PublicLog) -> Answer:
        answer = agent.answer(question, log)
        self.world.statements.answered(question, answer)
        return answer

    def _lying(self, clock: CosignatureClock) -> TrusteeAgent:
        pinned, (key, *_) = self.world.pinned, self.party.keys
        store, kind = DirectoryStore(self.party.directory.store), LYING_TRUSTEES[str(self._liar)]
        trustee = kind(pinned, key, self.name, store, get_engine("native"), self.rand, lambda: True)
        return TrusteeAgent(trustee, clock)


class ClientMember(Member):
    """As `verifl client run`."""

    def _open(self) -> None:
        view, pinned = self._view(), self.world.pinned
        training = Training(pinned, self.world.trained, self.rand, self._stored)
        if self._liar is not None:
            self._look = self._lying(view, training)
            return
        evidence = evidence_of(view, pinned, self.party)
        agent = ClientAgent.open(pinned, self.party, training, evidence, self.rand)  # type: ignore[arg-type]  # what it uses of one
        keeper = ClientKeeper(pinned, agent)
        answer = partial(self._answer, agent, training)
        participant = Participant(view, pinned, self.name, OF_CLIENTS, answer, lambda: None, self.clock, keeper.look)
        self._look = participant.look

    def _answer(self, agent: ClientAgent, training: Training, question: Question, log: PublicLog) -> SubmissionPackage:
        package = agent.answer(question, log, training)
        stored = self._stored()
        assert stored is not None
        self.world.trained.answered(self.name, package.entry, stored.update)
        return package

    def _stored(self) -> KeptAnswer | None:
        """Its last answer."""
        return ANSWER.get(StoredValues(self.party.directory.store))

    def _lying(self, view: PublicSite, training: Training) -> Callable[[], object]:
        pinned, (key, *_), kind = self.world.pinned, self.party.keys, str(self._liar)
        store = DirectoryStore(self.party.directory.store)
        play = (provers.FORGERS | LIARS)[kind]
        victims = tuple(self.world.scenario.trustees)
        part = LyingPart(
            pinned, key, self.name, store, get_engine("native"), self.rand, lambda: self.world.lies(kind), victims
        )
        agent = LyingClientAgent(pinned, play(part), self.party.directory, training)  # type: ignore[arg-type]  # the same
        answered: set[int] = set()

        def look() -> None:
            data = view.proposal()
            proposal = None if data is None else open_proposal(pinned, data)
            if proposal is None or proposal.question not in OF_CLIENTS or proposal.round in answered:
                return
            log = ProposedLog(Glance(view), pinned, proposal)
            for package in agent.answers(log, PublicRound(self._submissions(view), log.blob), training):
                self.world.trained.answered(self.name, package.entry, training.last)
                view.put(self.name, encode_answer(package))
            answered.add(proposal.round)

        return look

    def _submissions(self, view: PublicSite) -> list[Submission]:
        """Those of the last round, as they are published."""
        reader = view.reader()
        entries = [] if reader is None else reader.entries(0, reader.size)
        found = [message for entry in entries if isinstance(message := open_envelope(entry).message, Submission)]
        return [each for each in found if each.round == found[-1].round]
