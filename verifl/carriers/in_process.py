"""Every party in this process: the default engine.

Client, trustees and coordinator are the state machines of `protocols.rounds`, each with its own state directory, and
they exchange nothing but what they would send each other over a network. The conductor says whom to ask what; here
one party after another is asked, once. What they and the log have on disk is all that a run needs to go on where
another was killed: every step is taken again from there, and whoever has answered already answers with the same bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.conductor import Conductor, Due, Stage
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.evidence import NO_EVIDENCE, OUTDATED, Evidence, said_in
from protocols.rounds.exchange import (
    Acknowledge,
    Acknowledgement,
    Answer,
    Cosignature,
    Observe,
    OfferKey,
    Publication,
    ReleaseShare,
    RoundKeyOffer,
    SubmissionPackage,
    Submit,
)
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.record import Published, pending_entries
from protocols.rounds.trustee import ERASED, Trustee
from protocols.rounds.waits import DAY
from protocols.steps.step import decode_model
from verifl.agents.clock import ONE_PROCESS, CosignatureClock
from verifl.agents.summation import summation_on
from verifl.carriers.base import EngineResult, Session, unmasked
from verifl.carriers.ending import describe_ending, due_ending
from verifl.carriers.turns import Dropouts, closed_and_aborted, train_turn
from verifl.formatting import format_metrics
from verifl.progress import RoundSummary
from verifl.storage.history import EndedRound, MetricsFile, exclusions, past_rounds, published_bytes, summarize
from verifl.storage.receipts import keep_receipts
from verifl.storage.stores import DirectoryStore, Step, unobserved
from verifl.tasks.user_code import ClientFailed
from verifl.training.own_tensors import LocalState
from verifl.training.tensors import Vector
from verifl.training.update_watch import UpdateWatch


class InProcessEngine:
    """Runs the clients one after another; the transcript is that of a federation over a network.

    step: called with a description before each change of a state directory or the transcript; to test crashes.
    """

    def __init__(self, step: Step = unobserved) -> None:
        self._step = step

    def run(self, session: Session) -> EngineResult:
        """See `FederationEngine.run`; goes on where the files in the directory end.

        Where no further round can be closed it closes the federation, with the last closed model. Raises
        Rejected("rounds") if too many rounds were aborted, Rejected("too-few-submissions") if that happened twice in a
        row because clients dropped out, and Misuse if the turns of all clients failed. However it ends, the
        transcript is left as of its last checkpoint, without the blobs of what came after, except for entries that
        trustees may have seen.
        """
        transcript = session.directory.transcript
        store = _store_of(session, self._step, "coordinator", "store")
        try:
            with TranscriptWriter(transcript, step=self._step, keep=pending_entries(store)) as writer:
                return _Run(session, writer, store, self._step).rounds()
        except BaseException as error:
            with unmasked(error):
                TranscriptWriter(transcript, keep=pending_entries(store)).close()  # opening a directory recovers it
            raise


def _store_of(session: Session, step: Step, *party: str) -> DirectoryStore:
    return DirectoryStore(session.directory.state.joinpath(*party), step)


# What is told of a stage when the coordinator goes on.
_SAID_OF = {
    Stage.SUBMISSIONS: "the coordinator verifies the proofs",
    Stage.RELEASES: "the coordinator opens the sum",
}


class _Run:
    def __init__(self, session: Session, writer: TranscriptWriter, store: DirectoryStore, step: Step) -> None:
        self._session, self._writer, self._step = session, writer, step
        self._blobs = TranscriptReader(session.directory.transcript).blob
        self._metrics = MetricsFile(session.directory.metrics)
        self._clock = CosignatureClock()
        self._dropouts = Dropouts(session.enrolment.policy.min_cohort)
        self._ended: str | None = None
        self._watch = UpdateWatch(session.training.layout, session.enrolment.policy.update)
        enrolment, engine = session.enrolment, get_engine("native")
        self._pinned = PinnedPolicy.open(enrolment.policy_file)
        published = self._published()
        self._coordinator = Coordinator(
            self._pinned,
            enrolment.coordinator,
            store,
            engine,
            summation_on(session.device),
            self._blobs,
            ONE_PROCESS,
            published,
        )
        self._conductor = Conductor(self._pinned, self._coordinator, session.initial)
        said = said_in(self._coordinator.note, self._entries(0, self._coordinator.size))
        self._trustees = {name: self._trustee(name, engine, said) for name in enrolment.trustees}
        self._clients = {name: self._client(name, engine, said) for name in enrolment.clients}

    def rounds(self) -> EngineResult:
        """Genesis, then rounds until as many as configured have closed; what has been done already is not repeated."""
        initial = self._initial()
        self._writer.put_policy(self._pinned.data)
        if self._coordinator.size == 0:
            self._play()
        else:
            self._take_up()
        summaries = self._past(initial)
        for past in summaries:
            self._keep_receipts(past.round)
        self._go_on(summaries)
        self._change()
        return EngineResult(tuple(summaries), self._model(), initial.metrics, self._ended)

    def _go_on(self, summaries: list[RoundSummary]) -> None:
        """Rounds, until as many as wanted have closed, or so many were aborted that nobody should go on unasked."""
        wanted, before = self._session.config.federation.rounds, len(summaries)
        while sum(each.aborted is None for each in summaries) < wanted:
            self._change()
            if self._given_up(summaries, before):
                return
            if self._aborted(summaries[before:]) > self._pinned.policy.max_aborts:
                found = f"{closed_and_aborted(summaries)}, the last of them for {summaries[-1].aborted}"
                raise Rejected("rounds", f"{wanted} to close", found)
            if len(summaries) == before and self._session.promise:
                self._session.progress.note(self._session.promise)
            summaries.append(self._round(sum(each.aborted is None for each in summaries)))
            self._report(summaries[-1])
            may_repeat = self._aborted(summaries[before:]) <= self._pinned.policy.max_aborts
            self._dropouts.judge(summaries[-1], may_repeat)

    @staticmethod
    def _aborted(summaries: Sequence[RoundSummary]) -> int:
        return sum(each.aborted is not None for each in summaries)

    def _given_up(self, summaries: Sequence[RoundSummary], before: int) -> bool:
        """Whether the federation is closed; it is closed now where the rounds of this run, those after the first
        `before`, show that none is to be expected any more."""
        reason = self._coordinator.ledger.closed
        if reason is None:
            reason = due_ending(self._coordinator, summaries[before:])
            if reason is None:
                return False
            self._put(self._conductor.end(reason))
            self._settle()
        self._ended = describe_ending(reason, summaries, self._session.config.federation.rounds)
        self._session.progress.note(self._ended)
        return True

    def _published(self) -> Published | None:
        """What the transcript already has."""
        size = self._writer.published_size
        if size == 0:
            return None
        reader = TranscriptReader(self._session.directory.transcript)
        self._clock.follow(reader.latest())
        return Published(reader.latest(), reader.entries(0, size))

    def _take_up(self) -> None:
        """Go on from a log with entries: those that trustees may have seen are published first."""
        size = self._writer.published_size
        self._check_coordinator()
        self._writer.append(self._entries(size, self._coordinator.size))
        self._settle()
        ledger = self._coordinator.ledger
        where = f"in round {ledger.rounds}" if ledger.current else f"after round {ledger.rounds}"
        self._session.progress.note(f"resumed {where}, at {self._coordinator.size} log entries")

    def _check_coordinator(self) -> None:
        """The coordinator's state is not older than what it had signed: no trustee has seen more of the log."""
        size = self._coordinator.size
        for trustee in self._trustees.values():
            if trustee.size > size:
                raise Misuse(_outdated("coordinator", f"{trustee.size} log entries", f"{size} log entries"))

    def _initial(self) -> RoundSummary:
        """Of the initial model, before anybody has said anything: evaluate() may be wrong."""
        measured = self._metrics.measured().get(0)
        metrics = self._session.training.evaluate(self._session.initial) if measured is None else measured[0]
        return RoundSummary.initial(metrics)

    def _past(self, initial: RoundSummary) -> list[RoundSummary]:
        """The rounds that have ended; one whose line in the metrics is missing is told now."""
        known, transcript = self._metrics.measured(), self._session.directory.transcript
        past = past_rounds(self._pinned, self._coordinator, transcript, self._metrics, self._evaluated)
        self._metrics.rewrite([initial, *past])
        if 0 not in known and initial.metrics:
            self._session.progress.note(f"round 0, the initial model: {format_metrics(initial.metrics)}")
        for summary in past:
            if summary.round not in known:
                self._session.progress.round_ended(summary, self._session.config.federation.rounds)
        return past

    def _evaluated(self, model: bytes) -> dict[str, float]:
        vector = decode_model(self._blobs(model, self._pinned.model_size), self._pinned.policy.dimension)
        return self._session.training.evaluate(vector)

    def _round(self, closed: int) -> RoundSummary:
        """One round of spec 8, from the round keys to its end, or the rest of it; `closed`: how many closed before."""
        started, first = time.perf_counter(), self._coordinator.ledger.ended
        if self._coordinator.ledger.current is None:
            self._conductor.open_round()
        self._play()
        end = self._conductor.ended
        metrics = self._session.training.evaluate(self._model())
        seconds = time.perf_counter() - started
        ledger, count = self._coordinator.ledger, self._coordinator.size
        size = published_bytes(self._session.directory.transcript, self._entries(first, count))
        closed += end.aborted is None
        ended = EndedRound(end.last, end.aborted, ledger.model or b"", first, count, end.asked, closed)
        excluded = exclusions(self._coordinator, self._pinned, end.last)
        return summarize(ended, excluded, metrics, seconds, size)

    def _change(self) -> None:
        """Log the rotations and revocations that are due, between rounds; who is revoked takes no part from then on."""
        if self._coordinator.ledger.current is not None:
            return
        for entry in self._session.enrolment.changes:
            self._put(self._conductor.change(entry))
        self._settle()

    def _play(self) -> None:
        """Everything that is due."""
        while self._conductor.due.stage is not Stage.IDLE:
            self._carry(self._conductor.due)

    def _settle(self) -> None:
        """What is logged cosigned and published."""
        while self._conductor.due.stage in (Stage.SIGN, Stage.COSIGN):
            self._carry(self._conductor.due)

    def _carry(self, due: Due) -> None:
        """One step: whoever has an answer gives it, and the coordinator goes on. Who is asked, but not here, is silent:
        a party that is about to be revoked may have lost its key."""
        number = self._coordinator.ledger.next_round
        parties = [name for name in due.parties if name in self._trustees or name in self._clients]
        match due.question:
            case Observe() as question:
                self._observe(question, parties)
            case OfferKey():
                self._stage(number, "the trustees make round keys")
                for name in parties:
                    self._take(name, RoundKeyOffer(self._trustees[name].round_key(number)))
            case Submit():
                self._collect(parties, number)
            case Acknowledge() | ReleaseShare() as question:
                for name in parties:
                    self._ask_about_shares(self._trustees[name], question)
        if due.stage in _SAID_OF:
            self._stage(number, _SAID_OF[due.stage])
        if due.stage is Stage.SIGN:  # blobs are durable before entries that name them may be seen
            self._writer.sync()
        self._put(self._conductor.proceed())

    def _observe(self, question: Observe, parties: Sequence[str]) -> None:
        now = self._clock.now()
        for name in parties:
            trustee = self._trustees[name]
            entries = self._entries(trustee.size, question.size)
            self._take(name, Cosignature(trustee.observe(question.note, entries, now)))

    def _collect(self, parties: Sequence[str], number: int) -> None:
        """Every client's turn."""
        self._dropouts.begin()
        self._watch.begin()
        for name in parties:
            try:
                self._submit(self._clients[name], number)
            except ClientFailed as failure:
                self._dropouts.add(failure, number)
        if not self._current().submissions:
            self._dropouts.require_any(len(parties), number)
        self._watch.end(number)

    def _ask_about_shares(self, trustee: Trustee, question: Acknowledge | ReleaseShare) -> None:
        """A trustee that has erased a round's secrets says nothing in it; with too few others the round is aborted."""
        number, note = question.round, question.note
        try:
            if isinstance(question, Acknowledge):
                self._stage(number, f"{trustee.name} verifies its shares")
                self._take(trustee.name, Acknowledgement(trustee.acknowledge(number, note, self._blobs)))
            else:
                self._stage(number, f"{trustee.name} releases its share of the sum")
                self._take(trustee.name, trustee.release(number, note, self._blobs))
        except Rejected as error:
            if error.check != ERASED:
                raise
            days = ONE_PROCESS.secrets // DAY
            said = f"{trustee.name} has erased what it had of this round, which it keeps for {days} days"
            self._session.progress.note(f"round {number}: {said}")

    def _take(self, party: str, answer: Answer) -> None:
        self._put(self._conductor.take(party, answer))

    def _submit(self, client: Client, number: int) -> None:
        """The client's turn: verify the round, then train, commit, prove, encrypt and share, unless it has answered."""
        self._stage(number, f"{client.name} trains")
        opened = client.accept(self._coordinator.invitation(client.last_seen, client.known_changes), self._model_blob())
        package, clipped = client.answered(opened), False
        if package is None:
            package, clipped = self._answer(client, opened)
        self._take(client.name, package)
        size = len(package.entry) + sum(map(len, package.blobs.values()))
        self._session.progress.submitted(client.name, size, clipped)

    def _answer(self, client: Client, opened: OpenRound) -> tuple[SubmissionPackage, bool]:
        """(submission, whether the update was longer than the clip norm)"""
        local = LocalState(_store_of(self._session, self._step, "clients", client.name, "training"))
        update = train_turn(self._session.training, self._watch, local, client.name, opened)
        self._stage(opened.number, f"{client.name} proves and encrypts")
        return client.submit(opened, update.units), update.clipped

    def _keep_receipts(self, number: int) -> None:
        keep_receipts(self._session.directory, self._pinned, number, self._session.progress.note)

    def _report(self, summary: RoundSummary) -> None:
        self._keep_receipts(summary.round)
        self._metrics.append(summary)
        self._session.progress.round_ended(summary, self._session.config.federation.rounds)

    def _put(self, publication: Publication) -> None:
        """Blobs before the entries that name them, and these before a checkpoint of them."""
        for blob in publication.blobs.values():
            self._writer.put_blob(blob)
        if publication.entries:
            self._writer.append(publication.entries)
        if publication.note:
            self._writer.publish(publication.note)

    def _entries(self, start: int, stop: int) -> Sequence[bytes]:
        return self._coordinator.entries(start, stop)

    def _current(self) -> CurrentRound:
        current = self._coordinator.ledger.current
        if current is None:
            raise Rejected("order", "an open round", "none")
        return current

    def _model(self) -> Vector:
        return self._coordinator.step_state().model

    def _model_blob(self) -> bytes:
        return self._blobs(self._current().message.model, self._pinned.model_size)

    def _stage(self, number: int, text: str) -> None:
        self._session.progress.stage(f"round {number}: {text}")

    def _trustee(self, name: str, engine: Engine, said: Mapping[str, Evidence]) -> Trustee:
        store, rand = _store_of(self._session, self._step, "trustees", name, "store"), self._session.rand
        enrolment = self._session.enrolment
        key, successors = enrolment.trustees[name], enrolment.successors.get(name, ())
        told = said.get(name, Evidence(self._coordinator.note))
        with _newest_state(f"trustees/{name}"):
            return Trustee(self._pinned, key, name, store, engine, rand, ONE_PROCESS, successors, told)

    def _client(self, name: str, engine: Engine, said: Mapping[str, Evidence]) -> Client:
        store, rand = _store_of(self._session, self._step, "clients", name, "store"), self._session.rand
        enrolment = self._session.enrolment
        key, successors = enrolment.clients[name], enrolment.successors.get(name, ())
        told = said.get(name, NO_EVIDENCE)
        with _newest_state(f"clients/{name}"):
            return Client(self._pinned, key, name, store, engine, rand, successors, told)


@contextlib.contextmanager
def _newest_state(party: str) -> Iterator[None]:
    """A party that remembers less than it said does not start."""
    try:
        yield
    except Rejected as error:
        if error.check != OUTDATED:
            raise
        raise Misuse(_outdated(party, error.expected, error.found)) from None


def _outdated(party: str, said: str, known: str) -> str:
    return (
        f"state/{party}: this state is older than what its party said: expected {said}, found {known}; never put back "
        "an old copy of a state: put back the newest, or start a new federation"
    )
