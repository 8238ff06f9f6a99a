"""Every party in this process: the default carrier.

There is one agent a party, each with its own key and directory, and they exchange nothing but what they would send each
other over a network. The conductor says whom to ask what; here one after another is asked, once. What they and the log
have on disk is all that a run needs to go on where another was killed: every step is taken again from there, and
whoever has answered already answers with the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from proofs.errors import Rejected
from protocols.log.writer import DiskWatch
from protocols.rounds.conductor import Due, Stage
from protocols.rounds.exchange import Acknowledge, OfferKey, Question, ReleaseShare, Submit
from protocols.rounds.trustee import ERASED
from protocols.rounds.waits import DAY
from verifl.agents.clock import ONE_PROCESS, CosignatureClock
from verifl.agents.party import Party, outdated_state
from verifl.agents.server import ServerAgent, open_server
from verifl.carriers.base import Parties, RunResult, Session
from verifl.carriers.company import (
    SAID_OF,
    AskedClient,
    AskedTrustee,
    Casting,
    Company,
    hand_out_receipts,
    honest_company,
)
from verifl.carriers.ending import describe_ending, due_ending
from verifl.carriers.turns import Dropouts, Onlooker, closed_and_aborted
from verifl.formatting import format_metrics
from verifl.progress import RoundSummary
from verifl.storage.history import MetricsFile
from verifl.storage.stores import unobserved
from verifl.training.update_watch import UpdateWatch


class InProcess:
    """Runs the clients one after another; the transcript is that of a federation over a network.

    step: called with a description before each change of a state directory or the transcript; to test crashes. cast:
    who plays the trustees and clients.
    """

    def __init__(self, step: DiskWatch = unobserved, cast: Casting = honest_company) -> None:
        self._step, self._cast = step, cast

    def run(self, session: Session, parties: Parties) -> RunResult:
        """See `Carrier.run`; goes on where the files in the directory end.

        Where no further round can be closed it closes the federation, with the last closed model. Raises
        Rejected("rounds") if too many rounds were aborted, Rejected("too-few-submissions") if that happened twice in a
        row because clients dropped out, and Misuse if the turns of all clients failed. However it ends, the
        transcript is left as of its last checkpoint, without the blobs of what came after, except for entries that
        trustees may have seen.
        """
        own, transcript, clock = parties.coordinator, session.directory.transcript, CosignatureClock()
        arguments = (session.pinned, own, transcript, session.initial, session.device, ONE_PROCESS, self._step)
        with open_server(*arguments) as server:
            if server.note:
                clock.follow(server.note)
            company = self._cast(session, parties, server.said(), clock, self._step)
            _check_coordinator(own, server, company)
            return _Run(session, server, company).rounds()


def _check_coordinator(own: Party, server: ServerAgent, company: Company) -> None:
    """The coordinator's state is not older than what it had signed: no trustee has seen more of the log."""
    for trustee in company.trustees.values():
        if trustee.size > server.size:
            raise outdated_state(own.directory, f"{trustee.size} log entries", f"{server.size} log entries")


class _Run:
    """Carries questions and answers, and tells the user how it goes."""

    def __init__(self, session: Session, server: ServerAgent, company: Company) -> None:
        self._session, self._server = session, server
        self._trustees, self._clients = company.trustees, company.clients
        policy = session.pinned.policy
        self._metrics = MetricsFile(session.directory.metrics)
        self._dropouts = Dropouts(policy.min_cohort)
        self._watch = UpdateWatch(session.training.layout, policy.update)
        self._ended: str | None = None

    def rounds(self) -> RunResult:
        """Genesis, then rounds until as many as configured have closed; what has been done already is not repeated."""
        initial = self._initial()
        if self._server.begin():
            self._settle()
            self._tell_resumed()
        else:
            self._play()
        summaries = self._past(initial)
        for past in summaries:
            self._keep_receipts(past.round)
        self._go_on(summaries)
        self._change()
        return RunResult(tuple(summaries), self._server.model(), initial.metrics, self._ended)

    def _go_on(self, summaries: list[RoundSummary]) -> None:
        """Rounds, until as many as wanted have closed, or so many were aborted that nobody should go on unasked."""
        wanted, before = self._session.config.federation.rounds, len(summaries)
        limit = self._session.pinned.policy.max_aborts
        while sum(each.aborted is None for each in summaries) < wanted:
            self._change()
            if self._given_up(summaries, before):
                return
            if self._aborted(summaries[before:]) > limit:
                found = f"{closed_and_aborted(summaries)}, the last of them for {summaries[-1].aborted}"
                raise Rejected("rounds", f"{wanted} to close", found)
            if len(summaries) == before and self._session.promise:
                self._session.progress.note(self._session.promise)
            summaries.append(self._round(sum(each.aborted is None for each in summaries)))
            self._report(summaries[-1])
            self._dropouts.judge(summaries[-1], self._aborted(summaries[before:]) <= limit)

    @staticmethod
    def _aborted(summaries: Sequence[RoundSummary]) -> int:
        return sum(each.aborted is not None for each in summaries)

    def _given_up(self, summaries: Sequence[RoundSummary], before: int) -> bool:
        """Whether the federation is closed; it is closed now where the rounds of this run, those after the first
        `before`, show that none is to be expected any more."""
        reason = self._server.ledger.closed
        if reason is None:
            reason = due_ending(self._server, summaries[before:])
            if reason is None:
                return False
            self._server.end(reason)
            self._settle()
        self._ended = describe_ending(reason, summaries, self._session.config.federation.rounds)
        self._session.progress.note(self._ended)
        return True

    def _tell_resumed(self) -> None:
        ledger = self._server.ledger
        where = f"in round {ledger.rounds}" if ledger.current else f"after round {ledger.rounds}"
        self._session.progress.note(f"resumed {where}, at {self._server.size} log entries")

    def _initial(self) -> RoundSummary:
        """Of the initial model, before anybody has said anything: evaluate() may be wrong."""
        measured = self._metrics.measured().get(0)
        metrics = self._session.training.evaluate(self._session.initial) if measured is None else measured[0]
        return RoundSummary.initial(metrics)

    def _past(self, initial: RoundSummary) -> list[RoundSummary]:
        """The rounds that have ended; one whose line in the metrics is missing is told now."""
        known = self._metrics.measured()
        past = self._server.past(self._metrics, self._evaluated)
        self._metrics.rewrite([initial, *past])
        if 0 not in known and initial.metrics:
            self._session.progress.note(f"round 0, the initial model: {format_metrics(initial.metrics)}")
        for summary in past:
            if summary.round not in known:
                self._session.progress.round_ended(summary, self._session.config.federation.rounds)
        return past

    def _evaluated(self, number: int, model: bytes) -> dict[str, float]:
        return self._session.training.evaluate(self._server.model_of(model), number)

    def _round(self, closed: int) -> RoundSummary:
        """One round of spec 8, from the round keys to its end, or the rest of it; `closed`: how many closed before."""
        started, first = time.perf_counter(), self._server.ledger.ended
        if self._server.ledger.current is None:
            self._server.open_round()
        self._play()
        metrics = self._session.training.evaluate(self._server.model(), self._server.ledger.rounds)
        return self._server.summary(first, closed, metrics, time.perf_counter() - started)

    def _change(self) -> None:
        """Log the rotations and revocations that are due, between rounds; who is revoked takes no part from then on."""
        if self._server.ledger.current is not None:
            return
        for entry in self._session.changes:
            self._server.change(entry)
        self._settle()

    def _play(self) -> None:
        """Everything that is due."""
        while self._server.due.stage is not Stage.IDLE:
            self._carry(self._server.due)

    def _settle(self) -> None:
        """What is logged cosigned and published."""
        while self._server.due.stage in (Stage.SIGN, Stage.COSIGN):
            self._carry(self._server.due)

    def _carry(self, due: Due) -> None:
        """One step: whoever has an answer gives it, and the coordinator goes on. Who is asked, but not here, is silent:
        a party that is about to be revoked may have lost its key."""
        if isinstance(due.question, Submit):
            self._collect(due.question, [self._clients[name] for name in due.parties if name in self._clients])
        elif due.question is not None:
            if isinstance(due.question, OfferKey):
                self._stage("the trustees make round keys")
            for name in due.parties:
                if name in self._trustees:
                    self._ask(self._trustees[name], due.question)
        if due.stage in SAID_OF:
            self._stage(SAID_OF[due.stage])
        self._server.proceed()

    def _ask(self, trustee: AskedTrustee, question: Question) -> None:
        """A trustee that has erased a round's secrets says nothing in it; with too few others the round is aborted."""
        if isinstance(question, Acknowledge):
            self._stage(f"{trustee.name} verifies its shares")
        elif isinstance(question, ReleaseShare):
            self._stage(f"{trustee.name} releases its share of the sum")
        try:
            self._server.take(trustee.name, trustee.answer(question, self._server.log))
        except Rejected as error:
            if error.check != ERASED or not isinstance(question, Acknowledge | ReleaseShare):
                raise
            days = ONE_PROCESS.secrets // DAY
            said = f"{trustee.name} has erased what it had of this round, which it keeps for {days} days"
            self._session.progress.note(f"round {question.round}: {said}")

    def _collect(self, question: Submit, clients: Sequence[AskedClient]) -> None:
        """Every client's turn."""
        self._watch.begin()
        current = self._server.ledger.current
        with self._dropouts.turns(question.round, len(clients), current is not None and bool(current.submissions)):
            for client in clients:
                with self._dropouts.turn():
                    self._turn(client, question)
        self._watch.end(question.round)

    def _turn(self, client: AskedClient, question: Submit) -> None:
        observer = Onlooker(self._stage, self._watch)
        package = client.answer(question, self._server.log, observer)
        self._server.take(client.name, package)
        size = len(package.entry) + sum(map(len, package.blobs.values()))
        self._session.progress.submitted(client.name, size, observer.clipped)

    def _keep_receipts(self, number: int) -> None:
        hand_out_receipts(self._server, self._clients.values(), number, self._session.progress.note)

    def _report(self, summary: RoundSummary) -> None:
        self._keep_receipts(summary.round)
        self._metrics.append(summary)
        self._session.progress.round_ended(summary, self._session.config.federation.rounds)

    def _stage(self, text: str) -> None:
        self._session.progress.stage(f"round {self._server.ledger.next_round}: {text}")
