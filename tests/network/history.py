"""One history, from its scenario to its judgement."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from unittest import mock

from proofs.errors import Misuse, VeriflError
from protocols.envelopes import open_envelope, seal, seal_rotation
from protocols.identities import SigningKey
from protocols.log import remote
from protocols.log.connection import Remote
from protocols.log.reader import TranscriptReader
from protocols.messages import COORDINATOR, ISSUER, KeyRotation, Revocation, RoundAborted, RoundClosed, RoundKey
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import decode_answer
from protocols.rounds.exchange import Cosignature
from protocols.rounds.record import pending_entries
from tests.network import sealing
from tests.network.clocks import MachineClock
from tests.network.delivery import Link, LinkedConnection, WebServer
from tests.network.disks import Disks
from tests.network.judgement import judge
from tests.network.members import ClientMember, Member, TrusteeMember
from tests.network.scenario import (
    HOST,
    TAIL,
    Away,
    Cut,
    Fault,
    Fork,
    Full,
    Jump,
    Kill,
    OldCoordinator,
    OldCopy,
    Revoke,
    Rotate,
    Scenario,
    Shown,
)
from tests.network.scheduler import Scheduler
from tests.network.serving import HostMember
from tests.network.statements import Logs, Secrets, Statements
from tests.network.training import Trained
from tests.remembered import remembered
from tests.seeded import seeded
from tests.simulator import identity_of, make_policy
from verifl.carriers.exchange import website
from verifl.config import DeadlinesConfig
from verifl.storage.stores import StoredValues

TWIN = "coordinator-twin"
AGAIN = 10.0  # seconds until who hands something in tries again
STOPPED = 200.0  # seconds after all is calm, for what never ends
AFTERWARDS = 60.0  # seconds in which parties hear that the last round has closed
DEADLINES = DeadlinesConfig(clients=40, trustees=15, give_up=150, quorum=30, poll=3)
OUTDATED = "this state is older than what its party said"


def _superseded(entry: bytes, logged: Sequence[bytes]) -> bool:
    """Whether a round key was offered where the log then changed somebody's key: all round keys are collected anew."""
    if not isinstance(open_envelope(entry).message, RoundKey):
        return False
    for each in reversed(logged):
        message = open_envelope(each).message
        if isinstance(message, RoundClosed | RoundAborted):
            return False
        if isinstance(message, KeyRotation | Revocation):
            return True
    return False


class World:
    """Everybody, and what is between them. set_back: parties that go on from an old copy, and did not notice.
    complaints: by party, an error with which its process ended. waiting: requests that are on their way now. lost:
    answers that a kill of the coordinator lost."""

    def __init__(self, scenario: Scenario, base: Path, hear: Callable[[str], None] = lambda _: None) -> None:
        self.scenario, self.deadlines, self._hear = scenario, DEADLINES, hear
        self.lines: list[str] = []
        self.scheduler, self.rng = Scheduler(), Random(f"polls {scenario.seed}")
        self.policy_data, self.initial = make_policy(scenario.setting)
        self.pinned, self.policy_file = PinnedPolicy.open(self.policy_data), base / "policy.cbor"
        self.policy_file.write_bytes(self.policy_data)
        self.disks = Disks(base, self._changed)
        self.logs = Logs(self.pinned)
        self.keys = {name: (identity_of(name, scenario.seed),) for name in (*scenario.clients, *scenario.trustees)}
        self.statements, self.secrets, self.trained = Statements(), Secrets(self.disks), Trained()
        self.server = WebServer(self.disks.machine(HOST), self.scheduler, self.statements.heard)
        self.host = HostMember(self, self.server.machine, MachineClock(self.scheduler))
        self.host.enrol()
        self.twin: HostMember | None = None  # the second coordinator of a fork
        self._servers = [self.server]
        self.members = {name: self._member(name) for name in (*scenario.clients, *scenario.trustees)}
        self.set_back: set[str] = set()
        self.complaints: list[tuple[str, str]] = []
        self.waiting, self.is_calm = 0, False
        self.lost: list[str] = []
        self._copies: dict[str, Path] = {}
        self._replaced: dict[str, Path] = {}
        self.revoked: set[str] = set()
        self._base = base
        for name in (COORDINATOR, *self.members):
            self.secrets.add(name, "a signing key", identity_of(name, scenario.seed).seed)

    @property
    def transcript(self) -> Path:
        return self.server.public / "transcript"

    @property
    def is_split(self) -> bool:
        """Whether the coordinator's key signs more than one log: what follows from that is its own fault."""
        return self.twin is not None or HOST in self.set_back

    @property
    def may_stop(self) -> bool:
        """Whether fewer trustees than are needed may know no other log than the coordinator's first one."""
        scenario = self.scenario
        sound = set(scenario.trustees) - scenario.deceived - scenario.unreliable
        return HOST in self.set_back or (self.is_split and len(sound) < scenario.setting.threshold)

    def tell(self, line: str) -> None:
        """A line of the history."""
        self.lines.append(f"{self.scheduler.now:8.1f}  {line}")
        self._hear(self.lines[-1])

    def complain(self, name: str, error: VeriflError) -> None:
        """A process ended with an error."""
        if OUTDATED in str(error) and name in self._copies:
            self._put_back(name)
        elif name not in self.scenario.liars and (name, str(error)) not in self.complaints:
            self.complaints.append((name, str(error)))

    def look_for_answers(self) -> None:
        """The coordinator was killed: what had arrived, and was not refused, is in the log or still in its inbox."""
        state, transcript = self.server.machine.root / "state", self.transcript
        refusals = state / "refusals.jsonl"
        refused = refusals.read_text() if refusals.exists() else ""
        logged = list(pending_entries(StoredValues(state / "store")))
        reader = TranscriptReader(transcript)
        if (transcript / "checkpoint").exists():
            logged = [*reader.entries(0, reader.size), *logged]
        for path, data in list(self.server.arrived.items()):
            answer = decode_answer(data, len(data)).answer
            if path.exists() or path.name in refused or isinstance(answer, Cosignature):
                continue
            del self.server.arrived[path]
            if answer.entry not in logged and not _superseded(answer.entry, logged):
                self.lost.append(f"an answer of {path.parent.name} was lost when the coordinator was killed")

    def lies(self, kind: str) -> bool:
        """Whether a liar of this kind lies now; some need a history to lie about."""
        return kind not in ("replayed-proof", "stale-model") or bool(self.host.closed)

    def wait(self, seconds: float) -> None:
        """Others go on while somebody's request is on its way."""
        self.waiting += 1
        try:
            self.scheduler.pass_time(seconds)
        finally:
            self.waiting -= 1

    def play(self) -> None:
        """All of it, from the start of every process to a while after the last round has closed."""
        for member in (self.host, *self.members.values()):
            self.scheduler.after(self.rng.uniform(0.0, 5.0), member.start)
        for fault in self.scenario.faults:
            self._plan(fault)
        self.scheduler.at(self.scenario.calm, self._calm)
        self.scheduler.run_until(self.scenario.calm, lambda: self.host.done)
        tail = STOPPED if self.may_stop else TAIL
        self.scheduler.run_until(self.scenario.calm + tail, lambda: self.host.done)
        self._calm()
        self.scheduler.run_until(self.scheduler.now + AFTERWARDS)

    # ---- what goes wrong ----

    def _plan(self, fault: Fault) -> None:
        self.scheduler.at(fault.at, partial(self._befalls, fault))
        if isinstance(fault, OldCopy | OldCoordinator):
            self.scheduler.at(fault.copied, partial(self._copy, fault))

    def _befalls(self, fault: Fault) -> None:
        if self.is_calm:
            return
        self.tell(str(fault))
        member = self._of(fault.party)
        match fault:
            case Kill():
                member.kill_after(fault, partial(self._killed, fault))
            case Cut():
                if isinstance(member, Member):
                    member.link.cut = True
                    self.scheduler.after(fault.seconds, partial(setattr, member.link, "cut", False))
            case Jump():
                member.clock.ahead = fault.ahead
            case Full():
                member.machine.full = True
                self.scheduler.after(fault.seconds, partial(setattr, member.machine, "full", False))
            case Away():
                member.stop()
                member.stopped = True
                if fault.seconds is not None:
                    self.scheduler.after(fault.seconds, partial(self._back, member))
            case OldCopy() | OldCoordinator():
                self._set_back(fault)
            case Rotate():
                key = SigningKey.generate(seeded(f"rotation {self.scenario.seed} {fault}"))
                named = self.pinned.policy.federation, self.pinned.hash
                change = seal_rotation(*named, fault.party, self.keys[fault.party][-1], key)
                self._hand_in(fault, change, key)
            case Revoke():
                message = Revocation(self.pinned.policy.federation, self.pinned.hash, fault.party, "left")
                self._hand_in(fault, seal(message, ISSUER, identity_of(ISSUER, self.scenario.seed)), None)
            case Shown():
                link = self.members[fault.party].link
                link.shown.setdefault(fault.how, self.scheduler.now)
                self.scheduler.after(fault.seconds, partial(link.shown.pop, fault.how, None))
            case Fork():
                self._fork(fault)

    def _killed(self, fault: Kill) -> None:
        member = self._of(fault.party)
        if fault.power:
            member.stop()
            member.machine.up = False
            lost = member.machine.lose_power(Random(f"power {self.scenario.seed} {fault}"))
            if fault.party == HOST:
                self.server.restarted()
            self.tell(f"the machine of {fault.party} loses power; lost: {', '.join(lost) or 'nothing'}")
        self.scheduler.after(fault.down, partial(self._powered, member))

    def _powered(self, member: Member | HostMember) -> None:
        member.machine.up = True
        member.start()

    def _back(self, member: Member | HostMember) -> None:
        member.stopped = False
        member.start()

    def _hand_in(self, fault: Rotate | Revoke, change: bytes, key: SigningKey | None) -> None:
        """A change goes to whoever runs the coordinator, who hands it in as soon as its machine is there."""
        if not self.host.machine.up:
            self.scheduler.after(AGAIN, partial(self._hand_in, fault, change, key))
            return
        try:
            with self.disks.by_hand():
                self.host.hand_in(change)
        except Misuse as error:
            self.tell(f"it is not handed in: {error}")
            return
        self.revoked |= {fault.party} if isinstance(fault, Revoke) else set()
        if key is not None:
            member = self.members[fault.party]
            self.keys[fault.party] = (*self.keys[fault.party], key)
            self.secrets.add(fault.party, "a signing key", key.seed)
            member.stop()
            self.scheduler.after(1.0, member.start)

    def _fork(self, fault: Fork) -> None:
        """A second coordinator begins on a copy of the first one's disk, and others are moved to what it publishes."""
        machine = self.disks.machine(TWIN)
        with self.disks.by_hand():
            shutil.copytree(self.host.machine.root, machine.root, dirs_exist_ok=True)
        machine.settle()
        server = WebServer(machine, self.scheduler, self.statements.heard)
        self._servers.append(server)
        server.restarted()
        self.twin = HostMember(self, machine, MachineClock(self.scheduler), label=TWIN)
        self.twin.start()
        for name, begin, end in fault.moves:
            self.scheduler.at(begin, partial(self._show, name, server))
            self.scheduler.at(end, partial(self._show, name, self.server))

    def _show(self, name: str, server: WebServer) -> None:
        if server is self.server or not self.is_calm:
            self.members[name].link.server = server
            self.tell(f"{name} is shown what {server.machine.name} publishes")

    def _copy(self, fault: OldCopy | OldCoordinator) -> None:
        name = fault.party
        self._copies[name] = self._base / f"copy-{name}"
        shutil.copytree(self._place(fault), self._copies[name])

    def _place(self, fault: OldCopy | OldCoordinator) -> Path:
        """What is set back."""
        root = self._of(fault.party).machine.root
        return root / "state" if isinstance(fault, OldCoordinator) and not fault.whole else root

    def _set_back(self, fault: OldCopy | OldCoordinator) -> None:
        """The newest state is put aside, and the copy takes its place."""
        name, place = fault.party, self._place(fault)
        member = self._of(name)
        member.stop()
        with self.disks.by_hand(), member.machine.roomy():
            place.rename(self._base / f"newest-{name}")
            shutil.copytree(self._copies[name], place)
        member.machine.settle()
        if name == HOST:
            self.server.restarted()
        self._replaced[name] = place
        self.set_back.add(name)
        self.scheduler.after(1.0, member.start)

    def _put_back(self, name: str) -> None:
        """It was noticed: the newest state is put back, as its message says."""
        newest, machine, place = self._base / f"newest-{name}", self._of(name).machine, self._replaced[name]
        self.tell(f"{name} does not start from its old copy, and gets its newest state back")
        if newest.exists():
            with self.disks.by_hand():
                shutil.rmtree(place)
                newest.rename(place)
            machine.settle()
        self.set_back.discard(name)

    def _calm(self) -> None:
        """From now on nothing goes wrong."""
        if self.is_calm:
            return
        self.is_calm = True
        self.tell("all is calm")
        if self.twin is not None:
            self.twin.stop()
            for name in self.members:
                self._show(name, self.server)
        for member in (self.host, *self.members.values()):
            member.machine.up, member.machine.full = True, False
            if member.process is not None:
                member.process.steps_left = member.process.answers_left = None
            if isinstance(member, Member):
                member.link.calm()
            if not self._gone(member.name):
                self._back(member)

    def _gone(self, name: str) -> bool:
        return any(each.party == name and isinstance(each, Away) and each.seconds is None
                   for each in self.scenario.faults)  # fmt: skip

    # ---- who is there ----

    def _member(self, name: str) -> Member:
        link = Link(self.server, Random(f"link {self.scenario.seed} {name}"), partial(self._pass_time, name))
        link.quality = self.scenario.link(name)
        kind = ClientMember if name in self.scenario.clients else TrusteeMember
        return kind(self, name, self.disks.machine(name), MachineClock(self.scheduler), link)

    def connected(self, remote: Remote) -> LinkedConnection:
        """A connection to the web server, by the name of whose it is."""
        return LinkedConnection(self.members[remote.url.split("/")[2]].link)

    def _pass_time(self, name: str, seconds: float) -> None:
        self.members[name].pass_time(seconds)

    def _of(self, name: str) -> Member | HostMember:
        return self.host if name == HOST else self.members[name]

    def _changed(self, path: Path) -> None:
        for server in self._servers:
            if path.is_relative_to(server.machine.root):
                server.changed(path)


@dataclass
class History:
    """A history that is over. lines: what happened; problems: what is wrong with it."""

    scenario: Scenario
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        wrong = self.problems or ["nothing is wrong"]
        return "\n".join([*self.scenario.lines(), "", *self.lines, "", *wrong])


@contextmanager
def world_of(scenario: Scenario, hear: Callable[[str], None] = lambda _: None) -> Iterator[World]:
    """A world, in memory where the system offers that."""
    memory = Path("/dev/shm")  # noqa: S108 - the machine's own, for files that nobody else opens
    with ExitStack() as stack:
        base = stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
        world = World(scenario, Path(base), hear)
        stack.enter_context(world.disks.mounted())
        stack.enter_context(world.secrets.watched())
        stack.enter_context(mock.patch.object(website, "Connection", world.connected))
        stack.enter_context(mock.patch.object(remote, "Connection", world.connected))
        stack.enter_context(mock.patch.object(website, "time", world.host.clock))
        stack.enter_context(sealing.repeatable())
        stack.enter_context(mock.patch.object(tempfile, "tempdir", base))
        stack.enter_context(remembered())
        yield world


def play(scenario: Scenario, hear: Callable[[str], None] = lambda _: None) -> History:
    """The history of a scenario, judged."""
    with world_of(scenario, hear) as world:
        world.play()
        return History(scenario, world.lines, judge(world))
