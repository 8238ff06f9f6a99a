"""A consortium in one process whose parties take turns, by a clock that nobody moves but the test: no sleep, no thread.

Parties share nothing but the public directory; each can be dropped at any point, and seated again on its own disk.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from auditor import Report, audit
from proofs.errors import Rejected
from protocols.envelopes import open_envelope, seal_rotation
from protocols.identities import SigningKey
from protocols.log.reader import TranscriptReader
from protocols.messages import COORDINATOR, Message
from protocols.pinned import PinnedPolicy
from protocols.rounds.conductor import Stage
from protocols.rounds.proposals import OF_TRUSTEES
from protocols.rounds.waits import Waits
from protocols.steps.step import encode_model
from tests.verifl.carriers.exchange.consortium import CLIENTS, CONFIG, TASK, TRUSTEES
from verifl.agents.clock import CosignatureClock
from verifl.agents.party import Party
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.exchange.changing import put_changes
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.participant import Participant, evidence_of
from verifl.carriers.exchange.public import PublicDirectory
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.serving import HostPlan, opened_host
from verifl.carriers.exchange.training import client_participant
from verifl.carriers.rounds import Awaited
from verifl.config import read_config
from verifl.enrolment.changes import published_changes
from verifl.enrolment.policies import Enrolment, enrol
from verifl.progress import NoProgress, Progress
from verifl.reports.logs import LOGGER, JsonFormatter
from verifl.storage.party_directory import PartyDirectory
from verifl.tasks.loading import load_task
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import tensor_filter

STEP = 0.5  # seconds that pass while everybody looks once
MANY = 2000  # turns that no test needs


@contextmanager
def heard(lines: list[str]) -> Iterator[None]:
    """Adds what is logged in the block."""
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(JsonFormatter().format(record))
    LOGGER.addHandler(handler)
    level = LOGGER.level
    LOGGER.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(handler)


@dataclass
class Hands:
    """A clock that is moved by hand."""

    passed: float = 0.0
    began: float = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.passed

    def wall(self) -> float:
        return self.began + self.passed

    def seconds(self) -> int:
        return int(self.wall())


@dataclass
class Meeting:
    """The parties that are there; awaited: what the host waits for, None before its first turn and behind its end."""

    folder: Path
    config_text: str = CONFIG
    task_text: str = TASK
    progress: Progress = field(default_factory=NoProgress)
    clock: Hands = field(default_factory=Hands)
    keys: dict[str, tuple[SigningKey, ...]] = field(default_factory=dict)
    present: dict[str, Participant] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)  # by whom, the check
    logged: list[str] = field(default_factory=list)  # by the coordinator, in all detail, a JSON object each
    awaited: Awaited | None = None
    ended: bool = False
    approvals: bytes = b""

    def __post_init__(self) -> None:
        (self.folder / "config.toml").write_text(self.config_text)
        (self.folder / "task.py").write_text(self.task_text)
        self.config = read_config(self.folder / "config.toml")
        task = load_task(self.config, self.folder)
        self.training = LocalTraining(task, tensor_filter(self.config), "cpu", self.config.federation.seed)
        self.initial, layout = self.training.initial(), self.training.layout
        model = encode_model(self.initial)
        self.enrolment: Enrolment = enrol(self.config, layout.specs, layout.dimension, CLIENTS, model, os.urandom)
        self.pinned = PinnedPolicy.open(self.enrolment.policy_file)
        own = {COORDINATOR: self.enrolment.coordinator, **self.enrolment.trustees, **self.enrolment.clients}
        self.keys = {name: (key,) for name, key in own.items()}
        self.public, self.policy_file = PublicDirectory(self.folder / "public"), self.folder / "policy.cbor"
        self.policy_file.write_bytes(self.enrolment.policy_file)
        self._open = ExitStack()

    # ---- who is there ----

    def home(self, name: str) -> PartyDirectory:
        return PartyDirectory(self.folder / "homes" / name)

    def convene(self) -> None:
        """The coordinator, and whoever has a line in the policy."""
        self.host()
        self.advance()
        for name in (*TRUSTEES, *CLIENTS):
            self.seat(name)

    def host(self) -> CoordinatorHost:
        """The coordinator's process, started anew."""
        self._open.close()
        party = Party(COORDINATOR, self.keys[COORDINATOR], self.home(COORDINATOR))
        party.directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        wanted, deadlines = self.config.federation.rounds, self.config.deadlines
        terms = (self.progress, "cpu", self.approvals, self.config.stopping, self.config.federation.close)
        plan = HostPlan(wanted, deadlines, self.initial, self.training.evaluate, *terms)
        opened = opened_host(Seat(self.pinned, party, self.public), plan, CoordinatorHost, self.clock)
        self._host, self.server = self._open.enter_context(opened)
        return self._host

    def seat(self, name: str) -> Participant:
        """A party's process, started anew."""
        party, clock = Party(name, self.keys[name], self.home(name)), self.clock
        party.directory.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if name in CLIENTS:
            seat = Seat(self.pinned, party, self.public)
            self.present[name] = client_participant(seat, self.training, self.progress, clock)
            return self.present[name]
        waits, stamps = Waits(clock.seconds, quorum=0), CosignatureClock(clock.wall)
        agent = TrusteeAgent.open(self.pinned, party, waits, stamps, evidence_of(self.public, self.pinned, party))
        asked, answer, tend = OF_TRUSTEES, agent.answer, agent.expire
        self.present[name] = Participant(self.public, self.pinned, name, asked, answer, tend, clock)
        return self.present[name]

    # ---- time ----

    def advance(self) -> None:
        self.awaited = None
        with heard(self.logged):
            self.awaited = self._host.advance()
        self.ended = self.awaited is None

    def turn(self) -> None:
        """Everybody who is there looks once, and then the coordinator."""
        for name, participant in self.present.items():
            try:
                participant.look()
            except Rejected as error:
                self.refused.append((name, error.check))
        self.clock.passed += STEP
        self.advance()

    def wait_it_out(self) -> None:
        """Turns, each when the coordinator would look again although nobody has answered; until it ends."""
        while self.awaited is not None:
            self.clock.passed = max(self.clock.passed, self.awaited.until)
            self.turn()

    def until(self, what: Callable[[], bool]) -> None:
        for _ in range(MANY):
            if what():
                return
            self.turn()
        raise AssertionError(f"waits for {self.awaited}")

    def until_asked(self, stage: Stage, round_number: int = 1) -> None:
        """Until parties are asked for this, in that round."""
        self.until(lambda: self.stage is stage and self.server.ledger.next_round == round_number)

    def until_ended(self) -> None:
        """Until the coordinator has ended, and everybody has looked once more."""
        self.until(lambda: self.ended)
        for participant in self.present.values():
            participant.look()
        self.close()

    def close(self) -> None:
        """The coordinator's process is gone."""
        self._open.close()

    @property
    def stage(self) -> Stage | None:
        return None if self.awaited is None else self.awaited.stage

    # ---- what there is ----

    def hand_in(self, *entries: bytes) -> None:
        """Changes, for the coordinator."""
        logged = published_changes(self.public.path).entries
        put_changes(self.home(COORDINATOR).changes, self.pinned, logged, entries)

    def audited(self) -> Report:
        """What an auditor says of the log; it accepts."""
        report = audit(self.public.transcript, self.policy_file)
        assert report.accepted
        return report

    def entries(self) -> list[bytes]:
        reader = TranscriptReader(self.public.transcript)
        return reader.entries(0, reader.size)

    def messages(self) -> list[Message]:
        return [open_envelope(entry).message for entry in self.entries()]

    def types(self) -> list[str]:
        return [open_envelope(entry).type for entry in self.entries()]


def rotated(meeting: Meeting, name: str) -> bytes:
    """A rotation; the party's process, started anew, has both keys."""
    key = SigningKey.generate(os.urandom)
    pinned = meeting.pinned
    entry = seal_rotation(pinned.policy.federation, pinned.hash, name, meeting.keys[name][-1], key)
    meeting.keys[name] = (*meeting.keys[name], key)
    meeting.seat(name)
    return entry


def with_new_keys_only(meeting: Meeting, *names: str) -> None:
    """These parties' processes, started anew, have lost the keys that they replaced."""
    for name in names:
        meeting.keys[name] = meeting.keys[name][-1:]
        meeting.seat(name)
