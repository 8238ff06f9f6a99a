"""What a trustee has that opens shares: the key of the next round or the open one, and the shares held under it.

In its store, under these keys:

    round-key/<n>   private key of round n, the identity key in force when it was made, and when that was
    share/<n>       verified shares, in the order of the acknowledgement
    erased          the last round whose secrets are gone for good

Whatever has to go is marked before it goes, and goes again at the next start if a crash came between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from proofs.randomness import Randomness
from protocols import hpke
from protocols.encoding import decode, encode
from protocols.messages import Exactly, PublicKey
from protocols.rounds.waits import Waits
from protocols.stores import Store

_ERASED = "erased"


@dataclass(frozen=True, repr=False)  # secret: stays out of messages
class _StoredKey:
    private: Annotated[bytes, Exactly(hpke.PRIVATE_KEY_SIZE)]
    identity: PublicKey
    made: int  # seconds of the trustee's clock


class RoundSecrets:
    """Private keys and shares of rounds, until they are erased."""

    def __init__(self, store: Store, waits: Waits) -> None:
        self._store, self._waits = store, waits

    @property
    def erased(self) -> int:
        """The last round whose secrets are gone for good; 0 for none."""
        return int(self._store.get(_ERASED) or b"0")

    def private_key(self, number: int) -> bytes | None:
        """Of a round; None if it was never made, or is gone."""
        stored = self._key(number)
        return None if stored is None else stored.private

    def pending_key(self, number: int, identity: bytes, rand: Randomness) -> bytes:
        """The private key of the next round: made now, if there is none that was made under this identity key."""
        stored = self._key(number)
        if stored is None or stored.identity != identity:
            private, _ = hpke.generate_round_key(rand)
            stored = _StoredKey(private, identity, self._waits.clock())
            self._store.put(_name("round-key", number), encode(stored))
        return stored.private

    def hold(self, number: int, shares: bytes) -> None:
        """Keep the shares of an acknowledgement."""
        self._store.put(_name("share", number), shares)

    def held(self, number: int) -> bytes | None:
        """What `hold` kept, None if it is gone."""
        return self._store.get(_name("share", number))

    def erase(self, number: int) -> None:
        """Delete keys and shares of every round up to `number`, for good."""
        if number > self.erased:
            self._store.put(_ERASED, str(number).encode())
        self.forget()

    def forget(self) -> None:
        """Delete what is marked as erased: a crash may have come between mark and deletion."""
        last = self.erased
        for kind, number in self._stored():
            if number <= last:
                self._store.delete(_name(kind, number))

    def drop_pending(self, open_round: int | None, identity: bytes) -> None:
        """Delete every key that no open round has and that is too old, or was made under another identity key: whoever
        stole it with that must not have the next round's."""
        for kind, number in self._stored():
            stored = self._key(number) if kind == "round-key" and number != open_round else None
            if stored is not None and (stored.identity != identity or self._expired(stored)):
                self._store.delete(_name(kind, number))

    def has_expired(self, number: int) -> bool:
        """Whether a round's key was kept for as long as it may be."""
        stored = self._key(number)
        return stored is not None and self._expired(stored)

    def _expired(self, stored: _StoredKey) -> bool:
        """Also if it was made that long after now: by a clock that was ahead."""
        return abs(self._waits.clock() - stored.made) >= self._waits.secrets

    def _key(self, number: int) -> _StoredKey | None:
        stored = self._store.get(_name("round-key", number))
        return None if stored is None else decode(_StoredKey, stored)

    def _stored(self) -> list[tuple[str, int]]:
        names = [key.partition("/") for key in self._store.keys()]  # noqa: SIM118 - a method of stores
        return [(kind, int(number)) for kind, _, number in names if kind in ("round-key", "share")]


def _name(kind: str, number: int) -> str:
    return f"{kind}/{number}"
