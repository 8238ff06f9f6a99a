"""Trustees that lie. Each holds its own key and its clients' shares; outside the injected round it is honest."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.errors import Rejected
from proofs.randomness import Randomness
from protocols import vrf
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, cosign
from protocols.messages import Dispute, RoundKey, ShareAck
from protocols.participation import draw_input
from protocols.pinned import PinnedPolicy
from protocols.reasons import SHARE_OPENING
from protocols.rounds.exchange import ReleasePackage
from protocols.rounds.ledger import LoggedCohort
from protocols.rounds.releasing import acknowledged, closed_cohort, draft_ack, sign_release, sum_held
from protocols.rounds.round_secrets import SHARE
from protocols.rounds.trustee import ERASED, Trustee
from protocols.rounds.trustee_holdings import ACK
from protocols.sharing import Share
from protocols.stores import Store
from protocols.submissions import BlobSource, without_blobs
from verifl.agents.clock import ONE_PROCESS

NO_ANSWER = "no-answer"


class LyingTrustee(Trustee):
    """An honest trustee but while `active`; what it lies about is one of the things that it says."""

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
        self.pinned, self.identity, self.store = pinned, identity, store
        self.active = active  # before anything is erased at the start
        super().__init__(pinned, identity, name, store, engine, rand, ONE_PROCESS)

    def cohort(self, number: int) -> LoggedCohort:
        """The closed cohort of the open round."""
        current = self.ledger.current
        if current is None or current.number != number:
            raise Rejected("order", f"round {number} to be open", "none" if current is None else str(current.number))
        return closed_cohort(current)


class WrongRelease(LyingTrustee):
    """Releases its sum plus one in the first scalar, rightly signed."""

    def release(self, number: int, note: bytes, blobs: BlobSource) -> ReleasePackage:
        """See `Trustee.release`."""
        honest = super().release(number, note, blobs)
        if not self.active():
            return honest
        share = Share.decode(honest.blob, self.pinned.secret_length)
        other = replace(share, values=((share.values[0] + 1) % ORDER, *share.values[1:]))
        return sign_release(self.pinned, number, self.cohort(number), self.name, other, self.identity)


class Silent(LyingTrustee):
    """Says nothing; to the others that is an answer that never comes."""

    def observe(
        self, note: bytes, entries: Iterable[bytes], timestamp: int, blobs: BlobSource = without_blobs
    ) -> bytes:
        """See `Trustee.observe`."""
        self.answer()
        return super().observe(note, entries, timestamp, blobs)

    def acknowledge(self, number: int, note: bytes, blobs: BlobSource) -> bytes:
        """See `Trustee.acknowledge`."""
        self.answer()
        return super().acknowledge(number, note, blobs)

    def release(self, number: int, note: bytes, blobs: BlobSource) -> ReleasePackage:
        """See `Trustee.release`."""
        self.answer()
        return super().release(number, note, blobs)

    def answer(self) -> None:
        """Raises where it says nothing."""
        if self.active():
            raise Rejected(NO_ANSWER, f"an answer by {self.name}", "none")


class FalseComplaint(LyingTrustee):
    """Disputes the first share that it found good."""

    def acknowledge(self, number: int, note: bytes, blobs: BlobSource) -> bytes:
        """See `Trustee.acknowledge`."""
        honest = super().acknowledge(number, note, blobs)
        message, current = open_envelope(honest).message, self.ledger.current
        if not self.active() or current is None or not isinstance(message, ShareAck) or not message.acknowledged:
            return honest
        victim, *held = message.acknowledged
        disputed = (*message.disputed, Dispute(victim, SHARE_OPENING))
        return seal(draft_ack(self.pinned, current, self.name, held, disputed), self.name, self.identity)


class OtherDraw(LyingTrustee):
    """Draws by the value that it will give to the next round."""

    def round_key(self, number: int) -> bytes:
        """See `Trustee.round_key`."""
        honest = super().round_key(number)
        message = open_envelope(honest).message
        if not self.active() or not isinstance(message, RoundKey) or message.draw is None:
            return honest
        later = vrf.prove(self.identity, draw_input(self.pinned.hash, number + 1))
        return seal(replace(message, draw=later), self.name, self.identity)


class Colluding(LyingTrustee):
    """Does what the server asks: cosigns any checkpoint, releases for any cohort of whose members it has shares."""

    def release(self, number: int, note: bytes, blobs: BlobSource) -> ReleasePackage:  # noqa: ARG002
        """It has no objections."""
        release = self.release_anything(number, self.cohort(number))
        self.erase(number)
        return release

    def erase(self, number: int) -> None:
        """Keeps everything for as long as the attack goes on."""
        if not self.active():
            super().erase(number)

    def cosign_anything(self, head: Checkpoint, timestamp: int) -> bytes:
        """A cosignature without having seen an entry."""
        return cosign(head, self.name, self.identity, timestamp)

    def release_anything(self, number: int, cohort: LoggedCohort) -> ReleasePackage:
        """Its share of the sum over this cohort, whatever it has released before."""
        shares, held = SHARE.get(self.store, number), acknowledged(ACK.get(self.store, number))
        if shares is None:
            raise Rejected(ERASED, f"the shares of round {number}", "they were erased")
        share = sum_held(self.pinned, shares, held, cohort.message.accepted)
        return sign_release(self.pinned, number, cohort, self.name, share, self.identity)


LIARS: dict[str, type[LyingTrustee]] = {
    "lying-trustee": WrongRelease,
    "silent-trustee": Silent,
    "false-complaint": FalseComplaint,
    "other-draw": OtherDraw,
}
