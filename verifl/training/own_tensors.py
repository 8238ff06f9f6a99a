"""What a client's training keeps for itself from round to round, on disk: tensors that do not travel, and `state`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from protocols.encoding import decode, encode
from protocols.holdings import Holdings, RoundHolding
from protocols.messages import AtMost
from protocols.stores import Store

_LIMIT = 1 << 40  # bytes of an encoding; what a client may keep is bounded by the caller


@dataclass(frozen=True)
class Kept:
    """All that a client keeps: its own tensors (safetensors), and its `state`; empty for none."""

    tensors: Annotated[bytes, AtMost(_LIMIT)]
    state: Annotated[bytes, AtMost(_LIMIT)]

    def encode(self) -> bytes:
        """In one value, which is stored whole or not at all; of nothing, nothing."""
        return b"" if self == NOTHING else encode(self, 2 * _LIMIT)

    @classmethod
    def decode(cls, data: bytes) -> Kept:
        """Inverse of `encode`; raises Malformed."""
        return decode(cls, data, 2 * _LIMIT) if data else NOTHING


NOTHING = Kept(b"", b"")
KEPT = RoundHolding("after", "what a client's training left in a round", Kept.encode, Kept.decode)
HOLDINGS = Holdings("a client's training", (KEPT,))


class LocalState:
    """What one client keeps, by the round whose training left it.

    They are durable before the client answers the round, so one that answered never trains it again; and what it had
    before the round stays until the next one, so one that did not answer trains from the same state again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def before(self, number: int) -> Kept:
        """As the last turn before round `number` left them; `NOTHING` for the initial ones."""
        earlier = self._earlier(number)
        return (KEPT.get(self._store, earlier[-1]) or NOTHING) if earlier else NOTHING

    def after(self, number: int, kept: Kept) -> None:
        """The training of round `number` left this; nothing is kept of tasks that never leave any."""
        if number in KEPT.rounds(self._store) or {kept, self.before(number)} != {NOTHING}:
            KEPT.put(self._store, number, kept)
        for old in self._earlier(number)[:-1]:
            KEPT.delete(self._store, old)

    def discard_after(self, answered: int) -> None:
        """Forget what training in rounds after this one left: they were not answered."""
        for number in KEPT.rounds(self._store):
            if number > answered:
                KEPT.delete(self._store, number)

    def _earlier(self, number: int) -> list[int]:
        return [each for each in KEPT.rounds(self._store) if each < number]
