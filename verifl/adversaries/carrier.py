"""A federation in one process in which some parties lie: `Carrier` for `--inject`.

As with the default carrier, parties exchange nothing but what they would send each other over a network. Here any of
them may also be silent, late or wrong, so whoever refuses something is noted, and the run goes on for as long as t
trustees go along.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from proofs.errors import Misuse, Rejected
from protocols.log.writer import TranscriptWriter
from protocols.noise_trustees import noise_trustees, training_clients
from protocols.rounds.conductor import Due, Stage
from protocols.rounds.exchange import (
    Acknowledge,
    Answer,
    Observe,
    OfferKey,
    Question,
    ReleaseShare,
    SubmissionPackage,
    Submit,
)
from protocols.rounds.ledger import CurrentRound, asked_clients
from verifl.adversaries.cast import CLIENTS, Cast, LyingClientAgent
from verifl.adversaries.clients import PublicRound
from verifl.adversaries.coordinators import AsksUndrawn
from verifl.adversaries.forgeries import Caught, Declined, Scene
from verifl.adversaries.injections import Injection, assign
from verifl.adversaries.registry import DRAWN_CLIENTS, FIRST_ROUND, Role
from verifl.adversaries.trustees import NO_ANSWER
from verifl.agents.client import ClientAgent
from verifl.agents.clock import MachineClock
from verifl.agents.server import ServerAgent, unmasked
from verifl.carriers.base import Parties, RunResult, Session
from verifl.carriers.company import SAID_OF, hand_out_receipts
from verifl.carriers.rounds import Awaited, Measures, Rounds, RunTerms
from verifl.carriers.turns import Dropouts, Onlooker
from verifl.progress import RoundSummary
from verifl.storage.history import MetricsFile
from verifl.training.update_watch import UpdateWatch

COORDINATOR = "the coordinator"


class InjectedCarrier:
    """Runs a session with these injections, all of them in round 2. refusals: what honest parties refused in it."""

    def __init__(self, injections: Sequence[Injection]) -> None:
        self._injections = tuple(injections)
        self.refusals: list[Declined] = []

    def run(self, session: Session, parties: Parties) -> RunResult:
        """See `Carrier.run`. Raises Caught where honest parties end the run, Misuse where the injections do not fit the
        federation."""
        policy, rounds = session.pinned.policy, session.config.federation.rounds
        if rounds < FIRST_ROUND:
            raise Misuse(f"federation.rounds: expected {FIRST_ROUND} or more with --inject, found {rounds}")
        clients = [*(each.id for each in training_clients(policy)), *sorted(noise_trustees(policy))]
        injections = assign(self._injections, clients, [each.id for each in policy.trustees])
        for each in injections:
            if each.kind.by is Role.CLIENT:
                CLIENTS[each.kind.name].require(session.pinned)
            if each.kind.needs == DRAWN_CLIENTS and (policy.per_round or len(policy.roster)) == len(policy.roster):
                raise Misuse(f"inject: {each.kind.name} needs {DRAWN_CLIENTS} (limits.per_round), not all of them")
        transcript = session.directory.transcript
        if transcript.exists():
            raise Misuse(f"{transcript}: --inject starts a federation, and does not go on with one")
        session.directory.mark_injected()
        try:
            with TranscriptWriter(transcript) as writer:
                return _Run(session, parties, writer, injections, self.refusals).result()
        except BaseException as error:
            with unmasked(error):
                TranscriptWriter(transcript).close()  # opening a directory recovers it
            raise


# What a trustee is asked, as whoever refuses it is told of, and what is told of it while it works.
_ASKED: dict[type[Question], tuple[str, str]] = {
    Observe: ("to cosign", ""),
    OfferKey: ("a round key", ""),
    Acknowledge: ("to acknowledge", "verifies its shares"),
    ReleaseShare: ("to release", "releases its share of the sum"),
}


class _Run(Rounds):
    """The rounds, with whoever refuses noted."""

    def __init__(
        self,
        session: Session,
        parties: Parties,
        writer: TranscriptWriter,
        injections: Sequence[Injection],
        refusals: list[Declined],
    ) -> None:
        self._refusals, self._number = refusals, 0
        cast = Cast(session, parties, injections, self._active)
        transcript, policy = session.directory.transcript, session.pinned.policy
        arguments = (session.pinned, cast.coordinator, writer, transcript, session.initial, session.approvals)
        server = ServerAgent(*arguments)
        measures = Measures(MetricsFile(session.directory.metrics), session.training.evaluate, session.progress)
        wanted = session.config.federation
        once = session.config.stopping, wanted.close
        terms = RunTerms(wanted.rounds, policy.max_aborts, lambda _: (), *once)
        super().__init__(server, terms, measures, MachineClock())
        self._session, self._dropouts = session, Dropouts(policy.min_cohort)
        self._watch = UpdateWatch(session.training.layout, policy.update, policy.noise is not None)
        self._trustees, self._clients = cast.asked_trustees(), cast.asked_clients()
        self._late: list[tuple[str, SubmissionPackage]] = []  # what is sent once it is too late, and by whom
        self._forgery, self._scene = cast.forgery(), cast.scene(refusals)
        for each in injections:
            session.progress.note(f"injected in round {FIRST_ROUND}: {_describe(each)}")

    def result(self) -> RunResult:
        """Genesis, then rounds until as many as configured have closed."""
        for _ in self.play(self._session.initial):
            pass
        model, initial = self._server.model(), self.initial.metrics
        return RunResult(tuple(self.summaries), model, initial, self.ended, self.stopped, self.spent())

    def resumed(self) -> None:
        """See `Rounds.resumed`: a run with injections begins, and does not go on."""

    def begins(self) -> None:
        """See `Rounds.begins`."""

    def concluded(self, summary: RoundSummary, may_repeat: bool) -> None:
        """See `Rounds.concluded`."""
        hand_out_receipts(self._server, self._clients, summary.round, self._session.progress.note)
        self._act(self._forgery.ended)
        self._dropouts.judge(summary, may_repeat)

    def _active(self) -> bool:
        return self._number == FIRST_ROUND

    def _act(self, moment: Callable[[Scene], None]) -> None:
        if self._active():
            moment(self._scene)

    def carry(self, due: Due) -> Iterator[Awaited]:
        """See `Rounds.carry`; a server that forges does it when its moment has come."""
        if due.stage is Stage.KEYS:
            self._number = self._server.ledger.next_round
        self._ask(due)
        if due.stage in SAID_OF:
            self._stage(SAID_OF[due.stage])
        self._server.proceed()
        if due.stage is Stage.SUBMISSIONS:
            self._forgery.collected(self._scene)
        if due.stage is Stage.ACKNOWLEDGEMENTS and self._server.ledger.current is not None:
            self._act(self._forgery.closing)
        return iter(())

    def _ask(self, due: Due) -> None:
        match due.question:
            case Submit():
                self._act(self._forgery.opened)
                self._collect()
            case OfferKey() as question:
                self._stage("the trustees make round keys")
                self._ask_trustees(question, due.parties)
            case ReleaseShare() as question:
                self._act(self._forgery.closed)
                for name, package in self._late:
                    self._log(name, package)
                self._ask_trustees(question, due.parties)
            case Observe() | Acknowledge() as question:
                self._ask_trustees(question, due.parties)

    def _ask_trustees(self, question: Question, parties: Sequence[str]) -> None:
        """Have each answer, if it will, and the coordinator take it. If fewer than t cosign or release, as honest ones
        refuse, the run ends."""
        refused, (asked, doing) = len(self._refusals), _ASKED[type(question)]
        for name in parties:
            if doing:
                self._stage(f"{name} {doing}")
            answer = self._scene.ask(name, asked, partial(self._trustees[name].answer, question, self._server.log))
            if answer is not None:
                self._log(name, answer)
        if isinstance(question, Observe | ReleaseShare):
            self._stop(self._refusals[refused:], len(parties))

    def _collect(self) -> None:
        """Every client's turn, liars last; also of those who are not asked in a repetition."""
        self._late = []
        self._watch.begin()
        invited = self._invited()
        with self._dropouts.turns(self._number, len(invited), False):
            for client in invited:
                with self._dropouts.turn():
                    self._send(client, self._turn(client))
        self._watch.end(self._number)

    def _invited(self) -> list[ClientAgent | LyingClientAgent]:
        """Whom the server asks: where clients are drawn those, or everybody if that is its lie."""
        asks_all = self._active() and isinstance(self._scene.coordinator, AsksUndrawn)
        if self._session.pinned.policy.per_round is None or asks_all:
            return self._clients
        drawn = set(asked_clients(self._session.pinned, self._server.ledger))
        return [client for client in self._clients if client.name in drawn]

    def _send(self, client: ClientAgent | LyingClientAgent, packages: Sequence[SubmissionPackage]) -> None:
        for package in packages:
            if self._active() and not self._current().submissions:
                self._intercept(package)
            if self._active() and isinstance(client, LyingClientAgent) and client.late:
                self._late.append((client.name, package))
            else:
                self._log(client.name, package)

    def _intercept(self, package: SubmissionPackage) -> None:
        """Liars see a round's first submission before the coordinator does."""
        for client in self._clients:
            if isinstance(client, LyingClientAgent):
                for another in client.intercept(package):
                    self._log(client.name, another)

    def _turn(self, client: ClientAgent | LyingClientAgent) -> list[SubmissionPackage]:
        """What a client sends."""
        onlooker, log, current = Onlooker(self._stage, self._watch), self._server.log, self._current()
        if isinstance(client, LyingClientAgent):
            public = PublicRound([each.message for each in current.submissions], log.blob)
            packages = client.answers(log, public, onlooker)
        else:
            packages = [client.answer(Submit(current.number, self._server.note), log, onlooker)]
        for package in packages:
            size = len(package.entry) + sum(map(len, package.blobs.values()))
            self._session.progress.submitted(client.name, size, onlooker.clipped)
        return packages

    def _log(self, party: str, sent: Answer) -> None:
        """Have the coordinator log what a party sent, if it will."""
        self._scene.ask(COORDINATOR, f"to log what {party} sent", lambda: self._server.take(party, sent))

    def _stop(self, refusals: Sequence[Declined], asked: int) -> None:
        objections = [each for each in refusals if each.check != NO_ANSWER]
        if objections and asked - len(refusals) < self._session.pinned.policy.threshold:
            raise Caught(objections, "")

    def _current(self) -> CurrentRound:
        current = self._server.ledger.current
        if current is None:
            raise Rejected("order", "an open round", "none")
        return current

    def _stage(self, text: str) -> None:
        self._session.progress.stage(f"round {self._number}: {text}")


def _describe(injection: Injection) -> str:
    party = ", ".join(injection.parties)
    by = f"{injection.liar} lies: " if injection.liar and injection.liar not in injection.parties else ""
    about = f" ({party})" if party else ""
    return f"{by}{injection.kind.name}{about}: {injection.kind.summary}"
