"""The coordinator of a rehearsal (spec 8.14): it calls, waits who is there, has one round played, and says who was not.

rehearsal/exchange/proposal       the call: the coordinator's stand-in; then again, with the policy's hash
rehearsal/exchange/bundles/...    the rehearsal's policy
rehearsal/exchange/inbox/<party>  the parties' stand-ins
rehearsal/round/                  the round: a public directory as any other
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.identities import SigningKey
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy
from protocols.rehearsals import REHEARSAL_LIMIT, StandIn, open_stand_in, seal_rehearsal_policy, seal_stand_in
from protocols.rounds.answers import Received, answer_kind
from protocols.rounds.versions import SOFTWARE
from protocols.rounds.waits import Waits
from protocols.steps.step import decode_model
from verifl.agents.clock import MachineClock, seconds
from verifl.agents.party import Party
from verifl.agents.server import ServerAgent, open_server
from verifl.carriers.exchange.host import NO_WAY_ON, CoordinatorHost
from verifl.carriers.exchange.inbox import Inbox, Letter, Refusals
from verifl.carriers.exchange.public import INBOX, REHEARSAL, REHEARSED_ROUND, PublicDirectory
from verifl.carriers.exchange.rehearsing import made_up_model
from verifl.carriers.exchange.stopping import Stop
from verifl.carriers.rounds import Measures, RunTerms
from verifl.config import DeadlinesConfig
from verifl.progress import Progress
from verifl.storage.history import MetricsFile, ended_rounds
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import make_private_directory

_LEAST_PATIENCE = 60.0  # seconds, for those who are there
REFUSALS_TOLD = 8  # of one party, in the report
_OF_TRUSTEES = ("cosignature", "round-key", "share-ack")
_RELEASE, _SUBMISSION = "release", "submission"


@dataclass
class Attendant:
    """A party of the federation at a rehearsal. reached: after how many seconds it was there, None for never. answered:
    seconds from the start of the round, by kind of answer. refused: (check, words), the first few of them. missing:
    kinds of answers."""

    name: str
    role: str
    reached: float | None = None
    software: str = ""
    answered: dict[str, float] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    missing: tuple[str, ...] = ()

    @property
    def well(self) -> bool:
        """Whether it was there, said all that it was asked, and nothing that was refused."""
        return self.reached is not None and not self.refused and not self.missing


@dataclass(frozen=True)
class RehearsalReport:
    """outcome: "closed", the reason of an abort, or why no round was played. size: bytes of its log and blobs."""

    federation: str
    policy_hash: str
    rehearsal: str
    outcome: str
    attendants: tuple[Attendant, ...]
    seconds: float
    size: int

    @property
    def well(self) -> bool:
        """Whether the round closed, and everybody was well."""
        return self.outcome == "closed" and all(each.well for each in self.attendants)


class _RehearsingHost(CoordinatorHost):
    """Says nothing of going on after a kill: then a rehearsal begins anew."""

    def begins(self) -> None:
        """See `Rounds.begins`."""


class _WatchedInbox(Inbox):
    """An inbox that says who has answered what, and when."""

    def __init__(self, public: Path, pinned: PinnedPolicy, refusals: Refusals, watch: _Watch) -> None:
        super().__init__(public, pinned, refusals)
        self._watch, self._kinds = watch, dict[Letter, str]()

    def read(self, letter: Letter) -> Received:
        received = super().read(letter)
        self._kinds[letter] = answer_kind(received.answer)[0]
        return received

    def take(self, letter: Letter) -> None:
        super().take(letter)
        self._watch.answered(letter.party, self._kinds.pop(letter))

    def refuse(self, letter: Letter, error: Malformed | Rejected) -> None:
        super().refuse(letter, error)
        self._kinds.pop(letter, None)
        self._watch.refused(letter.party, error)


class _Watch:
    """Who has done what, and when."""

    def __init__(self, attendants: dict[str, Attendant], now: Callable[[], float]) -> None:
        self._attendants, self._now, self._started = attendants, now, now()

    def passed(self) -> float:
        """Seconds since the start."""
        return self._now() - self._started

    def answered(self, party: str, kind: str) -> None:
        """A first answer of this kind counts."""
        self._attendants[party].answered.setdefault(kind, self.passed())

    def refused(self, party: str, error: Malformed | Rejected) -> None:
        """What it sent is refused."""
        check = error.check if isinstance(error, Rejected) else "malformed"
        refusal, told = (check, str(error)), self._attendants[party].refused
        if refusal not in told and len(told) < REFUSALS_TOLD:
            told.append(refusal)


class Rehearsal:
    """One, from the call to its report. key: the policy's log key. state: a directory for it alone, removed at its end.
    patience: seconds for which who is missing is waited for, before the round; in each step of it a minute or more."""

    def __init__(
        self, pinned: PinnedPolicy, key: SigningKey, public: Path, state: Path, patience: float, progress: Progress
    ) -> None:
        self._pinned, self._key, self._public, self._state = pinned, key, public, state
        self._patience, self._progress, self._clock = patience, progress, MachineClock()
        self._stand_in = SigningKey.generate(os.urandom)
        self._board = PublicDirectory(public / REHEARSAL)
        policy = pinned.policy
        roles = {member.id: "client" for member in policy.roster} | {member.id: "trustee" for member in policy.trustees}
        self._attendants = {name: Attendant(name, role) for name, role in roles.items()}
        self._watch = _Watch(self._attendants, self._clock.monotonic)

    def run(self, stop: Stop, poll: float) -> RehearsalReport:
        """Call, wait, play, and say how it went. Raises Stopped, OSError."""
        shutil.rmtree(self._public / REHEARSAL, ignore_errors=True)
        shutil.rmtree(self._state, ignore_errors=True)
        make_private_directory(self._state)
        try:
            outcome, size = self._rehearse(stop, poll)
        finally:
            self._board.withdraw()
            shutil.rmtree(self._state, ignore_errors=True)
        attendants = tuple(self._attendants.values())
        policy, name = self._pinned.policy, self._stand_in.public_key.hex()
        return RehearsalReport(
            policy.federation, self._pinned.hash.hex(), name, outcome, attendants, self._watch.passed(), size
        )

    def _rehearse(self, stop: Stop, poll: float) -> tuple[str, int]:
        """How it ended, and the bytes of its round."""
        present = self._gather(stop, poll)
        issuer, model = SigningKey.generate(os.urandom), made_up_model(self._pinned.policy)
        try:
            data = seal_rehearsal_policy(self._pinned, self._stand_in.public_key, issuer, model, present)
        except Rejected as error:
            return f"no round was played: {error}", 0
        rehearsed = PinnedPolicy.open(data)
        self._call(data)
        self._progress.note(f"{len(present)} of {len(self._attendants)} parties are there; the round begins")
        with open_server(
            rehearsed,
            Party(COORDINATOR, (self._stand_in,), PartyDirectory(self._state)),
            self._public / REHEARSED_ROUND / "transcript",
            decode_model(model, rehearsed.policy.dimension),
            "cpu",
            Waits(seconds, quorum=0),
        ) as server:
            return self._play(rehearsed, server, model, stop, poll)

    # ---- who is there ----

    def _call(self, policy: bytes | None) -> None:
        """Say that there is a rehearsal; with its policy, once there is one."""
        name = None if policy is None else blob_hash(policy)
        real, own = self._pinned.policy, self._stand_in.public_key
        call = StandIn(real.federation, self._pinned.hash, COORDINATOR, own, own, name, SOFTWARE)
        self._board.propose(seal_stand_in(call, self._key), {} if policy is None or name is None else {name: policy})

    def _gather(self, stop: Stop, poll: float) -> dict[str, bytes]:
        """The stand-ins of those who are there, by party: until all are, or the time is up."""
        inbox = Inbox(self._board.path, self._pinned, Refusals(self._state / "refusals.jsonl", self._clock.wall))
        self._prepare(self._board)
        inbox.create()
        self._call(None)
        self._progress.note(f"called {len(self._attendants)} parties to a rehearsal")
        present: dict[str, bytes] = {}
        while self._watch.passed() < self._patience:
            for letter in inbox.letters():
                self._meet(inbox, letter, present)
            if present.keys() == self._attendants.keys():
                break
            stop.pause(poll)
        return present

    def _meet(self, inbox: Inbox, letter: Letter, present: dict[str, bytes]) -> None:
        try:
            value = open_stand_in(self._pinned, inbox.contents(letter, REHEARSAL_LIMIT))
            self._check_own(letter, value, present)
        except (Malformed, Rejected) as error:
            inbox.refuse(letter, error)
            self._watch.refused(letter.party, error)
            return
        inbox.take(letter)
        inbox.settle()  # nothing of it is asked for again: a rehearsal that is killed begins anew
        attendant = self._attendants[letter.party]
        present[letter.party], attendant.software = value.public_key, value.software
        attendant.reached = self._watch.passed() if attendant.reached is None else attendant.reached

    def _check_own(self, letter: Letter, value: StandIn, present: dict[str, bytes]) -> None:
        if value.party != letter.party:
            raise Rejected("foreign", f"a stand-in of {letter.party}", f"one of {value.party}")
        if value.rehearsal != self._stand_in.public_key:
            raise Rejected("rehearsal", self._stand_in.public_key.hex(), value.rehearsal.hex())
        taken = {self._stand_in.public_key, *(key for name, key in present.items() if name != value.party)}
        if value.public_key in taken:
            raise Rejected("stand-in", "a key of its own", "another party's")

    def _prepare(self, board: PublicDirectory) -> None:
        """Make a directory to meet in. Who may write there is who may write into the federation's inboxes."""
        board.create()
        usual = self._public / INBOX
        if usual.is_dir():
            rights, own = usual.stat(), board.path / INBOX
            if rights.st_gid != own.stat().st_gid:
                os.chown(own, -1, rights.st_gid)
            own.chmod(stat.S_IMODE(rights.st_mode))

    # ---- the round ----

    def _play(
        self, rehearsed: PinnedPolicy, server: ServerAgent, model: bytes, stop: Stop, poll: float
    ) -> tuple[str, int]:
        board = PublicDirectory(self._public / REHEARSED_ROUND)
        refusals = Refusals(self._state / "refusals.jsonl", self._clock.wall)
        inbox = _WatchedInbox(board.path, rehearsed, refusals, self._watch)
        patience = max(self._patience, _LEAST_PATIENCE)
        deadlines = DeadlinesConfig(clients=patience, trustees=patience, give_up=patience, quorum=0, poll=poll)
        measures = Measures(MetricsFile(self._state / "metrics.jsonl", 0o600), lambda *_: {}, self._progress)
        initial = decode_model(model, rehearsed.policy.dimension)
        terms = RunTerms(1, 0, lambda _: ())
        self._prepare(board)
        host = _RehearsingHost(server, terms, board, inbox, deadlines, measures, self._clock, initial)
        ended = ""
        try:
            host.run(stop)
        except Rejected as error:
            if error.check not in ("rounds", *NO_WAY_ON):
                raise
            ended = "" if error.check == "rounds" else f"it came to no end: {error}"
        self._count_missing(rehearsed, server)
        if ended or not host.summaries:
            return ended or "it came to no end", 0
        return host.summaries[-1].aborted or "closed", host.summaries[-1].size

    def _count_missing(self, rehearsed: PinnedPolicy, server: ServerAgent) -> None:
        """What each party was asked for, and has not said."""
        ended = ended_rounds(rehearsed, server.log.entries(0, server.size))
        cohort = ended[-1].last.cohort if ended else None
        releasing = cohort.message.trustees if cohort is not None else ()
        for member in rehearsed.policy.trustees:
            asked = (*_OF_TRUSTEES, *((_RELEASE,) if member.id in releasing else ()))
            self._lacks(member.id, asked)
        for member in rehearsed.policy.roster:
            self._lacks(member.id, (_SUBMISSION,))

    def _lacks(self, name: str, asked: tuple[str, ...]) -> None:
        attendant = self._attendants[name]
        attendant.missing += tuple(kind for kind in asked if kind not in attendant.answered)
