"""The hash functions of the protocol (spec 2): nothing else in `protocols` and `auditor` computes a hash.

What is hashed, under which tag and in which framing is for those who ask: blobs, envelopes, contexts, the log's tree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from hashlib import shake_128, shake_256
from pathlib import Path

__all__ = ["sha256", "sha256_of_file", "sha256_of_parts", "sha512", "shake_128", "shake_256"]


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def sha512(data: bytes) -> bytes:
    """SHA-512, 64 bytes: as RFC 9381 has it."""
    return hashlib.sha512(data).digest()


def sha256_of_parts(parts: Iterable[bytes]) -> bytes:
    """SHA-256 of the parts one after the other, one in memory at a time."""
    running = hashlib.sha256()
    for part in parts:
        running.update(part)
    return running.digest()


def sha256_of_file(path: Path) -> bytes:
    """SHA-256 of a file's bytes, not all of them in memory. Raises OSError."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
