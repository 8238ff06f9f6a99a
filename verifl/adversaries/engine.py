"""A federation in one process in which some parties lie: `FederationEngine` for `--inject`.

As in the default engine, parties exchange nothing but what they would send each other over a network. Here any of them
may also be silent, late or wrong, so whoever refuses something is noted, and the run goes on for as long as t trustees
go along.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from proofs.engines import get_engine
from proofs.errors import Malformed, Misuse, Rejected
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.receipts import make_receipts
from protocols.rounds.client import Client
from protocols.rounds.conductor import Conductor, Due, Stage
from protocols.rounds.exchange import (
    Acknowledge,
    Acknowledgement,
    Answer,
    Cosignature,
    Observe,
    OfferKey,
    Release,
    ReleaseShare,
    RoundKeyOffer,
    SubmissionPackage,
    Submit,
)
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.trustee import Trustee
from verifl.adversaries import clients, coordinators, provers, trustees
from verifl.adversaries.forgeries import FORGED, FORGERIES, Caught, Forgery, Refusal, Scene
from verifl.adversaries.registry import FIRST_ROUND, Injection, Role, assign
from verifl.adversaries.trustees import NO_ANSWER, Colluding
from verifl.agents.client import train_turn
from verifl.agents.clock import ONE_PROCESS
from verifl.agents.server import unmasked
from verifl.agents.summation import summation_on
from verifl.carriers.base import EngineResult, Parties, Session
from verifl.carriers.ending import describe_ending, due_ending
from verifl.carriers.turns import Dropouts, Onlooker, closed_and_aborted
from verifl.progress import RoundSummary
from verifl.storage.history import EndedRound, MetricsFile, exclusions, published_bytes, summarize
from verifl.storage.receipts import keep_receipt
from verifl.storage.stores import DirectoryStore
from verifl.training.own_tensors import LocalState
from verifl.training.update_watch import UpdateWatch

COORDINATOR = "the coordinator"
CLIENTS = provers.FORGERS | clients.LIARS
CONFIDES = frozenset({"server-drops-client", "server-duplicates-client"})
LEAVES_OUT = frozenset({"server-rejects-valid", "abort-and-retry", "sybil-swap"})
HALVES = frozenset({"two-aborts"})


class InjectedEngine:
    """Runs a session with these injections, all of them in round 2. refusals: what honest parties refused in it."""

    def __init__(self, injections: Sequence[Injection]) -> None:
        self._injections = tuple(injections)
        self.refusals: list[Refusal] = []

    def run(self, session: Session, parties: Parties) -> EngineResult:
        """See `FederationEngine.run`. Raises Caught where honest parties end the run, Misuse where the injections do
        not fit the federation."""
        policy, rounds = session.pinned.policy, session.config.federation.rounds
        if rounds < FIRST_ROUND:
            raise Misuse(f"federation.rounds: expected {FIRST_ROUND} or more with --inject, found {rounds}")
        injections = assign(
            self._injections, [each.id for each in policy.roster], [each.id for each in policy.trustees]
        )
        for each in injections:
            if each.kind.by is Role.CLIENT:
                CLIENTS[each.kind.name].require(session.pinned)
        transcript = session.directory.transcript
        if transcript.exists():
            raise Misuse(f"{transcript}: --inject starts a federation, and does not go on with one")
        try:
            with TranscriptWriter(transcript) as writer:
                return _Run(session, parties, writer, injections, self.refusals).rounds()
        except BaseException as error:
            with unmasked(error):
                TranscriptWriter(transcript).close()  # opening a directory recovers it
            raise


class _Cast:
    """Who plays whom: honest parties, and liars in the places that the injections give them."""

    def __init__(
        self, session: Session, parties: Parties, injections: Sequence[Injection], active: Callable[[], bool]
    ) -> None:
        self.pinned, self._parties = session.pinned, parties
        self.blobs = TranscriptReader(session.directory.transcript).blob
        self._session, self._active, self._engine = session, active, get_engine("native")
        self.server = next((each for each in injections if each.kind.by is Role.SERVER), None)
        self._liars = {each.liar: each for each in injections if each.liar}
        policy = self.pinned.policy
        self._corrupt = {each.id for each in policy.trustees[: policy.corrupt]} if self.server else set()
        self.trustees = [self._trustee(member.id) for member in policy.trustees]
        self.clients = [self._client(member.id) for member in policy.roster]
        self.coordinator = self._coordinator()

    def forgery(self) -> Forgery:
        """What the server forges; nothing, where it does not."""
        name = self.server.kind.name if self.server else ""
        return FORGERIES.get(name, Forgery)(self._victim())

    def scene(self, refusals: list[Refusal]) -> Scene:
        """The parties as a malicious server sees them."""
        session = self._session
        return Scene(
            self.pinned,
            self._parties.coordinator.keys[0],
            self.coordinator,
            self.clients,
            [each for each in self.trustees if isinstance(each, Colluding)],
            [each for each in self.trustees if not isinstance(each, Colluding)],
            lambda name: self._parties.trustees[name].keys[0],
            self.blobs,
            session.rand,
            session.directory.transcript,
            session.directory.path / FORGED,
            refusals,
            session.progress.note,
        )

    def training_store(self, client: str) -> DirectoryStore:
        """Where a client keeps what its training leaves."""
        return DirectoryStore(self._parties.clients[client].directory.training)

    def _victim(self) -> str:
        return self.server.party if self.server and self.server.parties else ""

    def _client(self, name: str) -> Client:
        party = self._parties.clients[name]
        identity, store = party.keys[0], DirectoryStore(party.directory.store)
        liar = self._liars.get(name)
        confides = self.server is not None and self.server.kind.name in CONFIDES and name == self._victim()
        if liar is None and not confides:
            return Client(self.pinned, identity, name, store, self._engine, self._session.rand)
        play = CLIENTS[liar.kind.name] if liar else clients.Confidant
        victims = liar.parties if liar else ()
        return play(
            clients.LyingPart(
                self.pinned, identity, name, store, self._engine, self._session.rand, self._active, victims
            )
        )

    def _trustee(self, name: str) -> Trustee:
        party = self._parties.trustees[name]
        identity, store = party.keys[0], DirectoryStore(party.directory.store)
        liar = self._liars.get(name)
        if liar is None and name not in self._corrupt:
            return Trustee(self.pinned, identity, name, store, self._engine, self._session.rand, ONE_PROCESS)
        play = trustees.LIARS[liar.kind.name] if liar else Colluding
        return play(self.pinned, identity, name, store, self._engine, self._session.rand, self._active)

    def _coordinator(self) -> coordinators.LyingCoordinator:
        name, session = self.server.kind.name if self.server else "", self._session
        policy, victim = self.pinned.policy, self._victim()
        if name in LEAVES_OUT and len(policy.roster) - 1 < policy.min_cohort:
            raise Misuse(f"inject: {name} needs {policy.min_cohort + 1} clients, found {len(policy.roster)}")
        if name in HALVES and len(policy.roster) <= 2 * policy.min_cohort:
            raise Misuse(f"inject: {name} needs {2 * policy.min_cohort + 1} clients, found {len(policy.roster)}")
        others = [member.id for member in policy.roster if member.id != victim]
        confidants = [each for each in self.clients if isinstance(each, clients.Confidant)]
        part = coordinators.ServerPart(
            self.pinned,
            self._parties.coordinator.keys[0],
            DirectoryStore(self._parties.coordinator.directory.store),
            self._engine,
            summation_on(session.device),
            self.blobs,
            session.rand,
            self._active,
            victim,
            others[-1] if name == "sybil-swap" else "",
            lambda: confidants[0].secrets if confidants else None,
        )
        return coordinators.LIARS.get(name, coordinators.LyingCoordinator)(part)


# What is told of a stage when the coordinator goes on.
_SAID_OF = {
    Stage.SUBMISSIONS: "the coordinator verifies the proofs",
    Stage.RELEASES: "the coordinator opens the sum",
}


class _Run:
    """The rounds, with whoever refuses noted."""

    def __init__(
        self,
        session: Session,
        parties: Parties,
        writer: TranscriptWriter,
        injections: Sequence[Injection],
        refusals: list[Refusal],
    ) -> None:
        self._session, self._writer, self._refusals = session, writer, refusals
        self._metrics = MetricsFile(session.directory.metrics)
        self._number = 0
        self._dropouts = Dropouts(session.pinned.policy.min_cohort)
        self._ended: str | None = None
        self._watch = UpdateWatch(session.training.layout, session.pinned.policy.update)
        self._cast = _Cast(session, parties, injections, self._active)
        self._coordinator = self._cast.coordinator
        self._trustees = {each.name: each for each in self._cast.trustees}
        self._conductor = Conductor(self._cast.pinned, self._coordinator, session.initial)
        self._late: list[tuple[str, SubmissionPackage]] = []  # what is sent once it is too late, and by whom
        self._forgery, self._scene = self._cast.forgery(), self._cast.scene(refusals)
        for each in injections:
            session.progress.note(f"injected in round {FIRST_ROUND}: {_describe(each)}")

    def rounds(self) -> EngineResult:
        """Genesis, then rounds until as many as configured have closed."""
        self._writer.put_policy(self._cast.pinned.data)
        initial = self._session.training.evaluate(self._session.initial)
        self._metrics.append(RoundSummary.initial(initial))
        self._play()
        wanted, summaries, closed = self._session.config.federation.rounds, list[RoundSummary](), 0
        for _ in range(wanted + self._cast.pinned.policy.max_aborts + 1):
            if closed == wanted or self._given_up(summaries, wanted):
                return EngineResult(tuple(summaries), self._coordinator.step_state().model, initial, self._ended)
            summaries.append(self._round(closed))
            self._report(summaries[-1])
            self._act(self._forgery.ended)
            self._dropouts.judge(summaries[-1], may_repeat=True)
            closed = summaries[-1].closed
        found = f"{closed_and_aborted(summaries)}, the last of them for {summaries[-1].aborted}"
        raise Rejected("rounds", f"{wanted} to close", found)

    def _given_up(self, summaries: Sequence[RoundSummary], wanted: int) -> bool:
        """Whether the federation is closed, where no round is to be expected any more."""
        reason = due_ending(self._coordinator, summaries)
        if reason is None:
            return False
        self._conductor.end(reason).write(self._writer)
        self._play()
        self._ended = describe_ending(reason, summaries, wanted)
        self._session.progress.note(self._ended)
        return True

    def _active(self) -> bool:
        return self._number == FIRST_ROUND

    def _act(self, moment: Callable[[Scene], None]) -> None:
        if self._active():
            moment(self._scene)

    def _round(self, closed: int) -> RoundSummary:
        started, first = time.perf_counter(), self._coordinator.ledger.ended
        self._number = self._coordinator.ledger.next_round
        self._conductor.open_round()
        self._play()
        end = self._conductor.ended
        metrics = self._session.training.evaluate(self._coordinator.step_state().model, end.last.number)
        ledger, count = self._coordinator.ledger, self._coordinator.size
        size = published_bytes(self._session.directory.transcript, self._coordinator.entries(first, count))
        closed += end.aborted is None
        ended = EndedRound(end.last, end.aborted, ledger.model or b"", first, count, end.asked, closed)
        excluded = exclusions(self._coordinator, self._cast.pinned, end.last)
        return summarize(ended, excluded, metrics, time.perf_counter() - started, size)

    def _play(self) -> None:
        """Everything that is due; a server that forges does it when its moment has come."""
        while (due := self._conductor.due).stage is not Stage.IDLE:
            self._ask(due)
            if due.stage in _SAID_OF:
                self._stage(_SAID_OF[due.stage])
            if due.stage is Stage.SIGN:
                self._writer.sync()
            publication = self._conductor.proceed()
            publication.write(self._writer)
            if due.stage is Stage.SUBMISSIONS:
                self._forgery.collected(self._scene)
            if due.stage is Stage.ACKNOWLEDGEMENTS and publication.aborted is None:
                self._act(self._forgery.closing)

    def _ask(self, due: Due) -> None:
        match due.question:
            case Observe() as question:
                self._observe(question, due.parties)
            case OfferKey():
                self._stage("the trustees make round keys")
                for name in due.parties:
                    self._answer(name, "a round key", self._round_key(self._trustees[name]))
            case Submit():
                self._act(self._forgery.opened)
                self._collect()
            case Acknowledge() as question:
                for name in due.parties:
                    self._stage(f"{name} verifies its shares")
                    self._answer(name, "to acknowledge", self._acknowledgement(self._trustees[name], question))
            case ReleaseShare() as question:
                self._act(self._forgery.closed)
                for name, package in self._late:
                    self._log(name, package)
                self._release(question, due.parties)

    def _collect(self) -> None:
        """Every client's turn, liars last; also of those who are not asked."""
        self._late = []
        self._watch.begin()
        with self._dropouts.turns(self._number, len(self._cast.clients), False):
            for client in sorted(self._cast.clients, key=lambda each: isinstance(each, clients.LyingClient)):
                with self._dropouts.turn():
                    self._send(client, self._turn(client))
        self._watch.end(self._number)

    def _send(self, client: Client, packages: Sequence[SubmissionPackage]) -> None:
        for package in packages:
            if self._active() and isinstance(client, clients.LyingClient) and client.late:
                self._late.append((client.name, package))
            else:
                self._log(client.name, package)

    def _turn(self, client: Client) -> list[SubmissionPackage]:
        """Verify the round, train, and make what this client sends."""
        self._stage(f"{client.name} trains")
        current = self._current()
        model = self._cast.blobs(current.message.model, self._cast.pinned.model_size)
        opened = client.accept(self._coordinator.invitation(client.last_seen), model)
        local, rule = LocalState(self._cast.training_store(client.name)), self._cast.pinned.policy.update
        onlooker = Onlooker(self._stage, self._watch)
        update = train_turn(self._session.training, rule, local, client.name, opened, onlooker)
        self._stage(f"{client.name} proves and encrypts")
        if isinstance(client, clients.LyingClient):
            said = [each.message for each in current.submissions]
            packages = client.packages(opened, update.units, clients.PublicRound(said, self._cast.blobs))
        else:
            packages = [client.submit(opened, update.units)]
        for package in packages:
            size = len(package.entry) + sum(map(len, package.blobs.values()))
            self._session.progress.submitted(client.name, size, update.clipped)
        return packages

    def _answer(self, party: str, asked: str, question: Callable[[], Answer]) -> None:
        """Have a party answer, if it will, and the coordinator take it."""
        answer = self._scene.ask(party, asked, question)
        if answer is not None:
            self._log(party, answer)

    def _log(self, party: str, sent: Answer) -> None:
        """Have the coordinator log what a party sent, if it will."""
        taken = self._scene.ask(COORDINATOR, f"to log what {party} sent", lambda: self._conductor.take(party, sent))
        if taken is not None:
            taken.write(self._writer)

    def _release(self, question: ReleaseShare, asked: Sequence[str]) -> None:
        """Ask all of Q. Where fewer than t go along because honest ones refuse, the run ends."""
        refused = len(self._refusals)
        for name in asked:
            self._stage(f"{name} releases its share of the sum")
            self._answer(name, "to release", self._share(self._trustees[name], question))
        self._stop(self._refusals[refused:], len(asked))

    def _stop(self, refusals: Sequence[Refusal], asked: int) -> None:
        objections = [each for each in refusals if each.check != NO_ANSWER]
        if objections and asked - len(refusals) < self._cast.pinned.policy.threshold:
            raise Caught(objections, "")

    def _observe(self, question: Observe, asked: Sequence[str]) -> None:
        """Ask every trustee for its cosignature; where too few go along because honest ones refuse, the run ends."""
        now, refused = int(time.time()), len(self._refusals)
        for name in asked:
            self._answer(name, "to cosign", self._cosignature(self._trustees[name], question, now))
        self._stop(self._refusals[refused:], len(asked))

    def _round_key(self, trustee: Trustee) -> Callable[[], RoundKeyOffer]:
        return lambda: RoundKeyOffer(trustee.round_key(self._number))

    def _acknowledgement(self, trustee: Trustee, question: Acknowledge) -> Callable[[], Acknowledgement]:
        return lambda: Acknowledgement(trustee.acknowledge(question.round, question.note, self._cast.blobs))

    def _share(self, trustee: Trustee, question: ReleaseShare) -> Callable[[], Release]:
        return lambda: trustee.release(question.round, question.note, self._cast.blobs)

    def _cosignature(self, trustee: Trustee, question: Observe, now: int) -> Callable[[], Cosignature]:
        def observe() -> Cosignature:
            entries = self._coordinator.entries(trustee.size, question.size)
            return Cosignature(trustee.observe(question.note, entries, now))

        return observe

    def _report(self, summary: RoundSummary) -> None:
        self._keep_receipts(summary.round)
        self._metrics.append(summary)
        self._session.progress.round_ended(summary, self._session.config.federation.rounds)

    def _keep_receipts(self, number: int) -> None:
        """Every client verifies its receipt and keeps it."""
        reader, pinned = TranscriptReader(self._session.directory.transcript), self._cast.pinned
        receipts = make_receipts(pinned, reader.latest(), reader.entries(0, reader.size), number)
        for client, receipt in receipts.items():
            try:
                keep_receipt(self._session.directory.client(client), pinned, client, number, receipt)
            except (Malformed, Rejected) as error:
                self._session.progress.note(f"round {number}: {client} refuses its receipt: {error}")

    def _current(self) -> CurrentRound:
        current = self._coordinator.ledger.current
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
