"""Small transcripts of arbitrary entries, for the tests of writer and reader."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.log.writer import TranscriptWriter

ORIGIN = "verifl.example/test"
LOG = SigningKey.from_seed(b"l" * 32)
POLICY = b"a policy"
POLICY_HASH = hashlib.sha256(POLICY).digest()


def entry(number: int) -> bytes:
    """Every fiftieth entry names the blob of its number; entry 0 also the policy, as a genesis does."""
    return (f"entry {number} " * (1 + number % 3)).encode()


def blob(number: int) -> bytes:
    return f"blob {number}".encode() * 20


def references(data: bytes) -> Iterable[bytes]:
    number = int(data.split()[1])
    own = [hashlib.sha256(blob(number)).digest()] if number % 50 == 0 else []
    return [POLICY_HASH, *own] if number == 0 else own


@dataclass(frozen=True)
class Numbered:
    """An entry as it is appended."""

    number: int

    @property
    def data(self) -> bytes:
        return entry(self.number)

    @property
    def blobs(self) -> list[bytes]:
        return list(references(self.data))


def open_writer(path: Path, step: Callable[[str], None] | None = None) -> TranscriptWriter:
    return TranscriptWriter(path, references=references, watch=step)


def extend(writer: TranscriptWriter, size: int) -> None:
    """Put blobs, append entries up to `size` in all, and publish."""
    if writer.published_size == 0:
        writer.put_policy(POLICY)
    numbers = range(writer.size, size)
    for number in numbers:
        if number % 50 == 0:
            writer.put_blob(blob(number))
    writer.append([Numbered(number) for number in numbers])
    writer.publish(note(writer))


def note(writer: TranscriptWriter) -> bytes:
    return sign_checkpoint(Checkpoint(ORIGIN, writer.size, writer.root()), ORIGIN, LOG)


def build(path: Path, *sizes: int) -> None:
    with open_writer(path) as writer:
        for size in sizes:
            extend(writer, size)


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if not file.is_dir()}


def blob_hashes(size: int) -> list[bytes]:
    return [hashed for number in range(size) for hashed in references(entry(number))]
