"""Clients that lie. Each makes every part of its submission itself and signs it with its own key: an honest client's
composition with one function exchanged, or the honest one for another round, or a message of its own.

active  whether it lies now: outside the injected round a liar is honest, over the same store
public  what everybody can read: the submissions of the round so far, and blobs
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from proofs.engine import Engine
from proofs.errors import Misuse, Rejected
from proofs.randomness import Randomness
from protocols.blob_sizes import sized_blobs
from protocols.envelopes import open_envelope
from protocols.identities import SigningKey
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.submitting import (
    HONEST,
    ClientRound,
    Composition,
    DrawnNoise,
    Parts,
    Secrets,
    Update,
    commit,
    make,
    prove,
    seal_shares,
    sign,
)
from protocols.sharing import Share
from protocols.stores import Store
from protocols.submissions import BlobSource
from protocols.weights import vector_of


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
    """An honest client that lies while it is active: with the functions of `using`, or by what it sends at all.

    late: it sends after the cohort was closed.
    """

    using: Composition = HONEST
    late = False

    @classmethod
    def require(cls, pinned: PinnedPolicy) -> None:
        """Raise Misuse where the policy gives no occasion for the lie."""

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part.pinned, part.identity, part.name, part.store, part.engine, part.rand)
        self.part = part
        self.weight: int | None = None

    def packages(
        self, opened: OpenRound, update: Update, weight: int | None, public: PublicRound
    ) -> list[SubmissionPackage]:
        """What it sends in this round: one package, none or several. weight: of the update; see `Client.submit`."""
        self.weight = weight
        return self.lie(opened, update, public) if self.part.active() else [self.submit(opened, update, weight)]

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """What it sends when it lies."""
        return [self.fresh(self.place(opened), update)]

    def intercept(self, package: SubmissionPackage) -> list[SubmissionPackage]:  # noqa: ARG002
        """What it sends before the round's first submission, which it sees in transit, is logged."""
        return []

    def place(self, opened: OpenRound) -> ClientRound:
        """Its place in a round."""
        return ClientRound.of(self.part.pinned, opened.verified, self.name, self.weight)

    def fresh(self, at: ClientRound, update: Update) -> SubmissionPackage:
        """A new submission with new keys and masks, which no store remembers."""
        vector = vector_of(self.part.pinned.policy.weights, update, self.weight)
        return make(self.part.engine, at, vector, self.part.identity, self.part.rand, self.using)


def _prove_badly(
    engine: Engine, at: ClientRound, secrets: Secrets, parts: Parts, message: Submission, rand: Randomness
) -> bytes:
    proof = bytearray(prove(engine, at, secrets, parts, message, rand))
    proof[-1] ^= 1
    return bytes(proof)


class BadProof(LyingClient):
    """A proof of its own submission with one bit of its last response changed."""

    using = replace(HONEST, prove=_prove_badly)


class ReplayedProof(LyingClient):
    """The proof that it sent in its last round, for another update in another context."""

    def submit(self, opened: OpenRound, update: Update, weight: int | None = None) -> SubmissionPackage:
        """See `Client.submit`; remembers the proof for the next round."""
        package = super().submit(opened, update, weight)
        last = package.blobs[_message(package).proof]
        self.using = replace(HONEST, prove=lambda *_: last)
        return package


class CopiedSubmission(LyingClient):
    """The first submission of the round, with the name and signature of the thief."""

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """One package; raises Misuse where nobody has submitted before."""
        if not public.submissions:
            raise Misuse("copied-submission: nobody else has submitted")
        message = replace(public.submissions[0], client=self.name)
        blobs = [public.blobs(name, size) for name, size in sized_blobs(self.part.pinned, message)]
        return [sign(message, blobs, self.part.identity)]


class CopiedInTransit(LyingClient):
    """What somebody else sends, with the name and signature of the thief, and on the way to the coordinator before it.

    In its own turn it has nothing more to say.
    """

    def intercept(self, package: SubmissionPackage) -> list[SubmissionPackage]:
        """The package under its own name, with the same blobs."""
        message = replace(_message(package), client=self.name)
        return [sign(message, list(package.blobs.values()), self.part.identity)]

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """Nothing."""
        return []


class StaleModel(LyingClient):
    """A submission to this round's number that answers, and is encrypted under, the RoundOpen before."""

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part)
        self._stale: ClientRound | None = None

    def submit(self, opened: OpenRound, update: Update, weight: int | None = None) -> SubmissionPackage:
        """See `Client.submit`; remembers the round for the next."""
        self._stale = self.place(opened)
        return super().submit(opened, update, weight)

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """One package; raises Misuse in the client's first round."""
        if self._stale is None:
            raise Misuse("stale-model: this client has answered no round before")
        return [self.fresh(replace(self._stale, number=opened.number), update)]


class BadShare(LyingClient):
    """Seals for its victims, with their keys and in the right context, a share of something else."""

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part)
        self.using = replace(HONEST, seal_shares=self._seal)

    def _seal(self, at: ClientRound, shares: Sequence[Share]) -> tuple[bytes, ...]:
        other = Share(tuple(range(1, at.pinned.secret_length + 1)), 1)
        return seal_shares(at, spoilt(at, shares, self.part.victims, other))


def spoilt(at: ClientRound, shares: Sequence[Share], victims: Sequence[str], other: Share) -> list[Share]:
    """The shares of all trustees, with another one for each of the victims."""
    named = zip(at.pinned.policy.trustees, shares, strict=True)
    return [other if trustee.id in victims else share for trustee, share in named]


class Duplicate(LyingClient):
    """A valid submission, and another valid one as by a client that has lost its store."""

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """Two packages."""
        return [self.submit(opened, update, self.weight), self.fresh(self.place(opened), update)]


class Dropout(LyingClient):
    """Verifies the round, trains, and says nothing."""

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """Nothing."""
        return []


class Late(LyingClient):
    """An honest submission after CohortClosed."""

    late = True

    def lie(self, opened: OpenRound, update: Update, public: PublicRound) -> list[SubmissionPackage]:  # noqa: ARG002
        """One package."""
        return [self.submit(opened, update, self.weight)]


class Confidant(LyingClient):
    """Submits honestly, and tells the server everything: so the server can take its part out of a sum.

    secrets: what opens its submission.
    """

    secrets: Secrets | None = None

    def __init__(self, part: LyingPart) -> None:
        super().__init__(part)
        self.using = replace(HONEST, commit=self._confide)

    def _confide(self, engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
        made = commit(engine, at, update, rand)
        noise, tables = made.noise, tuple(table.copy() for table in made.committed.tables)
        kept = DrawnNoise(noise.key.copy(), noise.errors.copy())
        self.secrets = Secrets(kept, replace(made.committed, tables=tables), made.share_blinding)
        return made


LIARS: dict[str, type[LyingClient]] = {
    "bad-proof": BadProof,
    "replayed-proof": ReplayedProof,
    "copied-submission": CopiedSubmission,
    "copied-in-transit": CopiedInTransit,
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
