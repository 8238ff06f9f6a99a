"""A federation inside one process: the real parties, the real log writer, stores in memory, all randomness seeded.

    simulation = Simulation(tmp_path)
    simulation.start()
    result = simulation.play_round()
    simulation.path  # the transcript, simulation.policy_data its policy

`play_round` is an honest round; the steps it takes (`open_round`, `submit`, `acknowledge`, ...) can be taken one by
one, with some parties silent, crashed or replaced. The conductor says what comes next; here it is only carried.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine
from proofs.engines import get_engine
from proofs.errors import Rejected
from protocols.approvals import approve, collect, read_approval
from protocols.envelopes import seal, seal_rotation
from protocols.identities import SigningKey
from protocols.log.checkpoint import parse_note
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.messages import Aggregate, Revocation
from protocols.opening import decode_plaintext
from protocols.pinned import PinnedPolicy
from protocols.policy import (
    approvers,
)
from protocols.reasons import CONTINUED, KEY_COMPROMISED
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.conductor import Conductor, Stage
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.evidence import NO_EVIDENCE, Evidence
from protocols.rounds.exchange import (
    Acknowledge,
    Acknowledgement,
    Answer,
    Cosignature,
    Observe,
    OfferKey,
    Publication,
    Question,
    ReleasePackage,
    ReleaseShare,
    RoundKeyOffer,
    SubmissionPackage,
    Submit,
)
from protocols.rounds.record import Published, pending_entries
from protocols.rounds.trustee import Trustee
from protocols.rounds.waits import Waits
from protocols.stores import MemoryStore
from protocols.submissions import BlobSource
from protocols.summation import add_residues
from protocols.weights import NO_WEIGHT, WEIGHT_KINDS, vector_of, weight_of
from tests.seeded import seeded
from tests.settings import Setting, identity_of, make_policy, party_names

Update = NDArray[np.int64]


@dataclass(frozen=True)
class RoundResult:
    """How a round ended: `aborted` names the reason, or `plaintext` is the published sum over `accepted` clients."""

    number: int
    aborted: str | None
    accepted: tuple[str, ...]
    plaintext: Update | None


class Simulation:
    """One federation. `clients`, `trustees` and `coordinator` are the parties; their stores outlive `restart_*`."""

    def __init__(self, directory: Path, setting: Setting | None = None, engine: Engine | None = None) -> None:
        self.setting = setting or Setting()
        self.path = directory / "transcript"
        self.engine = engine or get_engine()
        self.policy_data, self.model = make_policy(self.setting)
        self.pinned = PinnedPolicy.open(self.policy_data)
        self.clock = 1_700_000_000
        self.waits = Waits(lambda: self.clock)
        self.coordinator: Coordinator = None  # type: ignore[assignment]  # the other parties start before it
        self.stores: dict[str, MemoryStore] = {}
        self.successors: dict[str, tuple[SigningKey, ...]] = {}  # the keys that parties rotated to
        self.restarts = 0
        self.writer = TranscriptWriter(self.path)
        self.writer.put_policy(self.policy_data)
        client_names, trustee_names = party_names(self.setting)
        client_names += sorted(self.pinned.noise_trustees)
        self.clients = {name: self._client(name) for name in client_names}
        self.trustees = {name: self._trustee(name) for name in trustee_names}
        self._start_coordinator(None)
        self.updates: dict[int, dict[str, Update]] = {}  # what clients submitted, by round: weighed
        self.weights: dict[str, int] = {}  # what clients state, where they state any

    # ---- parties ----

    def _store(self, name: str) -> MemoryStore:
        return self.stores.setdefault(name, MemoryStore())

    def _party(self, name: str) -> tuple[PinnedPolicy, SigningKey]:
        return self.pinned, identity_of(name, self.setting.seed)

    def _client(self, name: str, told: bool = True) -> Client:
        rand = seeded(f"client {self.setting.seed} {name} {self.restarts}")
        successors = self.successors.get(name, ())
        store = self._store(f"{name} as a client" if name in self.pinned.noise_trustees else name)
        return Client(*self._party(name), name, store, self.engine, rand, successors, self.evidence(told))

    def _trustee(self, name: str, told: bool = True) -> Trustee:
        rand = seeded(f"trustee {self.setting.seed} {name} {self.restarts}")
        successors, evidence = self.successors.get(name, ()), self.evidence(told)
        return Trustee(*self._party(name), name, self._store(name), self.engine, rand, self.waits, successors, evidence)

    def trustee_on(self, store: MemoryStore, name: str, identity: SigningKey | None = None) -> Trustee:
        """A trustee that has this state, and its own key or another."""
        key, rand = identity or identity_of(name, self.setting.seed), seeded(f"another {name}")
        return Trustee(self.pinned, key, name, store, self.engine, rand, self.waits)

    def _start_coordinator(self, published: Published | None) -> None:
        self.coordinator = Coordinator(
            *self._party("coordinator"),
            self._store("coordinator"),
            self.engine,
            add_residues,
            self.blob,
            self.waits,
            published,
        )
        self.conductor = Conductor(self.pinned, self.coordinator, self.model, self.approvals())

    def approvals(self) -> bytes:
        """Of everybody whose approval the policy demands."""
        keys = [identity_of(each.id, self.setting.seed) for each in approvers(self.pinned.policy)]
        return collect(self.pinned, [read_approval(self.pinned, approve(self.pinned, key)) for key in keys])

    def evidence(self, told: bool = True) -> Evidence:
        """What everybody has said, as the log has it: for a party that starts."""
        if self.coordinator is None or not told:
            return NO_EVIDENCE
        return Evidence(self.coordinator.note, tuple(self.coordinator.entries(0, self.coordinator.size)))

    def restart_client(self, name: str, told: bool = True) -> None:
        """A crash: only the store is left, and what the log has. A liar is not `told`: it said what it never stored."""
        self.restarts += 1
        self.clients[name] = self._client(name, told)

    def restart_trustee(self, name: str, told: bool = True) -> None:
        """A crash: only the store is left, and what the log has. A liar is not `told`: it said what it never stored."""
        self.restarts += 1
        self.trustees[name] = self._trustee(name, told)

    def restart_coordinator(self) -> None:
        """A crash: the store and the transcript directory are left."""
        self.writer.close()
        pending = pending_entries(self._store("coordinator"))
        self.writer = TranscriptWriter(self.path, keep=pending)
        self.writer.put_policy(self.policy_data)
        reader = TranscriptReader(self.path)
        size = self.writer.published_size
        published = Published(reader.latest(), reader.entries(0, size)) if size else None
        self._start_coordinator(published)
        self.writer.append(self.coordinator.unpublished())

    def blob(self, name: bytes, limit: int) -> bytes:
        """What everybody reads blobs from."""
        return TranscriptReader(self.path).blob(name, limit)

    # ---- carrying things about ----

    def store(self, publication: Publication) -> Publication:
        """Put a publication into the transcript."""
        publication.write(self.writer)
        return publication

    def answer(self, name: str, question: Question) -> Answer:
        """What a party honestly answers; a trustee that has seen less follows the log first."""
        if isinstance(question, Observe):
            return Cosignature(self.observe(name, question.note))
        if name in self.trustees and self.trustees[name].size < self.coordinator.published:
            self.observe(name, question.note)
        match question:
            case OfferKey():
                return RoundKeyOffer(self.trustees[name].round_key(question.round))
            case Submit():
                return self.package(name)
            case Acknowledge():
                return Acknowledgement(self.acknowledgement(name, question.round))
            case ReleaseShare():
                return self.release_of(name)

    def ask(self, parties: Iterable[str] | None = None) -> None:
        """The answers of these parties (all) to what is asked now, received."""
        due = self.conductor.due
        for name in due.parties if parties is None else parties:
            assert due.question is not None
            self.store(self.conductor.take(name, self.answer(name, due.question)))

    def proceed(self) -> Publication:
        """What the coordinator does next, without those who have not answered."""
        return self.store(self.conductor.proceed())

    def settle(self) -> Stage:
        """Have the log cosigned and published, if somebody is to see what is not; the stage after that."""
        while (stage := self.conductor.due.stage) in (Stage.SIGN, Stage.COSIGN):
            self.ask()
            self.proceed()
        return stage

    def checkpoint(self, trustees: Iterable[str] | None = None) -> None:
        """Have the log cosigned by these trustees (all) and published, unless it is already."""
        if self.coordinator.published == self.coordinator.size:
            return
        note = self.coordinator.checkpoint()
        lines = [self.observe(name, note) for name in self._some(trustees) if self.in_force(name)]
        complete = self.coordinator.cosigned(note, lines)
        self.writer.publish(complete)

    def observe(self, name: str, note: bytes) -> bytes:
        """One trustee's cosignature line of the log as it stands."""
        self.clock += 1
        trustee = self.trustees[name]
        entries = self.coordinator.entries(trustee.size, parse_note(note).checkpoint.size)
        return trustee.observe(note, entries, self.clock, self.blob)

    def _some(self, trustees: Iterable[str] | None) -> list[str]:
        return list(self.trustees if trustees is None else trustees)

    # ---- changes of the membership ----

    def in_force(self, name: str) -> bool:
        """Whether a party was not revoked, by the log as it stands."""
        standing = self.coordinator.ledger.membership.standing(name)
        return standing is None or standing.public_key is not None

    def key_of(self, name: str) -> SigningKey:
        """The newest key of a party."""
        return (identity_of(name, self.setting.seed), *self.successors.get(name, ()))[-1]

    def rotation(self, name: str) -> bytes:
        """A party's rotation to its next key, not sent yet; the party holds the key from now on."""
        old, taken = self.key_of(name), self.successors.get(name, ())
        new = identity_of(f"{name} rotated {len(taken) + 1}", self.setting.seed)
        self.successors[name] = (*taken, new)
        for restart, parties in ((self.restart_client, self.clients), (self.restart_trustee, self.trustees)):
            if name in parties:
                restart(name)
        return seal_rotation(self.pinned.policy.federation, self.pinned.hash, name, old, new)

    def revocation(self, name: str, reason: str = KEY_COMPROMISED, signer: str = "issuer") -> bytes:
        """The issuer's revocation of a party, not sent yet; or somebody else's in its name."""
        message = Revocation(self.pinned.policy.federation, self.pinned.hash, name, reason)
        return seal(message, "issuer", identity_of(signer, self.setting.seed))

    def end(self, reason: str = CONTINUED) -> None:
        """Close the federation between two rounds, by default so that another may go on from it."""
        self.store(self.conductor.end(reason))
        self.settle()

    def change(self, entry: bytes) -> None:
        """A rotation or revocation, received and cosigned."""
        self.store(self.coordinator.receive_change(entry))
        self.checkpoint()

    # ---- one round, step by step ----

    def start(self) -> None:
        """Genesis, cosigned."""
        self.proceed()
        self.settle()

    def open_round(self, trustees: Iterable[str] | None = None) -> int:
        """RoundOpen with the keys of these trustees (all that are not barred), cosigned; the round's number."""
        self.settle()
        self.conductor.open_round()
        asked = self.conductor.due.parties
        self.ask(name for name in self._some(trustees) if name in asked)
        self.proceed()
        self.settle()
        number = self.coordinator.ledger.rounds
        self.updates[number] = {}
        return number

    def give_up_round(self) -> None:
        """A round that is aborted at once, for want of submissions; cosigned."""
        self.open_round()
        self.store(self.coordinator.abort())
        self.checkpoint()

    def accept(self, name: str) -> OpenRound:
        """A client's verification of the open round."""
        client = self.clients[name]
        current = self.coordinator.ledger.current
        assert current is not None
        model = self.blob(current.message.model, self.pinned.model_size)
        return client.accept(self.coordinator.invitation(client.last_seen), model)

    def package(self, name: str, update: Update | None = None) -> SubmissionPackage:
        """A client's submission, not sent yet."""
        opened = self.accept(name)
        if update is None:
            update = weight_of(self.weight_of(name)) * self.random_update(f"{name} {opened.number}")
        self.updates[opened.number].setdefault(name, update)
        return self.clients[name].submit(opened, update, self.weight_of(name))

    def submit(self, name: str, update: Update | None = None) -> Publication:
        """A client's submission, received."""
        return self.store(self.conductor.take(name, self.package(name, update)))

    def random_update(self, label: str) -> Update:
        """A vector well within the norm bound, and within the bound of every coordinate where there is one."""
        generator = np.random.default_rng(struct.unpack(">4Q", seeded(f"update {self.setting.seed} {label}")(32)))
        rule = self.pinned.policy.update
        limit = max(1, int(rule.norm_bound / np.sqrt(self.setting.dimension)))
        limit = limit if rule.coordinate_bound is None else min(limit, rule.coordinate_bound)
        made = generator.integers(-limit, limit, self.setting.dimension, endpoint=True).astype(np.int64)
        made[: self.setting.frozen] = 0
        return made

    def weight_of(self, name: str) -> int | None:
        """What a client states or hides in every round; nothing where all are alike, and 0 of noise alone."""
        if name in self.pinned.noise_trustees:
            return NO_WEIGHT
        rule = self.pinned.policy.weights
        if not WEIGHT_KINDS.find(rule.kind).weighs:
            return None
        return self.weights.setdefault(name, 1 + seeded(f"weight {self.setting.seed} {name}")(2)[0] % rule.largest)

    def acknowledge(self, trustees: Iterable[str] | None = None) -> None:
        """Submissions cosigned, then acknowledged by these trustees (all with a round key)."""
        if self.settle() is Stage.SUBMISSIONS:
            self.proceed()
            self.settle()
        self.ask(trustees)

    def acknowledgement(self, name: str, number: int | None = None) -> bytes:
        """One trustee's, not sent yet: of the last round, or of another."""
        trustee, last = self.trustees[name], self.coordinator.ledger.rounds
        return trustee.acknowledge(last if number is None else number, self.coordinator.note, self.blob)

    def release_of(self, name: str, blobs: BlobSource | None = None) -> ReleasePackage:
        """One trustee's release in the last round, not sent yet."""
        number, note = self.coordinator.ledger.rounds, self.coordinator.note
        return self.trustees[name].release(number, note, blobs or self.blob)

    def close_cohort(self) -> str | None:
        """The cohort closed and cosigned; the reason if the round was aborted instead. Late acknowledgements are
        waited for."""
        self.acknowledge(())
        try:
            closed = self.proceed()
        except Rejected as error:
            if error.check != "quorum-wait":
                raise
            self.clock += self.waits.quorum
            closed = self.proceed()
        self.settle()
        return closed.aborted

    def asked(self) -> tuple[str, ...]:
        """Q."""
        current = self.coordinator.ledger.current
        assert current is not None
        assert current.cohort is not None
        return current.cohort.message.trustees

    def release(self, trustees: Iterable[str] | None = None) -> None:
        """The releases of these trustees (Q)."""
        self.ask(trustees)

    def finish(self) -> RoundResult:
        """Aggregate and close the round, or abort it; cosigned."""
        current = self.coordinator.ledger.current
        assert current is not None
        accepted = tuple(each.message.client for each in current.accepted_submissions())
        aggregated, plaintext = self.proceed(), None
        if aggregated.aborted is None:
            plaintext = self._plaintext(aggregated)
            self.proceed()
        self.settle()
        return RoundResult(current.number, aggregated.aborted, accepted, plaintext)

    def _plaintext(self, publication: Publication) -> Update:
        message = publication.entries[0].message
        assert isinstance(message, Aggregate)
        return decode_plaintext(self.pinned, publication.blobs[message.plaintext])

    # ---- whole rounds ----

    def play_round(
        self,
        updates: Mapping[str, Update] | None = None,
        clients: Iterable[str] | None = None,
        silent: Iterable[str] = (),
    ) -> RoundResult:
        """A round in which `clients` (all, or of these who are drawn) submit, and trustees in `silent` do not
        release."""
        number = self.open_round()
        everybody = self.clients if self.setting.per_round is None else self.conductor.due.parties
        for name in filter(self.in_force, everybody) if clients is None else clients:
            self.submit(name, None if updates is None else updates[name])
        self.acknowledge()
        aborted = self.close_cohort()
        if aborted is not None:
            return RoundResult(number, aborted, (), None)
        self.release([name for name in self.asked() if name not in set(silent)])
        return self.finish()

    def expected_sum(self, result: RoundResult) -> Update:
        """The sum of what the accepted clients submitted."""
        rule, updates = self.pinned.policy.weights, self.updates[result.number]
        vectors = [vector_of(rule, updates[name], self.weight_of(name)) for name in result.accepted]
        return np.sum(vectors, axis=0, dtype=np.int64)

    def forge_identity(self, name: str) -> SigningKey:
        """The key of a party, for a test that lies in its name."""
        return identity_of(name, self.setting.seed)


def with_seed(setting: Setting, seed: int) -> Setting:
    """The same federation with other keys and other randomness."""
    return replace(setting, seed=seed)
