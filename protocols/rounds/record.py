"""The log as its coordinator holds it: every entry, what they say, and what trustees may have seen of them.

In the coordinator's store: the entries after the last published checkpoint, as of the last checkpoint
it signed. Once a trustee may have cosigned them they can never become others, so they outlive a crash.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from proofs.errors import Misuse, Rejected
from protocols.encoding import ENTRY_LIMIT
from protocols.envelopes import Entry, entry_hash, open_envelope
from protocols.holdings import POLICY, Holding, Holdings, bind
from protocols.invitation import Invitation, LoggedEntry
from protocols.log.checkpoint import Checkpoint, parse_note
from protocols.log.merkle import consistency_proof, inclusion_proof, leaf_hash
from protocols.messages import (
    AtMost,
    CohortClosed,
    KeyRotation,
    Message,
    Revocation,
    RoundClosed,
    RoundOpen,
    Submission,
)
from protocols.pinned import PinnedPolicy
from protocols.reasons import OWN_FAULTS
from protocols.rounds.faults import LoggedFaults
from protocols.rounds.follower import Follower
from protocols.rounds.ledger import CurrentRound, Ledger
from protocols.stores import ReadableStore, Store

_PENDING_LIMIT = 1 << 34


@dataclass(frozen=True)
class Published:
    """What a transcript has made public: its latest checkpoint, cosigned, and the entries under it."""

    note: bytes
    entries: Sequence[bytes]


@dataclass(frozen=True)
class Pending:
    """Entries that trustees may have seen and no transcript may have yet, from the log index `start` on."""

    start: int
    entries: tuple[Annotated[bytes, AtMost(ENTRY_LIMIT)], ...]


PENDING = Holding.of("pending", "the entries that trustees may have seen", Pending, _PENDING_LIMIT)
HOLDINGS = Holdings(
    "a coordinator",
    (
        POLICY,
        PENDING,
    ),
)


def pending_entries(store: ReadableStore) -> tuple[bytes, ...]:
    """Entries that trustees may have seen and no transcript may have yet; their blobs must be kept."""
    pending = PENDING.get(store)
    return () if pending is None else pending.entries


class LogRecord:
    """Appends only what the rules admit; remembers what a coordinator needs of the past."""

    def __init__(self, pinned: PinnedPolicy, store: Store, published: Published | None) -> None:
        bind(store, pinned.hash)
        self._pinned, self._store = pinned, store
        self._entries: list[bytes] = []
        self._unpublished: list[Entry] = []  # the last of them, from `published` on
        self._hashes: list[bytes] = []
        self._follower = Follower.start()
        self._seeds: dict[int, bytes] = {}  # of the rounds
        self.faults = LoggedFaults(pinned, self.submission, self._seeds.__getitem__)
        self.last_closed: RoundClosed | None = None
        self._changes: list[int] = []  # indices of the entries that changed the membership
        self._note = b""
        self._published = self._proposed = 0
        self._paths: dict[int, tuple[bytes, ...]] = {}
        if published is not None:
            self._restore(published)
        self._restore_pending()

    @property
    def ledger(self) -> Ledger:
        """What the entries say."""
        return self._follower.ledger

    @property
    def size(self) -> int:
        """Number of entries."""
        return self._follower.size

    @property
    def published(self) -> int:
        """Size of the last checkpoint that has its quorum; 0 for none."""
        return self._published

    def entries(self, start: int, stop: int) -> list[bytes]:
        """Entries start .. stop - 1."""
        return self._entries[start:stop]

    @property
    def unpublished(self) -> Sequence[Entry]:
        """Entries from `published` on."""
        return tuple(self._unpublished)

    def position(self, entry: bytes, start: int) -> int | None:
        """Index of these very bytes at or after `start`."""
        return self._entries.index(entry, start) if entry in self._entries[start:] else None

    def submission(self, index: int) -> Submission:
        """The submission at a log index; raises Misuse where there is none."""
        message = open_envelope(self._entries[index]).message
        if not isinstance(message, Submission):
            raise Misuse(f"entry {index} is no submission")
        return message

    def entry_with_hash(self, name: bytes | None, start: int) -> bytes:
        """The entry at or after `start` that has this hash; raises Misuse for none."""
        for entry in self._entries[start:]:
            if entry_hash(entry) == name:
                return entry
        raise Misuse("the log has no such entry")

    def trial(self, entries: Sequence[Entry]) -> Ledger:
        """The ledger that these entries would lead to; raises as the rules do, and changes nothing."""
        return self._follower.after(self._pinned, entries).ledger

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries, all or none; raises Rejected as the rules do."""
        first = self.size
        self._follower = self._follower.after(self._pinned, entries)
        for index, entry in enumerate(entries, first):
            self._entries.append(entry.data)
            self._unpublished.append(entry)
            self._hashes.append(leaf_hash(entry.data))
            self._note_entry(index, entry.message)

    def propose(self) -> Checkpoint:
        """The head of the log as it stands, and the pending entries made durable: trustees may now see them."""
        if not self._entries:
            raise Misuse("checkpoint: the log has no entry yet, start with genesis")
        pending = Pending(self._published, tuple(entry.data for entry in self._unpublished))
        PENDING.put(self._store, pending)
        self._proposed = self.size
        return Checkpoint(self._pinned.policy.origin, self.size, self._follower.root())

    def settle(self, note: bytes) -> None:
        """A checkpoint of this log has its quorum; raises Misuse for one older than another that had it."""
        size = parse_note(note).checkpoint.size
        if size < self._published:
            raise Misuse(f"cosigned: expected a checkpoint of at least {self._published} entries, found {size}")
        del self._unpublished[: size - self._published]
        self._note, self._published = note, size
        self._proposed = max(self._proposed, size)
        self._paths.clear()

    @property
    def note(self) -> bytes:
        """The last checkpoint that has its quorum; empty for none."""
        return self._note

    @property
    def proposed(self) -> int:
        """Entries that trustees may have seen: those under the last checkpoint that was signed, published or not."""
        return self._proposed

    def published_head(self) -> Checkpoint:
        """The last checkpoint that has its quorum; raises Misuse for none."""
        if not self._note:
            raise Misuse("publish a cosigned checkpoint first")
        return parse_note(self._note).checkpoint

    def invitation(self, current: CurrentRound, since: int, known: int) -> Invitation:
        """For a client that last saw a checkpoint of `since` entries and knows the first `known` changes."""
        if current.index >= self._published:
            raise Misuse("invitation: publish a cosigned checkpoint after round-open first")
        if not 0 <= since <= self._published:
            raise Rejected("since", f"a checkpoint of at most {self._published} entries", str(since))
        return Invitation(
            self._note,
            self._logged(current.index),
            tuple(self._logged(key.index) for key in current.keys),
            self._consistency(current.message.checkpoint_size),
            since,
            self._consistency(since),
            tuple(self._entries[index] for index in self._changes[known:]),
            known,
        )

    def _logged(self, index: int) -> LoggedEntry:
        key = -1 - index
        if key not in self._paths:
            self._paths[key] = tuple(inclusion_proof(self._hashes[: self._published], index))
        return LoggedEntry(index, self._entries[index], self._paths[key])

    def _consistency(self, old: int) -> tuple[bytes, ...]:
        if old not in self._paths:
            self._paths[old] = tuple(consistency_proof(self._hashes[: self._published], old))
        return self._paths[old]

    def _note_entry(self, index: int, message: Message) -> None:
        if isinstance(message, Submission):
            self.faults.add(index, message)
        elif isinstance(message, RoundOpen):
            self._seeds[message.round] = message.seed
        elif isinstance(message, CohortClosed):
            self.faults.settle(message, OWN_FAULTS)
        elif isinstance(message, KeyRotation | Revocation):
            self._changes.append(index)
        elif isinstance(message, RoundClosed):
            self.last_closed = message

    def _restore(self, published: Published) -> None:
        for entry in published.entries:
            self.append([Entry.open(entry)])
            self._unpublished.clear()
        head = parse_note(published.note).checkpoint
        if (head.size, head.root) != (self.size, self._follower.root()):
            raise Misuse("published: the entries are not those under the checkpoint")
        self.settle(published.note)

    def _restore_pending(self) -> None:
        pending = PENDING.get(self._store)
        if pending is None:
            return
        known = self._entries[pending.start :][: len(pending.entries)]
        if pending.start > self.size or list(pending.entries[: len(known)]) != known:
            raise Misuse("store: this coordinator's state belongs to another transcript")
        for entry in pending.entries[len(known) :]:
            self.append([Entry.open(entry)])
        self._proposed = max(self._proposed, pending.start + len(pending.entries))
