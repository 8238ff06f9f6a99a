"""Clients that lie. Each makes every part of its submission itself and signs it with its own key.

active  whether it lies now: outside the injected round a liar is honest, over the same store
public  what everybody can read: the submissions of the round so far, and blobs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine
from proofs.errors import Misuse, Rejected
from proofs.randomness import Randomness
from proofs.witness import CommittedUpdate
from protocols import hpke
from protocols.blobs import blob_hash
from protocols.contexts import share_info, submission_context
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.invitation import VerifiedRound
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client, Draft, OpenRound
from protocols.rounds.exchange import SubmissionPackage
from protocols.sharing import Share
from protocols.stores import Store
from protocols.submissions import BlobSource, blob_sizes

Units = NDArray[np.int64]


@dataclass(frozen=True)
class PublicRound:
    """The round as its log has it: submissions in order, and where their blobs are read."""

    submissions: Sequence[Submission]
    blobs: BlobSource


@dataclass(frozen=True)
class LyingPart:
    """Who plays a lying client: what `Client` takes, and when it lies. victims: trustees, for those who need them."""

    pinned: PinnedPolicy
    identity: SigningKey
    name: str
    store: Store
    engine: Engine
    rand: Randomness
    active: Callable[[], bool]
    victims: tuple[str, ...] = ()


class LyingClient(Client):
    """An honest client that makes its submission by hand; what it lies about overrides one step.

    late: it sends after the cohort was closed.
    """

    late = False

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Raise Misuse where the policy gives no occasion for the lie."""

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part.pinned, part.identity, part.name, part.store, part.engine, part.rand)
        self._active = part.active
        self._victims = part.victims

    def packages(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:
        """What it sends in this round: one package, none or several."""
        return self.lie(opened, update, public) if self._active() else [self.submit(opened, update)]

    def lie(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """What it sends when it lies."""
        return [self.fresh(opened.verified, update)]

    def fresh(self, verified: VerifiedRound, update: Units) -> SubmissionPackage:
        """A new submission with new keys and masks, which no store remembers."""
        draft = self._draft(verified, update)
        ciphertext = self._encrypt(verified, draft)
        share_commitments, sealed = self._share(verified, draft)
        message = self._submission(verified, draft, ciphertext, share_commitments, sealed)
        proof = self._prove(verified, draft, ciphertext, share_commitments, submission_context(message))
        blobs = (*draft.commitments, ciphertext, share_commitments, *sealed, proof)
        return self.sign(replace(message, proof=blob_hash(proof)), blobs)

    def sign(self, message: Submission, blobs: Sequence[bytes]) -> SubmissionPackage:
        """A package of these blobs under the client's own signature."""
        return SubmissionPackage(seal(message, self.name, self._identity), {blob_hash(blob): blob for blob in blobs})


class BadProof(LyingClient):
    """A proof of its own submission with one bit of its last response changed."""

    def _prove(
        self, verified: VerifiedRound, draft: Draft, ciphertext: bytes, share_commitments: bytes, context: bytes
    ) -> bytes:
        proof = bytearray(super()._prove(verified, draft, ciphertext, share_commitments, context))
        if self._active():
            proof[-1] ^= 1
        return bytes(proof)


class ReplayedProof(LyingClient):
    """The proof that it sent in its last round, for another update in another context."""

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part)
        self._last: bytes | None = None

    def submit(self, opened: OpenRound, update: Units) -> SubmissionPackage:
        package = super().submit(opened, update)
        self._last = package.blobs[_message(package).proof]
        return package

    def _prove(
        self, verified: VerifiedRound, draft: Draft, ciphertext: bytes, share_commitments: bytes, context: bytes
    ) -> bytes:
        if self._active() and self._last is not None:
            return self._last
        return super()._prove(verified, draft, ciphertext, share_commitments, context)


class CopiedSubmission(LyingClient):
    """The first submission of the round, with the name and signature of the thief."""

    def lie(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        if not public.submissions:
            raise Misuse("copied-submission: nobody else has submitted")
        message = replace(public.submissions[0], client=self.name)
        blobs = [public.blobs(name, size) for name, size in blob_sizes(self._pinned, message)]
        return [self.sign(message, blobs)]


class StaleModel(LyingClient):
    """A submission to this round's number that answers, and is encrypted under, the RoundOpen before."""

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part)
        self._stale: VerifiedRound | None = None

    def submit(self, opened: OpenRound, update: Units) -> SubmissionPackage:
        self._stale = opened.verified
        return super().submit(opened, update)

    def lie(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        if self._stale is None:
            raise Misuse("stale-model: this client has answered no round before")
        stale = replace(self._stale, message=replace(self._stale.message, round=opened.number))
        return [self.fresh(stale, update)]


class BadShare(LyingClient):
    """Seals for its victims, with their keys and in the right context, a share of something else."""

    def _share(self, verified: VerifiedRound, draft: Draft) -> tuple[bytes, tuple[bytes, ...]]:
        commitments, sealed = super()._share(verified, draft)
        if not self._active():
            return commitments, sealed
        blobs = [
            self._noise(verified, round_key.trustee, round_key.public_key)
            if round_key.trustee in self._victims
            else blob
            for round_key, blob in zip(verified.round_keys, sealed, strict=True)
        ]
        return commitments, tuple(blobs)

    def _noise(self, verified: VerifiedRound, trustee: str, public_key: bytes) -> bytes:
        message = verified.message
        info = share_info(message.federation, message.round, verified.entry_hash, self.name, trustee)
        values = tuple(range(1, self._pinned.secret_length + 1))
        return hpke.seal(public_key, info, Share(values, 1).encode())


class Duplicate(LyingClient):
    """A valid submission, and another valid one as by a client that has lost its store."""

    def lie(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        return [self.submit(opened, update), self.fresh(opened.verified, update)]


class Dropout(LyingClient):
    """Verifies the round, trains, and says nothing."""

    def lie(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        return []


class Late(LyingClient):
    """An honest submission after CohortClosed."""

    late = True

    def lie(self, opened: OpenRound, update: Units, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        return [self.submit(opened, update)]


@dataclass(frozen=True)
class Secrets:
    """What opens one client's submission: its key, its table, and the blindings of the table's rows."""

    key: NDArray[np.int32]
    committed: CommittedUpdate


class Confidant(LyingClient):
    """Submits honestly, and tells the server everything: so the server can take its part out of a sum."""

    secrets: Secrets | None = None

    def _encrypt(self, verified: VerifiedRound, draft: Draft) -> bytes:
        self.secrets = Secrets(draft.key, draft.committed)
        return super()._encrypt(verified, draft)


LIARS: dict[str, type[LyingClient]] = {
    "bad-proof": BadProof,
    "replayed-proof": ReplayedProof,
    "copied-submission": CopiedSubmission,
    "stale-model": StaleModel,
    "bad-share": BadShare,
    "duplicate": Duplicate,
    "dropout": Dropout,
    "late": Late,
}


def _message(package: SubmissionPackage) -> Submission:
    message = open_envelope(package.entry).message
    if not isinstance(message, Submission):
        raise Rejected("package", "a submission", type(message).__name__)
    return message
