"""A log that a malicious server writes on its own: whatever it likes, under the real log key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from protocols.blobs import blob_hash
from protocols.envelopes import Entry, seal
from protocols.identities import SigningKey
from protocols.invitation import Invitation, LoggedEntry
from protocols.log.checkpoint import Checkpoint, add_cosignatures, sign_checkpoint
from protocols.log.merkle import consistency_proof, inclusion_proof, leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.log.writer import TranscriptWriter
from protocols.messages import COORDINATOR, Message
from protocols.pinned import PinnedPolicy
from protocols.rounds.trustee import Trustee
from verifl.adversaries.trustees import Colluding


@dataclass
class ForgedLog:
    """Entries of the server's choice. blobs: those that the true transcript does not have, by hash."""

    pinned: PinnedPolicy
    key: SigningKey
    entries: list[bytes]
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    notes: dict[int, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.entries)

    def append(self, message: Message) -> int:
        """Seal a message of the coordinator and append it; its index."""
        self.entries.append(seal(message, COORDINATOR, self.key))
        return self.size - 1

    def put(self, blob: bytes) -> bytes:
        """Keep a blob; its hash."""
        self.blobs[blob_hash(blob)] = blob
        return blob_hash(blob)

    def head(self) -> Checkpoint:
        """The tree head of all entries."""
        return Checkpoint(self.pinned.policy.origin, self.size, root([leaf_hash(entry) for entry in self.entries]))

    def note(self) -> bytes:
        """The head under the log's signature alone."""
        head = self.head()
        return sign_checkpoint(head, head.origin, self.key)

    def show(self, trustee: Trustee, timestamp: int) -> bytes:
        """What a trustee answers when asked to cosign this log; raises Rejected or Malformed as it does."""
        return trustee.observe(self.note(), self.entries[min(trustee.size, self.size) :], timestamp)

    def cosigned(self, colluders: Iterable[Colluding], timestamp: int, lines: Sequence[bytes] = ()) -> bytes:
        """The head as colluders cosign it, with the `lines` of others; kept to be published."""
        own = [each.cosign_anything(self.head(), timestamp) for each in colluders]
        self.notes[self.size] = add_cosignatures(self.note(), [*own, *lines])
        return self.notes[self.size]

    def invitation(self, note: bytes, round_open: int, keys: Sequence[int], seed_size: int, since: int) -> Invitation:
        """To the round that the entry `round_open` opens, with true proofs in this log of its size."""
        hashes = [leaf_hash(entry) for entry in self.entries]
        return Invitation(
            note,
            self._logged(hashes, round_open),
            tuple(self._logged(hashes, index) for index in keys),
            tuple(consistency_proof(hashes, seed_size)),
            since,
            tuple(consistency_proof(hashes, since)),
        )

    def publish(self, true: Path, out: Path) -> None:
        """Write a transcript of this log to `out`. The checkpoints of the entries that it shares with the transcript
        `true` are the true ones; blobs come from there, too."""
        reader = TranscriptReader(true)
        shared = _shared(reader.entries(0, reader.size), self.entries)
        notes = {size: reader.note(size) for size in reader.checkpoints() if size <= shared} | self.notes
        with TranscriptWriter(out) as writer:
            writer.put_policy(self.pinned.data)
            entries = [Entry.open(each) for each in self.entries]
            for blob in self._blobs(reader, entries):
                writer.put_blob(blob)
            writer.append(entries)
            for _, note in sorted(notes.items()):
                writer.publish(note)

    def _blobs(self, reader: TranscriptReader, entries: Iterable[Entry]) -> Iterable[bytes]:
        own: Mapping[bytes, bytes] = self.blobs
        for entry in entries:
            for name in entry.blobs:
                yield own[name] if name in own else reader.blob(name, 1 << 40)

    def _logged(self, hashes: list[bytes], index: int) -> LoggedEntry:
        return LoggedEntry(index, self.entries[index], tuple(inclusion_proof(hashes, index)))


def _shared(first: Sequence[bytes], second: Sequence[bytes]) -> int:
    """How many entries two logs have in common before they part."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return min(len(first), len(second))
