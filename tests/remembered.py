"""Signatures that were verified once are not verified again: in a federation of one process everybody verifies all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar
from unittest import mock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols import identities
from protocols.hashes import sha256

MOST = 1 << 15  # signatures that are remembered at once


class _Remembered:
    """In the place of `Ed25519PublicKey`. What the library refuses is not remembered: it is asked again."""

    known: ClassVar[set[tuple[bytes, bytes, bytes]]] = set()

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def from_public_bytes(cls, data: bytes) -> _Remembered:
        return cls(data)

    def verify(self, signature: bytes, data: bytes) -> None:
        signed = (self._data, signature, sha256(data))
        if signed not in self.known:
            Ed25519PublicKey.from_public_bytes(self._data).verify(signature, data)
            if len(self.known) == MOST:
                self.known.clear()
            self.known.add(signed)


@contextmanager
def remembered() -> Iterator[None]:
    """Of this key, over these bytes: the library is asked once."""
    with mock.patch.object(identities, "Ed25519PublicKey", _Remembered):
        yield
