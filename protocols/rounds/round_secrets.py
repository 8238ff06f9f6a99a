"""What a trustee has that opens shares: the key of the next round or the open one, and the shares held under it.

Whatever has to go is marked before it goes, and goes again at the next start if a crash came between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from proofs.randomness import Randomness
from protocols import hpke
from protocols.encoding import ENTRY_LIMIT
from protocols.holdings import Holding, RoundHolding, as_it_is, read_count, write_count
from protocols.messages import Exactly, PublicKey
from protocols.rounds.waits import Waits
from protocols.stores import Store


@dataclass(frozen=True, repr=False)  # secret: stays out of messages
class StoredKey:
    """A round's private key, the identity key in force when it was made, and when that was, by the trustee's clock."""

    private: Annotated[bytes, Exactly(hpke.PRIVATE_KEY_SIZE)]
    identity: PublicKey
    made: int


ROUND_KEY = RoundHolding.of("round-key", "a round's private key", StoredKey, ENTRY_LIMIT)
SHARE = RoundHolding("share", "a round's verified shares, in the order of the acknowledgement", as_it_is, as_it_is)
ERASED_UP_TO = Holding("erased", "the last round whose secrets are gone for good", write_count, read_count)
SECRETS = (ROUND_KEY, SHARE, ERASED_UP_TO)


class RoundSecrets:
    """Private keys and shares of rounds, until they are erased."""

    def __init__(self, store: Store, waits: Waits) -> None:
        self._store, self._waits = store, waits

    @property
    def erased(self) -> int:
        """The last round whose secrets are gone for good; 0 for none."""
        return ERASED_UP_TO.get(self._store) or 0

    def private_key(self, number: int) -> bytes | None:
        """Of a round; None if it was never made, or is gone."""
        stored = ROUND_KEY.get(self._store, number)
        return None if stored is None else stored.private

    def pending_key(self, number: int, identity: bytes, rand: Randomness) -> bytes:
        """The private key of the next round: made now, if there is none that was made under this identity key."""
        stored = ROUND_KEY.get(self._store, number)
        if stored is None or stored.identity != identity:
            private, _ = hpke.generate_round_key(rand)
            stored = StoredKey(private, identity, self._waits.clock())
            ROUND_KEY.put(self._store, number, stored)
        return stored.private

    def hold(self, number: int, shares: bytes) -> None:
        """Keep the shares of an acknowledgement."""
        SHARE.put(self._store, number, shares)

    def held(self, number: int) -> bytes | None:
        """What `hold` kept, None if it is gone."""
        return SHARE.get(self._store, number)

    def erase(self, number: int) -> None:
        """Delete keys and shares of every round up to `number`, for good."""
        if number > self.erased:
            ERASED_UP_TO.put(self._store, number)
        self.forget()

    def forget(self) -> None:
        """Delete what is marked as erased: a crash may have come between mark and deletion."""
        last = self.erased
        for secret in (ROUND_KEY, SHARE):
            for number in secret.rounds(self._store):
                if number <= last:
                    secret.delete(self._store, number)

    def drop_pending(self, open_round: int | None, identity: bytes) -> None:
        """Delete every key that no open round has and that is too old, or was made under another identity key: whoever
        stole it with that must not have the next round's."""
        for number in ROUND_KEY.rounds(self._store):
            stored = ROUND_KEY.get(self._store, number) if number != open_round else None
            if stored is not None and (stored.identity != identity or self._expired(stored)):
                ROUND_KEY.delete(self._store, number)

    def has_expired(self, number: int) -> bool:
        """Whether a round's key was kept for as long as it may be."""
        stored = ROUND_KEY.get(self._store, number)
        return stored is not None and self._expired(stored)

    def _expired(self, stored: StoredKey) -> bool:
        """Also if it was made that long after now: by a clock that was ahead."""
        return abs(self._waits.clock() - stored.made) >= self._waits.secrets
