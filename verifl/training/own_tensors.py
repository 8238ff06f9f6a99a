"""What a client's training keeps for itself from round to round, on disk: tensors that do not travel, and `state`."""

from __future__ import annotations

from protocols.stores import Store

_PREFIX = "after/"


class LocalState:
    """What one client keeps, encoded, by the round whose training left it.

    They are durable before the client answers the round, so one that answered never trains it again; and what it had
    before the round stays until the next one, so one that did not answer trains from the same state again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def before(self, number: int) -> bytes:
        """As the last turn before round `number` left them; empty for the initial ones."""
        earlier = self._earlier(number)
        return (self._store.get(local_key(earlier[-1])) or b"") if earlier else b""

    def after(self, number: int, kept: bytes) -> None:
        """The training of round `number` left this; nothing is kept of tasks that never leave any."""
        if kept or self.before(number) or self._store.get(local_key(number)) is not None:
            self._store.put(local_key(number), kept)
        for old in self._earlier(number)[:-1]:
            self._store.delete(local_key(old))

    def discard(self, number: int) -> None:
        """Forget what training in round `number` left: it was not answered."""
        if self._store.get(local_key(number)) is not None:
            self._store.delete(local_key(number))

    def _earlier(self, number: int) -> list[int]:
        stored = self._store.keys()
        known = sorted(int(key.removeprefix(_PREFIX)) for key in stored)
        return [each for each in known if each < number]


def local_key(number: int) -> str:
    """The key of what the training of a round left."""
    return f"{_PREFIX}{number}"
