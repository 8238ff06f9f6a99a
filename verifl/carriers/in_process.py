"""Every party in this process: the default carrier.

There is one agent a party, each with its own key and directory, and they exchange nothing but what they would send each
other over a network. The conductor says whom to ask what; here one after another is asked, once. What they and the log
have on disk is all that a run needs to go on where another was killed: every step is taken again from there, and
whoever has answered already answers with the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from proofs.errors import Rejected
from protocols.log.writer import DiskWatch
from protocols.rounds.conductor import Due
from protocols.rounds.exchange import Acknowledge, OfferKey, Question, ReleaseShare, Submit
from protocols.rounds.trustee import ERASED
from protocols.rounds.waits import DAY
from verifl.agents.client import ZeroTurn
from verifl.agents.clock import ONE_PROCESS, CosignatureClock, MachineClock
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
from verifl.carriers.rounds import Awaited, Measures, Rounds, RunTerms
from verifl.carriers.turns import Dropouts, Onlooker
from verifl.formatting import counted, format_names
from verifl.progress import RoundSummary
from verifl.storage.history import MetricsFile
from verifl.storage.stores import unobserved
from verifl.training.update_watch import UpdateWatch


class InProcess:
    """Runs the clients one after another; the transcript is that of a federation over a network.

    watch: called with a description before each change of a state directory or the transcript; to test crashes. cast:
    who plays the trustees and clients.
    """

    def __init__(self, watch: DiskWatch = unobserved, cast: Casting = honest_company) -> None:
        self._watch, self._cast = watch, cast

    def run(self, session: Session, parties: Parties) -> RunResult:
        """See `Carrier.run`; goes on where the files in the directory end.

        Where no further round can be closed it closes the federation, with the last closed model. Raises
        Rejected("rounds") if too many rounds were aborted, Rejected("too-few-submissions") if that happened twice in a
        row because clients dropped out, and Misuse if the turns of all clients failed. However it ends, the
        transcript is left as of its last checkpoint, without the blobs of what came after, except for entries that
        trustees may have seen.
        """
        own, transcript, clock = parties.coordinator, session.directory.transcript, CosignatureClock()
        arguments = (session.pinned, own, transcript, session.initial, session.device, ONE_PROCESS, self._watch)
        with open_server(*arguments, approvals=session.approvals) as server:
            if server.note:
                clock.follow(server.note)
            company = self._cast(session, parties, server.said(), clock, self._watch)
            _check_coordinator(own, server, company)
            return _Run(session, server, company).result()


def _check_coordinator(own: Party, server: ServerAgent, company: Company) -> None:
    """The coordinator's state is not older than what it had signed: no trustee has seen more of the log."""
    for trustee in company.trustees.values():
        if trustee.size > server.size:
            raise outdated_state(own.directory, f"{trustee.size} log entries", f"{server.size} log entries")


class _Run(Rounds):
    """Carries questions and answers, and tells the user how it goes."""

    def __init__(self, session: Session, server: ServerAgent, company: Company) -> None:
        policy, config = session.pinned.policy, session.config.federation
        measures = Measures(MetricsFile(session.directory.metrics), session.training.evaluate, session.progress)
        once = session.config.stopping, config.close
        terms = RunTerms(config.rounds, policy.max_aborts, lambda _: session.changes, *once)
        super().__init__(server, terms, measures, MachineClock())
        self._session, self._trustees, self._clients = session, company.trustees, company.clients
        self._dropouts = Dropouts(policy.min_cohort)
        self._watch = UpdateWatch(session.training.layout, policy.update, policy.noise is not None)

    def result(self) -> RunResult:
        """Genesis, then rounds until as many as configured have closed; nobody is waited for."""
        for _ in self.play(self._session.initial):
            pass
        if zeros := self._dropouts.zeros:
            clients = format_names(
                [f"{client} in {counted(count, 'round')}" for client, count in sorted(zeros.items())]
            )
            self._session.progress.note(f"training came to nothing, and the update zero was sent: {clients}")
        model, initial = self._server.model(), self.initial.metrics
        return RunResult(tuple(self.summaries), model, initial, self.ended, self.stopped, self.spent())

    def resumed(self) -> None:
        """See `Rounds.resumed`."""
        for past in self.summaries:
            self._keep_receipts(past.round)

    def begins(self) -> None:
        """See `Rounds.begins`."""
        if self._session.promise:
            self._session.progress.note(self._session.promise)

    def concluded(self, summary: RoundSummary, may_repeat: bool) -> None:
        """See `Rounds.concluded`."""
        self._keep_receipts(summary.round)
        self._dropouts.judge(summary, may_repeat)

    def carry(self, due: Due) -> Iterator[Awaited]:
        """See `Rounds.carry`: whoever has an answer gives it. Who is asked, but not here, is silent: a party that is
        about to be revoked may have lost its key."""
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
        return iter(())

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
        """Every client's turn; then those of trustees who add noise, when it is clear that the round has updates."""
        adding = self._session.pinned.noise_trustees
        self._train_all(question, [client for client in clients if client.name not in adding])
        for client in clients:
            if client.name in adding:
                self._turn(client, question)

    def _train_all(self, question: Submit, clients: Sequence[AskedClient]) -> None:
        self._watch.begin()
        current = self._server.ledger.current
        with self._dropouts.turns(question.round, len(clients), current is not None and bool(current.submissions)):
            for client in clients:
                client.prepare(question, self._server.log)
            for client in clients:
                with self._dropouts.turn():
                    self._turn(client, question)
            for zero in self._dropouts.put_off():
                self._turn(self._clients[zero.failure.client], question, zero)
        self._watch.end(question.round)
        if zeros := self._dropouts.sent_zero:
            self._session.progress.note(
                f"round {question.round}: {len(zeros)} of {len(clients)} sent the update zero, {format_names(zeros)}; "
                "the round costs their privacy budget all the same"
            )

    def _turn(self, client: AskedClient, question: Submit, zero: ZeroTurn | None = None) -> None:
        observer = Onlooker(self._stage, self._watch, self._dropouts.sends_zero)
        package = client.answer(question, self._server.log, observer, zero)
        self._server.take(client.name, package)
        size = len(package.entry) + sum(map(len, package.blobs.values()))
        self._session.progress.submitted(client.name, size, observer.clipped)

    def _keep_receipts(self, number: int) -> None:
        hand_out_receipts(self._server, self._clients.values(), number, self._session.progress.note)

    def _stage(self, text: str) -> None:
        self._session.progress.stage(f"round {self._server.ledger.next_round}: {text}")
