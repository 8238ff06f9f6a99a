"""A trustee by itself: its key, its directory, its clock. It answers questions, whoever carries them."""

from __future__ import annotations

import logging
import os

from proofs.engines import get_engine
from proofs.errors import Misuse
from proofs.randomness import Randomness
from protocols.log.writer import DiskWatch
from protocols.pinned import PinnedPolicy
from protocols.rounds.evidence import NO_EVIDENCE, Evidence, own_checkpoint
from protocols.rounds.exchange import (
    Acknowledge,
    Acknowledgement,
    Answer,
    Cosignature,
    Observe,
    OfferKey,
    Question,
    ReleaseShare,
    RoundKeyOffer,
)
from protocols.rounds.trustee import Trustee
from protocols.rounds.trustee_holdings import HOLDINGS
from protocols.rounds.waits import Waits
from verifl.agents.clock import CosignatureClock
from verifl.agents.party import Party, PublicLog, check_store, newest_state
from verifl.storage.stores import DirectoryStore, unobserved

_LOGGER = logging.getLogger(__name__)


class TrusteeAgent:
    """One trustee of one federation, on its own machine or not. clock: what its cosignatures say of the time."""

    def __init__(self, trustee: Trustee, clock: CosignatureClock) -> None:
        self._trustee, self._clock = trustee, clock
        self._warn()

    @classmethod
    def open(
        cls,
        pinned: PinnedPolicy,
        party: Party,
        waits: Waits,
        clock: CosignatureClock,
        evidence: Evidence = NO_EVIDENCE,
        rand: Randomness = os.urandom,
        watch: DiskWatch = unobserved,
    ) -> TrusteeAgent:
        """On the state in its directory; evidence: what the published log has of it.

        Raises Misuse where the state is older than that, damaged, or somebody else's, or without its key in force.
        """
        check_store(party.directory.store, HOLDINGS)
        store, (key, *successors) = DirectoryStore(party.directory.store, watch), party.keys
        with newest_state(party.directory):
            trustee = Trustee(pinned, key, party.name, store, get_engine("native"), rand, waits, successors, evidence)
        if own_checkpoint(pinned, party.name, party.keys, evidence) is not None:
            clock.follow(evidence.note, party.name)
        return cls(trustee, clock)

    @property
    def name(self) -> str:
        """Its id in the policy."""
        return self._trustee.name

    @property
    def size(self) -> int:
        """Entries of the log that it has seen, and cosigned."""
        return self._trustee.size

    def answer(self, question: Question, log: PublicLog) -> Answer:
        """What it says to one question; the same bytes when it is asked again.

        Where others have published a checkpoint without it, it follows the log there first. Raises Malformed or
        Rejected, as `protocols.rounds.trustee` does, where it refuses: it has then said nothing.
        """
        trustee = self._trustee
        match question:
            case Observe(note):
                return Cosignature(self._follow(note, log))
            case OfferKey(number, note):
                self._catch_up(note, log)
                self._warn()
                return RoundKeyOffer(trustee.round_key(number))
            case Acknowledge(number, note):
                self._catch_up(note, log)
                return Acknowledgement(trustee.acknowledge(number, note, log.blob))
            case ReleaseShare(number, note):
                self._catch_up(note, log)
                return trustee.release(number, note, log.blob)
            case _:
                raise Misuse(f"{self.name}: a trustee answers no {type(question).__name__}")

    def expire(self) -> None:
        """Erase what it has kept for as long as it may: to be called now and then where nothing is asked of it."""
        self._trustee.expire()

    def _warn(self) -> None:
        """Of a replaced key that is needed once more, to draw clients: said again where a round asks for it."""
        lacking = self._trustee.lacks
        if lacking is not None:
            _LOGGER.warning(
                "%s lacks its former key %s, by which it is to draw the clients of the next round: start it with both "
                "keys, or it draws nobody there", self.name, lacking.hex(),
                extra={"fields": {"event": "lacks-key", "public_key": lacking.hex()}},
            )  # fmt: skip

    def _catch_up(self, note: bytes, log: PublicLog) -> None:
        """Its cosignature came too late, or was lost: the checkpoint has its quorum all the same."""
        if self._trustee.head(note).size > self._trustee.size:
            self._follow(note, log)

    def _follow(self, note: bytes, log: PublicLog) -> bytes:
        """Nothing is read of the log before it is known whose checkpoint that is."""
        size = self._trustee.head(note).size
        entries = log.entries(self._trustee.size, size)
        return self._trustee.observe(note, entries, self._clock.now(), log.blob)
