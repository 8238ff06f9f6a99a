"""The coordinator's host as a process on a machine: advanced, dying, started again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from proofs.errors import Rejected, VeriflError
from protocols.log.reader import TranscriptReader
from tests.network.clocks import MachineClock
from tests.network.disks import Crash, Machine, Process
from tests.network.scenario import HOST, Kill
from tests.network.statements import Logs
from tests.simulator import identity_of
from verifl.agents.party import Party
from verifl.carriers.exchange.changing import put_changes
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.public import PublicDirectory
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.serving import HostPlan, opened_host
from verifl.enrolment.changes import published_changes
from verifl.progress import NoProgress
from verifl.storage.party_directory import PartyDirectory

if TYPE_CHECKING:
    from tests.network.history import World

MEANWHILE = 0.02  # probability, of each of its steps on disk, that others go on before it
NEEDS_SOMEBODY = ("checkpoint-quorum", "round-keys")  # it gave up, and whoever runs it starts it again
AGAIN = 10.0  # seconds after which a process that ended with an error is started again


class Board(PublicDirectory):
    """A public directory of which it is known which logs were ever shown there."""

    def __init__(self, path: Path, logs: Logs) -> None:
        super().__init__(path)
        self._logs = logs

    def propose(self, proposal: bytes, bundles: dict[bytes, bytes]) -> None:
        reader = TranscriptReader(self.transcript)
        self._logs.shown(proposal, bundles, lambda start: reader.entries(0, start) if start else ())
        super().propose(proposal, bundles)


@dataclass
class HostMember:
    """The coordinator. done: its rounds are over, `ended` says why if they are fewer than wanted. label: which of two
    that have one key."""

    world: World
    machine: Machine
    clock: MachineClock
    name: str = HOST
    label: str = HOST
    process: Process | None = None
    stopped: bool = False
    done: bool = False
    ended: str | None = None
    _open: ExitStack = field(default_factory=ExitStack)
    _host: CoordinatorHost | None = None
    _stage: str = ""
    _busy: bool = False
    _chance: Random = field(default_factory=Random)

    def __post_init__(self) -> None:
        self._chance = Random(f"meanwhile {self.world.scenario.seed}{self.label.removeprefix(HOST)}")

    @property
    def closed(self) -> int:
        """How many rounds have closed, as far as this process knows."""
        return 0 if self._host is None else sum(each.aborted is None for each in self._host.summaries)

    @property
    def stage(self) -> str:
        """What it waits for."""
        return self._stage

    @property
    def transcript(self) -> Path:
        """What it publishes."""
        return self.machine.root / "public/transcript"

    def enrol(self) -> None:
        """It has its directory, where its key is, long before it starts."""
        (self.machine.root / "state").mkdir(mode=0o700)
        self.machine.settle()

    def hand_in(self, change: bytes) -> None:
        """As `verifl coordinator change`, by whoever runs the coordinator; raises Misuse where the log will not take
        it."""
        logged = published_changes(self.machine.root / "public").entries
        with self.machine.roomy():
            put_changes(self.machine.root / "state/changes", self.world.pinned, logged, [change])

    def start(self) -> None:
        """As its command does; it advances from now on."""
        if self.process is not None or self.stopped or self.done or not self.machine.up:
            return
        if self._busy:  # the one before is not gone yet
            self.world.scheduler.after(1.0, self.start)
            return
        self.process = Process(self.machine, others=self._others)
        self._turn(self.process)

    def stop(self) -> None:
        """SIGTERM, or the end of the machine: at whatever it is."""
        process, self.process = self.process, None
        if process is not None:
            process.dead = True
            if not self._busy:
                self._close(process, Crash("stopped"))

    def _others(self) -> None:
        """Others read and write while it is at something."""
        if self._chance.random() < MEANWHILE and self.world.waiting < 3:
            self.world.wait(self._chance.uniform(0.0, 4.0))

    def kill_after(self, fault: Kill, then: Callable[[], None]) -> None:
        """Let its process die as the fault says; `then` is called at once when it does."""
        if self.process is None:
            then()
            return
        self.process.steps_left, self._died = fault.steps, then

    def _died(self) -> None:
        """What follows its death."""

    def _turn(self, process: Process) -> None:
        if self.process is not process:
            return
        self._busy = True
        try:
            with self.world.disks.running(process):
                self._advance(process)
        except Crash as crash:
            self.world.tell(f"{self.label} dies before: {crash}")
            self._close(process, crash)
            if self is self.world.host and not self.world.is_split:
                self.world.look_for_answers()
            if self.process is process:
                self.process = None
                self._died()
        except OSError as error:
            self._ends(process, error)
        except Rejected as error:
            if error.check not in NEEDS_SOMEBODY:
                self.world.complain(self.name, error)
            self._ends(process, error)
        except VeriflError as error:
            self.world.complain(self.name, error)
            self._ends(process, error)
        finally:
            self._busy = False

    def _advance(self, process: Process) -> None:
        host = self._host or self._opened()
        awaited = host.advance()
        if awaited is None:
            self.done, self.ended, self.process = True, host.ended, None
            self._open.close()
            self.world.tell(f"{self.label}: {host.ended or 'all rounds have closed'}")
            return
        stage = f"{awaited.stage.value} of {', '.join(awaited.parties)}"
        if stage != self._stage:
            self.world.tell(f"{self.label} waits for {stage}")
            self._stage = stage
        poll = self.world.deadlines.poll
        left = max(0.0, min(poll, awaited.until - self.clock.monotonic()))
        self.world.scheduler.after(left or 0.1, lambda: self._turn(process))

    def _opened(self) -> CoordinatorHost:
        world, public = self.world, Board(self.machine.root / "public", self.world.logs)
        party = Party(
            self.name, (identity_of(self.name, world.scenario.seed),), PartyDirectory(self.machine.root / "state")
        )
        plan = HostPlan(world.scenario.rounds, world.deadlines, world.initial, lambda *_: {"loss": 1.0}, NoProgress())
        opened = opened_host(Seat(world.pinned, party, public), plan, CoordinatorHost, self.clock)
        (self._host, _), self._stage = self._open.enter_context(opened), ""
        return self._host

    def _close(self, process: Process, error: BaseException) -> None:
        """As the process ends with this error, it leaves its transcript in order; a dead one changes nothing."""
        opened, self._open, self._host = self._open, ExitStack(), None
        try:
            with self.world.disks.running(process), suppress(OSError, VeriflError):
                opened.__exit__(type(error), error, None)
        except Crash:
            if not isinstance(error, Crash):
                self._died()
        process.dead = True

    def _ends(self, process: Process, error: Exception) -> None:
        self.world.tell(f"{self.label} ends: {type(error).__name__}: {error}")
        self.process = None
        self.world.scheduler.after(AGAIN, self.start)
        self._close(process, error)
