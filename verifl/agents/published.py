"""The log as it is published, read a bundle of entries at a time: what it holds of it does not grow with the log.

The checkpoint's own signature comes first: a stranger who shows a long log of his own is read no entry of. Who may have
cosigned it is known only behind the entries, as they change who is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from proofs.errors import Rejected
from protocols.envelopes import Entry
from protocols.invitation import Invitation, make_invitation
from protocols.log.checkpoint import SignedNote, check_note, check_own, parse_note
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from protocols.rounds.evidence import Evidence, newest_said
from protocols.rounds.follower import Follower
from verifl.agents.party import Party
from verifl.storage.history import EndedRound, RoundsWalk

Seen = TypeVar("Seen")
_LOOKS = 5  # at a directory that changes while it is read


def steadily(look: Callable[[], Seen], marks: Callable[[], object]) -> Seen:
    """What `look` finds in files that a coordinator may change meanwhile: partial bundles go as the log grows. It looks
    again where files do not fit together and `marks` says that the coordinator went on; a few times."""
    for _ in range(_LOOKS):
        before = marks()
        try:
            return look()
        except Damaged:
            if before == marks():
                raise
    return look()


def newest(reader: TranscriptReader | None) -> bytes | None:
    """The checkpoint of a log, as a mark of how far it is; None before the first."""
    return None if reader is None else reader.latest()


class PublishedLog:
    """For a party that reads it there and needs nobody to ask: a `PublicLog`. Raises as `TranscriptReader` does, and
    Rejected("checkpoint-...") for a log of somebody else."""

    def __init__(self, reader: TranscriptReader, pinned: PinnedPolicy) -> None:
        """reader: of the latest checkpoint, at the time of the question."""
        self._reader, self._pinned = reader, pinned
        self.entries, self.blob = reader.stream, reader.blob

    def invitation(self, since: int, known: int) -> Invitation:
        """See `make_invitation`."""
        own_note(self._pinned, self._reader)
        return make_invitation(self._reader, since, known)

    def said_by(self, party: Party) -> Evidence:
        """What a party has said in it: for its agent to start with."""
        own_note(self._pinned, self._reader)
        entries = (entry for bundle in self._reader.replay(tiles=False) for entry in bundle)
        return Evidence(self._reader.latest(), newest_said(self._pinned, party.name, party.keys, entries))


def own_note(pinned: PinnedPolicy, reader: TranscriptReader) -> SignedNote:
    """The latest checkpoint, if the log's key signed it; raises Malformed, Rejected("checkpoint-...")."""
    note = parse_note(reader.latest())
    check_own(note, pinned.policy.log_key, pinned.policy.origin)
    return note


def whole_log(
    pinned: PinnedPolicy, reader: TranscriptReader, walk: RoundsWalk
) -> Iterator[tuple[Entry, EndedRound | None]]:
    """Every entry, and the round that it ends, if it ends one. The log is read by its tree, then by its rules. walk: at
    its start; it has been through the log when the last entry has come.

    Raises Malformed or Rejected, by the name of the check, for what is no log of this policy, or its checkpoint none
    that t trustees in force have cosigned: what was made of the entries counts once all of them have come.
    """
    note, policy = own_note(pinned, reader), pinned.policy
    for _ in reader.replay():  # first, so that damage is not taken for a breach of the rules
        pass
    head = note.checkpoint
    for data in reader.stream(0, head.size):
        entry = Entry.open(data)
        yield entry, walk.add(entry)
    if walk.follower.root() != head.root:  # whoever has the files may have changed them since
        raise Damaged("checkpoint-root", head.root.hex(), walk.follower.root().hex())
    check_note(note, policy.log_key, walk.follower.ledger.membership.trustees(policy), policy.threshold)


def follow(pinned: PinnedPolicy, reader: TranscriptReader, known: Follower, hear: Callable[[Entry], None]) -> Follower:
    """`known`, followed by the rules to the latest checkpoint, which t trustees in force have cosigned; `known` itself
    where that is no longer. hear: told every further entry, before it is known whether any of them may be believed: so
    what it makes of them counts only once this returns.

    Raises Rejected("fork") where the entries are not those under the checkpoint, and as `check_note` and `Follower`.
    """
    note, policy = own_note(pinned, reader), pinned.policy
    head = note.checkpoint
    if head.size < known.size:
        return known
    followed = known.after(pinned, _heard(reader.stream(known.size, head.size), hear))
    if followed.root() != head.root:
        raise Rejected("fork", followed.root().hex(), head.root.hex())
    check_note(note, policy.log_key, followed.ledger.membership.trustees(policy), policy.threshold)
    return followed


def _heard(entries: Iterator[bytes], hear: Callable[[Entry], None]) -> Iterator[Entry]:
    for data in entries:
        entry = Entry.open(data)
        hear(entry)
        yield entry
