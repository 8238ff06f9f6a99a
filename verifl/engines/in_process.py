"""Every party in this process: the default engine.

Client, trustees and coordinator are the state machines of `protocols.rounds`, each with its own state directory, and
they exchange nothing but what they would send each other over a network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Rejected
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import Publication
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.trustee import Trustee
from verifl.engines.base import EngineResult, RoundSummary, Session
from verifl.state import DirectoryStore
from verifl.summation import summation_on
from verifl.tensors import Vector
from verifl.update import encode_update


class InProcessEngine:
    """Runs the clients one after another; the transcript is that of a federation over a network."""

    def run(self, session: Session) -> EngineResult:
        """See `FederationEngine.run`. Raises Rejected("rounds") if too many rounds were aborted.

        However it ends, the transcript is left as of its last checkpoint, without the blobs of what came after.
        """
        transcript = session.directory.transcript
        try:
            with TranscriptWriter(transcript) as writer:
                return _Run(session, writer).rounds()
        except BaseException:
            TranscriptWriter(transcript).close()  # opening a directory recovers it
            raise


class _Run:
    def __init__(self, session: Session, writer: TranscriptWriter) -> None:
        self._session, self._writer = session, writer
        self._blobs = TranscriptReader(session.directory.transcript).blob
        self._stored = 0  # bytes of entries and blobs so far
        enrolment, engine = session.enrolment, get_engine("native")
        self._pinned = PinnedPolicy.open(enrolment.policy_file)
        self._coordinator = Coordinator(
            self._pinned,
            enrolment.coordinator,
            self._store_of("coordinator"),
            engine,
            summation_on(session.device),
            self._blobs,
        )
        self._trustees = [self._trustee(member.id, engine) for member in self._pinned.policy.trustees]
        self._clients = [self._client(member.id, engine) for member in self._pinned.policy.roster]

    def rounds(self) -> EngineResult:
        """Genesis, then rounds until as many as configured have closed."""
        self._writer.put_policy(self._pinned.data)
        self._publish(self._coordinator.genesis(self._session.initial))
        self._checkpoint()
        wanted, summaries = self._session.config.federation.rounds, []
        for _ in range(wanted + self._pinned.policy.max_aborts):
            summaries.append(self._round())
            self._report(summaries[-1])
            if sum(each.aborted is None for each in summaries) == wanted:
                return EngineResult(tuple(summaries), self._model())
        raise Rejected(
            "rounds", f"{wanted} closed rounds", f"{len(summaries)} rounds, the last {summaries[-1].aborted}"
        )

    def _round(self) -> RoundSummary:
        """One round of spec 8, from the round keys to its end."""
        started, stored = time.perf_counter(), self._stored
        number = self._open_round()
        for client in self._clients:
            self._submit(client, number)
        self._stage(number, "the coordinator verifies the proofs")
        self._coordinator.verdicts()
        self._checkpoint()
        for trustee in self._trustees:
            self._stage(number, f"{trustee.name} verifies its shares")
            self._publish(self._coordinator.receive_ack(trustee.acknowledge(number, self._blobs)))
        last, aborted = self._close(number)
        self._checkpoint()
        metrics = self._session.training.evaluate(self._model())
        seconds = time.perf_counter() - started
        return self._summary(last, metrics, seconds, self._stored - stored, aborted)

    def _open_round(self) -> int:
        number = self._coordinator.ledger.next_round
        self._stage(number, "the trustees make round keys")
        self._publish(self._coordinator.open_round([trustee.round_key(number) for trustee in self._trustees]))
        self._checkpoint()
        return number

    def _submit(self, client: Client, number: int) -> None:
        """The client's turn: verify the round, train, commit, prove, encrypt, share."""
        self._stage(number, f"{client.name} trains")
        opened = client.accept(self._coordinator.invitation(client.last_seen), self._model_blob())
        training = self._session.training
        before, after = training.train(client.name, opened.model, number)
        update = encode_update(
            before, after, training.layout, self._pinned.policy.update, f"client {client.name} in round {number}"
        )
        self._stage(number, f"{client.name} proves and encrypts")
        package = client.submit(opened, update.units)
        self._publish(self._coordinator.receive(package))
        size = len(package.entry) + sum(map(len, package.blobs.values()))
        self._session.progress.submitted(client.name, size, update.clipped)

    def _close(self, number: int) -> tuple[CurrentRound, str | None]:
        """Close the cohort, release, open the sum and step; (the round as it was last, why it was aborted)."""
        before = self._current()
        aborted = self._publish(self._coordinator.close_cohort())
        if aborted is not None:
            return before, aborted
        self._checkpoint()
        cohort = self._current().cohort
        asked = frozenset(cohort.message.trustees) if cohort else frozenset()
        for trustee in self._trustees:
            if trustee.name in asked:
                self._stage(number, f"{trustee.name} releases its share of the sum")
                self._publish(self._coordinator.receive_release(trustee.release(number, self._blobs)))
        self._stage(number, "the coordinator opens the sum")
        last = self._current()
        aborted = self._publish(self._coordinator.aggregate())
        if aborted is None:
            self._publish(self._coordinator.close_round())
        return last, aborted

    def _summary(
        self, last: CurrentRound, metrics: dict[str, float], seconds: float, size: int, aborted: str | None
    ) -> RoundSummary:
        names = {each.index: each.message.client for each in last.submissions}
        excluded = last.cohort.message.excluded if last.cohort else ()
        return RoundSummary(
            round=last.number,
            submitted=tuple(names.values()),
            accepted=tuple(each.message.client for each in last.members()),
            excluded={names[exclusion.index]: exclusion.reason for exclusion in excluded},
            trustees=tuple(release.message.trustee for release in last.releases),
            metrics=metrics,
            seconds=seconds,
            size=size,
            aborted=aborted,
        )

    def _report(self, summary: RoundSummary) -> None:
        with self._session.directory.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(summary.to_dict(), allow_nan=False) + "\n")
        self._session.progress.round_ended(summary, self._session.config.federation.rounds)

    def _publish(self, publication: Publication) -> str | None:
        """Blobs before the entries that name them; returns why the round was aborted, or None."""
        for blob in publication.blobs.values():
            self._writer.put_blob(blob)
            self._stored += len(blob)
        if publication.entries:
            self._writer.append(publication.entries)
            self._stored += sum(map(len, publication.entries))
        return publication.aborted

    def _checkpoint(self) -> None:
        """Signed by the coordinator, observed and cosigned by every trustee, published."""
        note = self._coordinator.checkpoint()
        size, now = self._coordinator.size, int(time.time())
        lines = [trustee.observe(note, self._entries(trustee.size, size), now) for trustee in self._trustees]
        self._writer.publish(self._coordinator.cosigned(note, lines))

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

    def _store_of(self, *party: str) -> DirectoryStore:
        return DirectoryStore(self._session.directory.state.joinpath(*party, "store"))

    def _trustee(self, name: str, engine: Engine) -> Trustee:
        identity, store = self._session.enrolment.trustees[name], self._store_of("trustees", name)
        return Trustee(self._pinned, identity, name, store, engine, self._session.rand)

    def _client(self, name: str, engine: Engine) -> Client:
        identity, store = self._session.enrolment.clients[name], self._store_of("clients", name)
        return Client(self._pinned, identity, name, store, engine, self._session.rand)
