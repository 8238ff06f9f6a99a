"""Parties that lie, for tests: they hold real keys and produce well-formed, rightly signed things that are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from proofs.engine import Engine
from proofs.randomness import Randomness
from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.invitation import Invitation, LoggedEntry
from protocols.log.checkpoint import Checkpoint, add_cosignatures, cosign, sign_checkpoint
from protocols.log.merkle import consistency_proof, inclusion_proof, leaf_hash, root
from protocols.messages import COORDINATOR, Dispute, Message, Release, Submission
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.exchange import ReleasePackage, SubmissionPackage
from protocols.rounds.releasing import draft_ack
from protocols.rounds.submitting import (
    HONEST,
    Ciphertext,
    ClientRound,
    Composition,
    Secrets,
    Shared,
    Update,
    encrypt,
    make,
    seal_shares,
    share,
)
from protocols.rounds.trustee import Trustee
from protocols.sharing import Share
from protocols.stores import MemoryStore
from protocols.weights import vector_of
from tests.seeded import seeded
from tests.simulator import Simulation, identity_of
from verifl.adversaries.clients import spoilt


def encrypt_one_more(at: ClientRound, secrets: Secrets) -> Ciphertext:
    """The committed update plus one in the first coordinate."""
    table, *others = secrets.committed.tables
    table = table.copy()
    table[0, 0] += 1
    return encrypt(at, replace(secrets, committed=replace(secrets.committed, tables=(table, *others))))


def share_another_key(engine: Engine, at: ClientRound, secrets: Secrets, rand: Randomness) -> Shared:
    """Shares of another encryption key than was used."""
    other = secrets.noise.key.copy()
    other[0] = 86 if other[0] != 86 else 85
    return share(engine, at, replace(secrets, noise=replace(secrets.noise, key=other)), rand)


WRONG_CIPHERTEXT = replace(HONEST, encrypt=encrypt_one_more)  # nothing that is sent shows it
WRONG_KEY = replace(HONEST, share=share_another_key)


def sealing_badly_for(*victims: str) -> Composition:
    """Seals a share of nothing for these trustees, good shares for the others."""

    def seal_bad(at: ClientRound, shares: Sequence[Share]) -> tuple[bytes, ...]:
        return seal_shares(at, spoilt(at, shares, victims, Share((0,) * at.pinned.secret_length, 1)))

    return replace(HONEST, seal_shares=seal_bad)


class ComposedClient(Client):
    """Makes its submissions with functions of its own, one a round; no store remembers them."""

    def __init__(self, simulation: Simulation, name: str, using: Composition) -> None:
        identity, rand = identity_of(name, simulation.setting.seed), seeded(f"liar {simulation.setting.seed} {name}")
        super().__init__(simulation.pinned, identity, name, MemoryStore(), simulation.engine, rand)
        self._simulation, self._making = simulation, (identity, rand, using)
        self._made: dict[int, SubmissionPackage] = {}

    def submit(self, opened: OpenRound, update: Update, weight: int | None = None) -> SubmissionPackage:
        if opened.number not in self._made:
            at = ClientRound.of(self._simulation.pinned, opened.verified, self.name, weight)
            vector = vector_of(at.pinned.policy.weights, update, weight)
            self._made[opened.number] = make(self._simulation.engine, at, vector, *self._making)
        return self._made[opened.number]


def become(simulation: Simulation, name: str, using: Composition) -> None:
    """Replace an honest client by one of the same identity that makes its submissions with these functions."""
    simulation.clients[name] = ComposedClient(simulation, name, using)


def resigned(
    simulation: Simulation, package: SubmissionPackage, blobs: Mapping[str, bytes] | None = None, **fields: object
) -> SubmissionPackage:
    """A package with other blobs (by field) or other field values, signed again by its client."""
    message = open_envelope(package.entry).message
    assert isinstance(message, Submission)
    named = {name: blob_hash(blob) for name, blob in (blobs or {}).items()}
    changed = replace(message, **named, **fields)
    carried = dict(package.blobs) | {blob_hash(blob): blob for blob in (blobs or {}).values()}
    signer = changed.client
    return SubmissionPackage(seal(changed, signer, identity_of(signer, simulation.setting.seed)), carried)


def with_bad_proof(simulation: Simulation, package: SubmissionPackage) -> SubmissionPackage:
    """The same submission with one byte of its proof changed."""
    proof = bytearray(package.blobs[submission_of(package).proof])
    proof[len(proof) // 2] ^= 1
    return resigned(simulation, package, {"proof": bytes(proof)})


def with_bad_ciphertext(simulation: Simulation, package: SubmissionPackage) -> SubmissionPackage:
    """The same submission with residues that are not below q."""
    ciphertext = b"\xff" * simulation.pinned.ciphertext_size
    return resigned(simulation, package, {"ciphertext": ciphertext})


def submission_of(package: SubmissionPackage) -> Submission:
    """The message in a package."""
    message = open_envelope(package.entry).message
    assert isinstance(message, Submission)
    return message


def false_ack(simulation: Simulation, trustee: str, disputed: Iterable[str]) -> bytes:
    """An acknowledgement of every first submission but those of `disputed` clients, which it complains about."""
    current = simulation.coordinator.ledger.current
    assert current is not None
    complained = set(disputed)
    firsts = list(current.first_submissions())
    held = [each.index for each in firsts if each.message.client not in complained]
    disputes = [Dispute(each.index, "share-opening") for each in firsts if each.message.client in complained]
    message = draft_ack(simulation.pinned, current, trustee, held, disputes)
    return seal(message, trustee, identity_of(trustee, simulation.setting.seed))


def false_release(simulation: Simulation, trustee: str, blob: bytes | None = None) -> ReleasePackage:
    """A release of the closed cohort whose share is made up."""
    current = simulation.coordinator.ledger.current
    assert current is not None
    assert current.cohort is not None
    data = bytes(simulation.pinned.share_size) if blob is None else blob
    message = Release(
        simulation.pinned.policy.federation,
        current.number,
        current.cohort.entry,
        current.cohort.message.digest,
        trustee,
        blob_hash(data),
    )
    return ReleasePackage(seal(message, trustee, identity_of(trustee, simulation.setting.seed)), data)


class ForgedLog:
    """A log that a malicious coordinator writes with the real log key: whatever it likes, rightly signed."""

    def __init__(self, simulation: Simulation, entries: Iterable[bytes]) -> None:
        self._simulation = simulation
        self.entries = list(entries)

    @property
    def size(self) -> int:
        return len(self.entries)

    def append(self, message: Message, signer: str = COORDINATOR) -> int:
        """Seal a message in somebody's name, append it, return its index."""
        self.entries.append(seal(message, signer, identity_of(signer, self._simulation.setting.seed)))
        return self.size - 1

    def head(self, size: int | None = None) -> Checkpoint:
        """The tree head of the first `size` entries (all)."""
        taken = self.entries if size is None else self.entries[:size]
        return Checkpoint(self._simulation.pinned.policy.origin, len(taken), self.root(len(taken)))

    def root(self, size: int) -> bytes:
        """Root of the first `size` entries."""
        return root([leaf_hash(entry) for entry in self.entries[:size]])

    def note(self, size: int | None = None) -> bytes:
        """Signed by the log."""
        head = self.head(size)
        return sign_checkpoint(head, head.origin, identity_of(COORDINATOR, self._simulation.setting.seed))

    def cosigned_by(self, trustees: Iterable[str]) -> bytes:
        """Cosigned with the keys of these trustees, as if they had agreed."""
        keys = {name: identity_of(name, self._simulation.setting.seed) for name in trustees}
        return add_cosignatures(self.note(), [cosign(self.head(), name, key, 1) for name, key in keys.items()])

    def line(self, name: str, key: SigningKey) -> bytes:
        """A cosignature in a trustee's name, by any key."""
        return cosign(self.head(), name, key, 1)

    def shown_to(self, trustee: Trustee, timestamp: int = 1) -> bytes:
        """What an honest trustee answers when asked to cosign this log."""
        return trustee.observe(self.note(), self.entries[trustee.size :], timestamp)

    def invitation(
        self, note: bytes, round_open: int, keys: Iterable[int], seed_size: int, since: int = 0
    ) -> Invitation:
        """An invitation to the round opened at an index, with true proofs."""
        hashes = [leaf_hash(entry) for entry in self.entries]

        def logged(index: int) -> LoggedEntry:
            return LoggedEntry(index, self.entries[index], tuple(inclusion_proof(hashes, index)))

        return Invitation(
            note,
            logged(round_open),
            tuple(logged(index) for index in keys),
            tuple(consistency_proof(hashes, min(seed_size, self.size))),
            since,
            tuple(consistency_proof(hashes, since)),
        )


def fork(simulation: Simulation, size: int) -> ForgedLog:
    """A forged log that agrees with the simulation's on its first `size` entries."""
    return ForgedLog(simulation, simulation.coordinator.entries(0, size))
