"""Where a party keeps what must survive a crash, and what must not survive a round (spec 8.10)."""

from __future__ import annotations

from typing import Protocol


class ReadableStore(Protocol):
    """What of a store can be read."""

    def get(self, key: str) -> bytes | None:
        """The value last put, or None."""
        ...


class Store(ReadableStore, Protocol):
    """One party's private key-value store. Keys are ASCII text of at most 100 characters."""

    def put(self, key: str, value: bytes) -> None:
        """Replace the value of one key, atomically; durable when this returns."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key so that its value cannot be read back; no error if there is none."""
        ...

    def keys(self) -> list[str]:
        """Every key, ascending."""
        ...


class MemoryStore:
    """A store that lives as long as the process: for tests and for federations inside one process."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def get(self, key: str) -> bytes | None:
        """The value last put, or None."""
        return self._values.get(key)

    def put(self, key: str, value: bytes) -> None:
        """Replace the value of one key."""
        self._values[key] = value

    def delete(self, key: str) -> None:
        """Remove a key, if it is there."""
        self._values.pop(key, None)

    def keys(self) -> list[str]:
        """Every key, ascending."""
        return sorted(self._values)
