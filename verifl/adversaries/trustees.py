"""Trustees that lie. Each holds its own key and its clients' shares; outside the injected round it is honest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.errors import Rejected
from proofs.randomness import Randomness
from protocols.blobs import blob_hash
from protocols.cohorts import ack_digest
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, cosign
from protocols.messages import Dispute, KeyShare, ShareAck
from protocols.pinned import PinnedPolicy
from protocols.rounds.exchange import Release
from protocols.rounds.ledger import CurrentRound, LoggedCohort
from protocols.rounds.trustee import Trustee
from protocols.sharing import Share
from protocols.stores import Store
from protocols.submissions import BlobSource
from verifl.agents.clock import ONE_PROCESS

NO_ANSWER = "no-answer"


class LyingTrustee(Trustee):
    """An honest trustee but while `active`; what it lies about overrides one step."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        identity: SigningKey,
        name: str,
        store: Store,
        engine: Engine,
        rand: Randomness,
        active: Callable[[], bool],
    ) -> None:
        self._active = active  # before anything is erased at the start
        super().__init__(pinned, identity, name, store, engine, rand, ONE_PROCESS)


class WrongRelease(LyingTrustee):
    """Releases its sum plus one in the first scalar, rightly signed."""

    def release(self, number: int, note: bytes, blobs: BlobSource) -> Release:
        honest = super().release(number, note, blobs)
        message = open_envelope(honest.entry).message
        if not self._active() or not isinstance(message, KeyShare):
            return honest
        share = Share.decode(honest.blob, self._pinned.secret_length)
        blob = Share(((share.values[0] + 1) % ORDER, *share.values[1:]), share.blinding).encode()
        return Release(seal(replace(message, share=blob_hash(blob)), self.name, self._identity), blob)


class Silent(LyingTrustee):
    """Says nothing; to the others that is an answer that never comes."""

    def observe(self, note: bytes, entries: Sequence[bytes], timestamp: int) -> bytes:
        self._answer()
        return super().observe(note, entries, timestamp)

    def acknowledge(self, number: int, note: bytes, blobs: BlobSource) -> bytes:
        self._answer()
        return super().acknowledge(number, note, blobs)

    def release(self, number: int, note: bytes, blobs: BlobSource) -> Release:
        self._answer()
        return super().release(number, note, blobs)

    def _answer(self) -> None:
        if self._active():
            raise Rejected(NO_ANSWER, f"an answer by {self.name}", "none")


class FalseComplaint(LyingTrustee):
    """Disputes the first share that it found good."""

    def acknowledge(self, number: int, note: bytes, blobs: BlobSource) -> bytes:
        honest = super().acknowledge(number, note, blobs)
        message = open_envelope(honest).message
        if not self._active() or not isinstance(message, ShareAck) or not message.acknowledged:
            return honest
        victim, *held = message.acknowledged
        current = self._current(number)
        pairs = [(each.message.client, each.entry) for each in current.first_submissions() if each.index in held]
        lie = replace(
            message,
            acknowledged=tuple(held),
            disputed=tuple(sorted((*message.disputed, Dispute(victim, "share-opening")), key=lambda each: each.index)),
            digest=ack_digest(current.entry, self.name, pairs),
        )
        return seal(lie, self.name, self._identity)


class Colluding(LyingTrustee):
    """Does what the server asks: cosigns any checkpoint, releases for any cohort of whose members it has shares."""

    def _check_release(self, current: CurrentRound, cohort: LoggedCohort, blobs: BlobSource) -> None:
        """It has no objections."""

    def _check_published(self, note: bytes) -> None:
        """Nor here."""

    def erase(self, number: int) -> None:
        """Keeps everything for as long as the attack goes on."""
        if not self._active():
            super().erase(number)

    def cosign_anything(self, head: Checkpoint, timestamp: int) -> bytes:
        """A cosignature without having seen an entry."""
        return cosign(head, self.name, self._identity, timestamp)

    def release_anything(self, number: int, cohort: LoggedCohort) -> Release:
        """Its share of the sum over this cohort, whatever it has released before."""
        return self._sign_release(number, cohort)


LIARS: dict[str, type[LyingTrustee]] = {
    "lying-trustee": WrongRelease,
    "silent-trustee": Silent,
    "false-complaint": FalseComplaint,
}
