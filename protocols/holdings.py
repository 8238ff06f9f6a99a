"""What a party's store holds: under which keys, what is there, and how the bytes are read (spec 8.10).

    SEEN = Holding.of("seen", "the newest checkpoint it has verified", Seen, LIMIT)
    HOLDINGS = Holdings("a client", (SEEN, ANSWER))

A party reads and writes its store through these alone. So whoever looks into a store from outside, before anything is
changed there, asks the party what belongs into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from proofs.errors import Malformed, Rejected
from protocols.encoding import decode, encode
from protocols.log.merkle import HASH_BYTES
from protocols.stores import ReadableStore, Store

Value = TypeVar("Value")
_DIGITS = 20  # of a count


@dataclass(frozen=True)
class _Kind(Generic[Value]):
    """`meaning`: what it is, in words. `write` makes the bytes of a value; `read` is the inverse, and raises Malformed
    for bytes that `write` makes of nothing."""

    name: str
    meaning: str
    write: Callable[[Value], bytes]
    read: Callable[[bytes], Value]

    @classmethod
    def of(cls, name: str, meaning: str, body: type[Value], limit: int) -> Self:
        """Of instances of a dataclass, at most `limit` bytes each in their canonical encoding."""
        return cls(name, meaning, lambda value: encode(value, limit), lambda data: decode(body, data, limit))


class Holding(_Kind[Value]):
    """A value of which there is one, under the key `name`."""

    @property
    def key(self) -> str:
        """Where it is in the store."""
        return self.name

    def has(self, key: str) -> bool:
        """Whether `key` is its key."""
        return key == self.name

    def get(self, store: ReadableStore) -> Value | None:
        """The value, or None; raises Malformed."""
        stored = store.get(self.name)
        return None if stored is None else self.read(stored)

    def put(self, store: Store, value: Value) -> None:
        """Replace the value; durable when this returns."""
        store.put(self.name, self.write(value))

    def delete(self, store: Store) -> None:
        """Remove the value, if it is there: without reading it, as a crash may have come while it was being erased."""
        if self.name in store.keys():  # noqa: SIM118 - a method of stores
            store.delete(self.name)


class RoundHolding(_Kind[Value]):
    """A value of which there is one a round, under `name/<round>`."""

    def key(self, number: int) -> str:
        """Where the value of a round is in the store."""
        return f"{self.name}/{number}"

    def has(self, key: str) -> bool:
        """Whether `key` is that of a round's value."""
        return self._number(key) is not None

    def rounds(self, store: Store) -> list[int]:
        """The rounds of which there is a value, ascending."""
        return sorted(filter(None, map(self._number, store.keys())))

    def get(self, store: ReadableStore, number: int) -> Value | None:
        """The value of a round, or None; raises Malformed."""
        stored = store.get(self.key(number))
        return None if stored is None else self.read(stored)

    def put(self, store: Store, number: int, value: Value) -> None:
        """Replace the value of a round; durable when this returns."""
        store.put(self.key(number), self.write(value))

    def delete(self, store: Store, number: int) -> None:
        """Remove the value of a round, if it is there."""
        store.delete(self.key(number))

    def _number(self, key: str) -> int | None:
        """The round of a key of its own; in one spelling, from 1 on."""
        name, _, digits = key.partition("/")
        if name != self.name or not (digits.isascii() and digits.isdigit()) or digits.startswith("0"):
            return None
        return int(digits)


@dataclass(frozen=True)
class Holdings:
    """All that the store of one kind of party may hold; `party`: whose it is, in words."""

    party: str
    kinds: tuple[Holding[Any] | RoundHolding[Any], ...]

    def check(self, key: str, value: bytes) -> None:
        """Raises Malformed for a key that this party has not, or a value that it did not write."""
        kind = next((kind for kind in self.kinds if kind.has(key)), None)
        if kind is None:
            names = ", ".join(each.name for each in self.kinds)
            raise Malformed("key", f"one of what {self.party} keeps: {names}", repr(key))
        kind.read(value)


def as_it_is(value: bytes) -> bytes:
    """For values that are bytes of any kind."""
    return value


def read_hash(data: bytes) -> bytes:
    """The bytes of a SHA-256; raises Malformed."""
    if len(data) != HASH_BYTES:
        raise Malformed("hash", f"{HASH_BYTES} bytes", f"{len(data)}")
    return data


def write_count(value: int) -> bytes:
    """A number from 0 on, in decimal digits."""
    return str(value).encode()


def read_count(data: bytes) -> int:
    """Inverse of `write_count`."""
    if not data.isdigit() or (data.startswith(b"0") and data != b"0") or len(data) > _DIGITS:
        raise Malformed("count", f"a number in at most {_DIGITS} decimal digits", f"{data[:_DIGITS]!r}")
    return int(data)


POLICY = Holding("policy", "the hash of the policy under which it is kept", as_it_is, read_hash)


def bind(store: Store, policy: bytes) -> None:
    """Bind a store to the policy of this hash, for good, where it is bound to none; raises Rejected("store-policy")
    where it is bound to another: what is kept there was said in another federation."""
    bound = POLICY.get(store)
    if bound is None:
        POLICY.put(store, policy)
    elif bound != policy:
        raise Rejected("store-policy", f"a state that is kept under the policy {policy.hex()}", bound.hex())
