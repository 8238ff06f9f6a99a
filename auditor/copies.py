"""One copy of a log, read for itself: what it holds, who was in force when, what was signed (spec 9.10).

This is less than an audit: that each checkpoint is rightly signed and cosigned, and is of these entries. It is what
two copies need to be compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from auditor.index import label
from auditor.report import printable
from auditor.standing import Standing
from proofs.errors import Malformed, Rejected
from protocols.envelopes import entry_hash, open_envelope
from protocols.log.checkpoint import Checkpoint, check_note, parse_note
from protocols.log.merkle import Frontier, leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.log.snapshot import SnapshotReader
from protocols.messages import KeyRotation, Revocation
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy


@dataclass(frozen=True)
class SignedHead:
    """A checkpoint that the log signed and that these trustees, t at least, cosigned. note: the file, verbatim."""

    note: bytes
    head: Checkpoint
    cosigners: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        return {
            "size": self.head.size,
            "root": self.head.root.hex(),
            "cosigners": list(self.cosigners),
            "note": self.note.decode(),
        }


@dataclass(frozen=True)
class Copy:
    """A transcript whose checkpoints are all signed, and all of one history. hashes: leaf hashes. heads: by size."""

    where: str
    reader: TranscriptReader = field(repr=False)
    hashes: tuple[bytes, ...] = field(repr=False)
    heads: Mapping[int, SignedHead] = field(repr=False)

    @property
    def size(self) -> int:
        """Number of entries."""
        return len(self.hashes)

    @property
    def latest(self) -> SignedHead:
        """The latest checkpoint."""
        return self.heads[self.size]

    def root(self, size: int) -> bytes:
        """Root over the first `size` entries."""
        return root(self.hashes[:size])

    def entry(self, index: int) -> bytes:
        """The entry at `index`, as it was when the copy was opened; raises Rejected if the file has changed since."""
        entry = self.reader.entries(index, index + 1)[0]
        if leaf_hash(entry) != self.hashes[index]:
            raise Rejected("entry", f"entry {index} to stay as it was read", "other bytes")
        return entry

    def covering(self, index: int) -> SignedHead:
        """The smallest checkpoint that covers entry `index`."""
        return self.heads[min(size for size in self.heads if size > index)]


def open_copy(path: Path, pinned: PinnedPolicy, reader: TranscriptReader | None = None) -> Copy:
    """Read the transcript directory `path`, and require:

    1. bundles, tiles and the root of the latest checkpoint belong together: as `TranscriptReader.replay`;
    2. every checkpoint is the policy's log's, signed, and cosigned by t trustees in force: "checkpoint-...";
    3. every checkpoint is of this history: "checkpoint-root", "checkpoint-size".
    `reader`: of this directory, by default of the checkpoint that is the latest now.
    Raises Malformed or Rejected with these names; OSError where the directory cannot be read at all.
    """
    next(path.iterdir(), None)  # raises what the system says, if there is no such directory
    reader = reader or SnapshotReader(path)
    latest = reader.latest()
    size = reader.size
    published = {each: reader.note(each) for each in reader.checkpoints() if each <= size} | {size: latest}
    standing, frontier = Standing(pinned.policy), Frontier()
    hashes: list[bytes] = []
    roots = {}
    for entries in reader.replay():
        for entry in entries:
            _follow(standing, pinned.policy, len(hashes), entry)
            hashes.append(leaf_hash(entry))
            frontier.append(hashes[-1])
            if frontier.size in published:
                roots[frontier.size] = frontier.root()
    if not hashes:
        raise Rejected("checkpoint-size", "at least the genesis entry", "an empty log")
    heads = {each: _signed_head(pinned.policy, standing, each, note, roots[each]) for each, note in published.items()}
    return Copy(str(path), reader, tuple(hashes), heads)


def _follow(standing: Standing, policy: Policy, index: int, entry: bytes) -> None:
    """What an entry changes about who is in force. One that does not decode or is not rightful changes nothing."""
    try:
        envelope = open_envelope(entry)
        message = envelope.message
        if isinstance(message, KeyRotation | Revocation) and message.federation == policy.federation:
            standing.change(index, entry, envelope)
    except (Malformed, Rejected):
        return


def _signed_head(policy: Policy, standing: Standing, size: int, data: bytes, expected: bytes) -> SignedHead:
    note = parse_note(data)
    if note.checkpoint.size != size:
        raise Rejected("checkpoint-size", f"{size}, as the file's name says", str(note.checkpoint.size))
    trustees = standing.trustees_at(size)
    cosigners = check_note(note, policy.log_key, trustees, policy.threshold, origin=policy.origin)
    if note.checkpoint.root != expected:
        found = f"{note.checkpoint.root.hex()}, signed and cosigned by {', '.join(cosigners)}"
        raise Rejected("checkpoint-root", f"{expected.hex()} at size {size}, as the entries have it", found)
    return SignedHead(data, note.checkpoint, tuple(cosigners))


def describe(index: int, entry: bytes) -> str:
    """An entry in one line: index, type, party, round, and the hash by which other entries name it."""
    try:
        message = open_envelope(entry).message
        name = f"entry {index}" if isinstance(message, Policy) else label(index, message)
    except Malformed:
        name = f"entry {index} (does not decode)"
    return f"{printable(name)}, SHA-256 {entry_hash(entry).hex()}"
