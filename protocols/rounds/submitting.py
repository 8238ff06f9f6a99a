"""A submission in the making (spec 8.5): functions from one value to the next. They keep nothing and draw from `rand`.

    commit        the update -> Secrets: key, errors and noise drawn, all tables filled and committed to
    encrypt       Secrets -> Ciphertext
    share         Secrets -> Shared: share commitments, and a share for each trustee
    seal_shares   shares -> a blob for each round key
    describe      all of it -> the Submission but for its proof
    prove         Secrets and what was made of them -> the validity proof, in the Submission's context
    sign          the Submission and its blobs -> what is sent

`make` composes them. `commit` is itself composed: `draw_noise`, `encode`, `commit_to`. With noise for privacy, which
takes the place of the errors, `draw_noise` commits to it, as its signs follow from these commitments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from proofs import prover
from proofs.curve import POINT_SIZE
from proofs.encryption import EncryptionStatement
from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.noise_witness import SignedNoise, commit_noise, signed_noise, within_bounds
from proofs.parameters import ArgumentParameters
from proofs.prover import Encrypted
from proofs.randomness import Randomness, uniform_scalar
from proofs.wiping import wipe
from proofs.witness import CommittedUpdate, Noise, commit_tables, witness_tables
from protocols import hpke, sharing
from protocols.blob_sizes import ROW_FIELDS
from protocols.blobs import blob_hash
from protocols.contexts import NO_PROOF, share_info, sign_context, submission_context
from protocols.envelopes import seal
from protocols.identities import SigningKey
from protocols.invitation import VerifiedRound
from protocols.lattice import encryption, public
from protocols.messages import EncryptedShare, RoundKey, Submission
from protocols.noise import law_of, variance_of
from protocols.pinned import PinnedPolicy
from protocols.privacy.sampler import sample
from protocols.rounds.exchange import SubmissionPackage
from protocols.sharing import Share
from protocols.submissions import EXTRAS
from protocols.summation import Residues
from protocols.weights import stated_of, weight_of

Update = NDArray[np.int64]  # (d,), in fixed-point units, times the weight; (d + 1,) with a hidden one behind it


@dataclass(frozen=True)
class ClientRound:
    """What a submission answers: one client's place in one round. All of it is public.

    round_open: entry hash. seed: RoundOpen.seed. round_keys: in RoundOpen's order. weight: what it states, None where
    nothing is.
    """

    pinned: PinnedPolicy
    client: str
    number: int
    round_open: bytes
    seed: bytes
    round_keys: tuple[RoundKey, ...]
    weight: int | None = None

    @classmethod
    def of(cls, pinned: PinnedPolicy, verified: VerifiedRound, client: str, weight: int | None = None) -> ClientRound:
        """The place of `client` in a round that it has verified. weight: its own, of which it states what it has to."""
        message, stated = verified.message, stated_of(pinned.policy.weights, weight)
        return cls(pinned, client, message.round, verified.entry_hash, message.seed, verified.round_keys, stated)

    @cached_property
    def argument(self) -> ArgumentParameters:
        """What is proved, of an update of this weight; raises Misuse for one beyond the policy's."""
        return self.pinned.argument_of(self.weight)

    @property
    def norm_bound(self) -> int:
        """What the norm of the update is proved to be within, in units: w B of a stated weight; of a hidden one B,
        which the proof multiplies by it."""
        return weight_of(self.weight) * self.pinned.policy.update.norm_bound

    @property
    def elements(self) -> public.PublicElements:
        """The round's a_j."""
        return public.expand(self.pinned.lattice, self.seed, self.pinned.cells)

    @property
    def sign_context(self) -> bytes:
        """What the signs of its noise depend on beside the commitments."""
        return sign_context(self.pinned.hash, self.pinned.policy.federation, self.number, self.round_open, self.client)

    def share_info(self, trustee: str) -> bytes:
        """What a share for this trustee is sealed under."""
        return share_info(self.pinned.policy.federation, self.number, self.round_open, self.client, trustee)


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class DrawnNoise(Noise):
    """The same with noise for privacy, committed to and with its signs, where the policy asks for some."""

    privacy: SignedNoise | None = None

    def wipe(self) -> None:
        """Overwrite the noise for privacy with zeros."""
        wipe(self.key, self.errors, *(() if self.privacy is None else self.privacy.committed.tables))


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Secrets:
    """What a client draws for one submission, all of it secret but the commitments.

    noise: the key, int32 (N,), and the errors, int8 (cells,), or noise for privacy in their place. share_blinding: of
    the share commitment E_0.
    """

    noise: DrawnNoise
    committed: CommittedUpdate
    share_blinding: int

    def wipe(self) -> None:
        """Overwrite key, errors and the committed tables with zeros, when nothing is made of them any more."""
        self.noise.wipe()
        wipe(*self.committed.tables)


@dataclass(frozen=True)
class Ciphertext:
    """The encrypted data rows, as residues and as the blob that is sent."""

    residues: Residues
    blob: bytes


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Shared:
    """commitments: E_0 .. E_{t-1}, public. shares: of the trustees in the policy's order, each for its own alone."""

    commitments: bytes
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Parts:
    """What is sent beside commitments and proof. sealed: a share for each round key, in RoundOpen's order."""

    ciphertext: Ciphertext
    share_commitments: bytes
    sealed: tuple[bytes, ...]


def commit(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
    """Fresh key, errors and noise, and commitments to the update and all that is proved about it.

    Raises Misuse for an update beyond the policy's bounds; what was drawn is wiped then.
    """
    with ExitStack() as unless_made:
        noise = draw_noise(engine, at, rand)
        unless_made.callback(noise.wipe)
        tables = encode(at, update, noise, rand)
        unless_made.callback(wipe, *tables)
        secrets = commit_to(engine, at, noise, tables, rand)
        unless_made.pop_all()
    return secrets


def draw_noise(engine: Engine, at: ClientRound, rand: Randomness) -> DrawnNoise:
    """A fresh key, and fresh errors or noise: for this submission only."""
    key = encryption.generate_key(at.pinned.lattice, rand)
    if at.pinned.policy.noise is None:
        return DrawnNoise(key, encryption.draw_errors(at.elements, rand))
    return DrawnNoise(key, privacy=sign_noise(engine, at, draw_privacy_noise(at, rand), rand))


def draw_privacy_noise(at: ClientRound, rand: Randomness) -> NDArray[np.int64]:
    """Noise for privacy, int64 (cells,), by the policy's rule; all of it again where a bound does not hold, before
    anybody sees anything of it (spec 10.4). Raises Misuse where the policy has none."""
    noise = at.pinned.policy.noise
    if noise is None:
        raise Misuse("expected a policy with noise, found one without")
    while True:
        drawn = sample(variance_of(law_of(noise, weight_of(at.weight))), at.pinned.cells, rand)
        if within_bounds(at.argument, drawn):
            return drawn
        wipe(drawn)


def sign_noise(engine: Engine, at: ClientRound, noise: NDArray[np.int64], rand: Randomness) -> SignedNoise:
    """Commitments to noise, which is wiped, and the signs that follow from them. Raises Misuse for noise beyond the
    policy's bounds."""
    try:
        committed = commit_noise(engine, at.argument, noise, rand)
    finally:
        wipe(noise)
    return signed_noise(at.argument, committed, at.sign_context)


def encode(at: ClientRound, update: Update, noise: DrawnNoise, rand: Randomness) -> tuple[Table, ...]:
    """Every table of the argument's layout: the update's, whose cells are the plaintext, and those of each relation
    that the policy asks for. Raises Misuse where one of them does not hold."""
    argument = at.argument
    own = noise if argument.encryption is not None else None
    return witness_tables(argument, update, rand, own, noise.privacy)


def commit_to(engine: Engine, at: ClientRound, noise: DrawnNoise, tables: Sequence[Table], rand: Randomness) -> Secrets:
    """Row commitments under fresh blindings, but for noise, which has its own; and the blinding of E_0."""
    return Secrets(noise, commit_tables(engine, at.argument, tables, rand, noise.privacy), uniform_scalar(rand))


def encrypt(at: ClientRound, secrets: Secrets) -> Ciphertext:
    """The data rows, whole, under the fresh key (spec 6)."""
    noise, message = secrets.noise, secrets.committed.message
    if not at.pinned.lattice.has_errors:
        return pack(at, encryption.encrypt_noisy(at.pinned.lattice, at.elements, noise.key, message))
    return pack(at, encryption.encrypt_with(at.pinned.lattice, at.elements, noise.key, message, noise.errors))


def pack(at: ClientRound, residues: Residues) -> Ciphertext:
    """Residues with their blob; Misuse for one outside [0, q)."""
    return Ciphertext(residues, encryption.pack(at.pinned.lattice, residues))


def share(engine: Engine, at: ClientRound, secrets: Secrets, rand: Randomness) -> Shared:
    """Shares of the key and of the data rows' blindings (spec 7)."""
    policy = at.pinned.policy
    secret = [*sharing.pack_key(secrets.noise.key), *secrets.committed.blindings]
    commitments, shares = sharing.share_secret(
        engine, secret, len(policy.trustees), policy.threshold, rand, secrets.share_blinding
    )
    return Shared(commitments, tuple(shares))


def seal_shares(at: ClientRound, shares: Sequence[Share]) -> tuple[bytes, ...]:
    """For each round key its trustee's share, sealed; `shares` of all trustees in the policy's order."""
    return tuple(
        hpke.seal(
            key.public_key,
            at.share_info(key.trustee),
            shares[at.pinned.trustee_position(key.trustee)].encode(),
        )
        for key in at.round_keys
    )


def describe(at: ClientRound, committed: CommittedUpdate, parts: Parts) -> Submission:
    """The message but for its proof."""
    shares = tuple(
        EncryptedShare(key.trustee, blob_hash(blob)) for key, blob in zip(at.round_keys, parts.sealed, strict=True)
    )
    further = {field: committed.rows.get(label) for label, field in ROW_FIELDS.items() if field in EXTRAS}
    return Submission(
        federation=at.pinned.policy.federation,
        round=at.number,
        round_open=at.round_open,
        client=at.client,
        commitments=blob_hash(committed.commitments),
        ciphertext=blob_hash(parts.ciphertext.blob),
        share_commitments=blob_hash(parts.share_commitments),
        shares=shares,
        proof=NO_PROOF,
        weight=at.weight,
        **{field: None if blob is None else blob_hash(blob) for field, blob in further.items()},
    )


def encrypted(at: ClientRound, secrets: Secrets, parts: Parts, message: Submission) -> Encrypted | None:
    """What the proof of encryption is about; None where the policy does not ask for one."""
    if at.argument.encryption is None:
        return None
    residues, shared = parts.ciphertext.residues, parts.share_commitments[:POINT_SIZE]
    statement = EncryptionStatement(at.elements.elements, residues, message.ciphertext, shared)
    return Encrypted(statement, secrets.share_blinding)


def prove(
    engine: Engine, at: ClientRound, secrets: Secrets, parts: Parts, message: Submission, rand: Randomness
) -> bytes:
    """The validity proof of everything that the policy asks for.

    Raises Misuse where the tables or the ciphertext are not what it would say they are.
    """
    context, about = submission_context(message), encrypted(at, secrets, parts, message)
    return prover.prove(engine, at.argument, secrets.committed, context, rand, about)


def sign(message: Submission, blobs: Iterable[bytes], key: SigningKey) -> SubmissionPackage:
    """The message under its client's key, with the blobs that it names."""
    return SubmissionPackage(seal(message, message.client, key), {blob_hash(blob): blob for blob in blobs})


@dataclass(frozen=True)
class Composition:
    """Which functions a submission is made with; each of them does what its namesake says."""

    commit: Callable[[Engine, ClientRound, Update, Randomness], Secrets] = commit
    encrypt: Callable[[ClientRound, Secrets], Ciphertext] = encrypt
    share: Callable[[Engine, ClientRound, Secrets, Randomness], Shared] = share
    seal_shares: Callable[[ClientRound, Sequence[Share]], tuple[bytes, ...]] = seal_shares
    prove: Callable[[Engine, ClientRound, Secrets, Parts, Submission, Randomness], bytes] = prove


HONEST = Composition()


def make(
    engine: Engine,
    at: ClientRound,
    update: Update,
    key: SigningKey,
    rand: Randomness,
    using: Composition = HONEST,
) -> SubmissionPackage:
    """A submission of `update`, signed by `key`. Its secrets are wiped.

    Who calls it remembers what it sent: a round is answered once. Raises Misuse as `commit` and `prove` do.
    """
    secrets = using.commit(engine, at, update, rand)
    try:
        return _finish(engine, at, secrets, key, rand, using)
    finally:
        secrets.wipe()


def _finish(
    engine: Engine, at: ClientRound, secrets: Secrets, key: SigningKey, rand: Randomness, using: Composition
) -> SubmissionPackage:
    ciphertext, shared = using.encrypt(at, secrets), using.share(engine, at, secrets, rand)
    parts = Parts(ciphertext, shared.commitments, using.seal_shares(at, shared.shares))
    message = describe(at, secrets.committed, parts)
    proof = using.prove(engine, at, secrets, parts, message, rand)
    return sign(replace(message, proof=blob_hash(proof)), sent_blobs(secrets.committed, parts, proof), key)


def sent_blobs(committed: CommittedUpdate, parts: Parts, proof: bytes) -> tuple[bytes, ...]:
    """All blobs of a submission; the commitments that only some policies ask for, where there are any."""
    return (*committed.rows.values(), parts.ciphertext.blob, parts.share_commitments, *parts.sealed, proof)
