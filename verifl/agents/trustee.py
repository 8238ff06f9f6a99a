"""A trustee by itself: its key, its directory, its clock. It answers questions, whoever carries them."""

from __future__ import annotations

import os

from proofs.engines import get_engine
from proofs.errors import Misuse
from proofs.randomness import Randomness
from protocols.pinned import PinnedPolicy
from protocols.rounds.evidence import NO_EVIDENCE, Evidence
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
from protocols.rounds.waits import Waits
from verifl.agents.clock import CosignatureClock
from verifl.agents.party import Party, PublicLog, newest_state
from verifl.storage.stores import DirectoryStore, Step, unobserved


class TrusteeAgent:
    """One trustee of one federation, on its own machine or not. clock: what its cosignatures say of the time."""

    def __init__(self, trustee: Trustee, clock: CosignatureClock) -> None:
        self._trustee, self._clock = trustee, clock

    @classmethod
    def open(
        cls,
        pinned: PinnedPolicy,
        party: Party,
        waits: Waits,
        clock: CosignatureClock,
        evidence: Evidence = NO_EVIDENCE,
        rand: Randomness = os.urandom,
        step: Step = unobserved,
    ) -> TrusteeAgent:
        """On the state in its directory; evidence: what the published log has of it.

        Raises Misuse where the state is older than that, damaged, or somebody else's, or without its key in force.
        """
        store, (key, *successors) = DirectoryStore(party.directory.store, step), party.keys
        with newest_state(party.directory):
            trustee = Trustee(pinned, key, party.name, store, get_engine("native"), rand, waits, successors, evidence)
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

        Raises Malformed or Rejected, as `protocols.rounds.trustee` does, where it refuses: it has then said nothing.
        """
        trustee = self._trustee
        match question:
            case Observe(note, size):
                return Cosignature(trustee.observe(note, log.entries(trustee.size, size), self._clock.now()))
            case OfferKey(number):
                return RoundKeyOffer(trustee.round_key(number))
            case Acknowledge(number, note):
                return Acknowledgement(trustee.acknowledge(number, note, log.blob))
            case ReleaseShare(number, note):
                return trustee.release(number, note, log.blob)
            case _:
                raise Misuse(f"{self.name}: a trustee is not asked to {type(question).__name__.lower()}")

    def expire(self) -> None:
        """Erase what it has kept for as long as it may: to be called now and then where nothing is asked of it."""
        self._trustee.expire()
