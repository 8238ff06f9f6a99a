"""One copy of a log, read for itself: what it holds, who was in force when, what was signed (spec 9.10).

This is less than an audit: that each checkpoint is rightly signed and cosigned, and is of these entries. It is what
two copies need to be compared. What the log's key signed is read even where too few trustees cosigned it: its holder
answers for it all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from auditor.arguments import require_transcript
from auditor.authenticity import foreign_policy
from auditor.index import label
from auditor.reports.results import Outcome, printable
from auditor.standing import Standing
from proofs.errors import Malformed, Rejected
from protocols.envelopes import entry_hash, open_envelope
from protocols.log.checkpoint import Checkpoint, SignedNote, check_note, check_own, parse_note
from protocols.log.connection import Remote
from protocols.log.merkle import Frontier, leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.log.snapshot import SnapshotReader
from protocols.messages import KeyRotation, Revocation, RoundAborted, RoundClosed
from protocols.pinned import PinnedPolicy
from protocols.policy import Member, Policy


class OtherPolicy(Rejected):
    """A copy is of another policy's log."""

    def __init__(self, pinned: PinnedPolicy, federation: str, policy: bytes) -> None:
        ours, theirs = f"{pinned.policy.federation} under policy {pinned.hash.hex()}", f"policy {policy.hex()}"
        super().__init__("genesis", f"the log of {ours}", f"that of {printable(federation)} under {theirs}")


def refused_as(fault: Malformed | Rejected) -> Outcome:
    """Which kind of no it is that a copy is refused for this: whoever copies can do anything but sign."""
    return Outcome.OTHER if isinstance(fault, OtherPolicy) else Outcome.DAMAGED


@dataclass(frozen=True)
class SignedHead:
    """A checkpoint that the log signed and that these trustees cosigned: t at least, but in a copy with a fault. note:
    the file, verbatim. keys: those that they cosigned with, where a copy says which these were."""

    note: bytes
    head: Checkpoint
    cosigners: tuple[str, ...]
    keys: tuple[bytes, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values; the root in hexadecimal, the note verbatim."""
        return {
            "size": self.head.size,
            "root": self.head.root.hex(),
            "cosigners": list(self.cosigners),
            "note": self.note.decode(),
        }


@dataclass(frozen=True)
class Copy:
    """A history of the policy's federation that the log's key signed. hashes: leaf hashes. heads: by size, those that
    the log's key signed and that are of this history; the latest is. fault: why it is no copy of the log all the same,
    None where every checkpoint is rightly signed and cosigned and of this history."""

    where: str
    reader: TranscriptReader = field(repr=False)
    hashes: tuple[bytes, ...] = field(repr=False)
    heads: Mapping[int, SignedHead] = field(repr=False)
    fault: Malformed | Rejected | None = None

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


def open_copy(path: Path | Remote, pinned: PinnedPolicy, reader: TranscriptReader | None = None) -> Copy:
    """Read the transcript directory `path`, and require what `read_copy` does, and:

    4. every checkpoint is the policy's log's, signed, and cosigned by t trustees in force: "checkpoint-...";
    5. every checkpoint is of this history: "checkpoint-root", "checkpoint-size".
    Raises Malformed or Rejected with these names; OSError where the directory cannot be read at all.
    """
    copy = read_copy(path, pinned, reader)
    if copy.fault is not None:
        raise copy.fault
    return copy


def read_copy(path: Path | Remote, pinned: PinnedPolicy, reader: TranscriptReader | None = None) -> Copy:
    """Read the transcript directory `path`, and require:

    1. the log's own genesis does not say that it is of another policy: "genesis";
    2. the latest checkpoint is the policy's log's, signed: "checkpoint-origin", "checkpoint-signature". Before this
       nothing is read but the first bundle: what is not signed may say any size;
    3. bundles, tiles and the root of the latest checkpoint belong together: as `TranscriptReader.replay`.
    Anything else that is wrong with checkpoints is the copy's `fault`.
    reader: of this directory, by default of the checkpoint that is the latest now.
    Raises Malformed or Rejected with these names; OSError where the directory cannot be read at all.
    """
    require_transcript(path)
    reader = reader or SnapshotReader(path)
    latest = reader.latest()
    size = reader.size
    _check_latest(pinned, reader)
    published = {each: reader.note(each) for each in reader.checkpoints() if each <= size} | {size: latest}
    standing, frontier = Standing(pinned), Frontier()
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
    heads, fault = _signed_heads(pinned.policy, standing, published, roots)
    return Copy(str(path), reader, tuple(hashes), heads, fault)


def signed_at(policy: Policy, reader: TranscriptReader, size: int) -> SignedHead | None:
    """The checkpoint of a size that the log's key signed, whatever else the directory holds; None if there is none."""
    reads: tuple[Callable[[], bytes], ...] = (partial(reader.note, size), reader.latest)
    for read in reads:
        try:
            note = _note_of(policy, size, data := read())
        except (Malformed, Rejected):
            continue
        return SignedHead(data, note.checkpoint, tuple(each.name for each in note.signatures[1:]))
    return None


def _check_latest(pinned: PinnedPolicy, reader: TranscriptReader) -> None:
    """Rules 1 and 2. Another policy is the better reason, if the first entry can be read."""
    if (other := foreign_policy(reader, pinned)) is not None:
        raise OtherPolicy(pinned, *other)
    fault: Malformed | Rejected | None = None
    try:
        _note_of(pinned.policy, reader.size, reader.latest())
    except (Malformed, Rejected) as error:
        fault = error
    try:
        reader.entries(0, min(1, reader.size))
    except (Malformed, Rejected) as error:
        raise fault or error from None
    if fault is not None:
        raise fault


def _follow(standing: Standing, policy: Policy, index: int, entry: bytes) -> None:
    """What an entry changes about who is in force. One that does not decode or is not rightful changes nothing."""
    try:
        envelope = open_envelope(entry)
        message = envelope.message
        if isinstance(message, KeyRotation | Revocation) and message.federation == policy.federation:
            standing.change(index, entry, envelope)
        elif isinstance(message, RoundClosed | RoundAborted):
            standing.end_round(index)
    except (Malformed, Rejected):
        return


def _signed_heads(
    policy: Policy, standing: Standing, published: Mapping[int, bytes], roots: Mapping[int, bytes]
) -> tuple[dict[int, SignedHead], Malformed | Rejected | None]:
    """The checkpoints that the log signed in this history, and what is wrong first with any checkpoint."""
    heads, faults = {}, list[Malformed | Rejected]()
    for size, data in published.items():
        try:
            note = _note_of(policy, size, data)
        except (Malformed, Rejected) as error:
            faults.append(error)
            continue
        trustees = standing.trustees_at(size)
        fault = _cosignature_fault(policy, note, trustees)
        cosigners = tuple(each for each in trustees if _cosigned(policy, note, each))
        if fault is not None:
            faults.append(fault)
        if note.checkpoint.root != roots[size]:
            who = ", ".join(each.id for each in cosigners) or "nobody"
            found = f"{note.checkpoint.root.hex()}, signed and cosigned by {who}"
            expected = f"{roots[size].hex()} at size {size}, as the entries have it"
            faults.append(Rejected("checkpoint-root", expected, found))
            continue
        names, keys = tuple(each.id for each in cosigners), tuple(each.public_key for each in cosigners)
        heads[size] = SignedHead(data, note.checkpoint, names, keys)
    return heads, faults[0] if faults else None


def _note_of(policy: Policy, size: int, data: bytes) -> SignedNote:
    """A checkpoint of this size that the log's key signed, whoever else did."""
    note = parse_note(data)
    if note.checkpoint.size != size:
        raise Rejected("checkpoint-size", f"{size}, as the file's name says", str(note.checkpoint.size))
    check_own(note, policy.log_key, policy.origin)
    return note


def _cosignature_fault(policy: Policy, note: SignedNote, trustees: tuple[Member, ...]) -> Rejected | None:
    try:
        check_note(note, policy.log_key, trustees, policy.threshold)
    except Rejected as error:
        return error
    return None


def _cosigned(policy: Policy, note: SignedNote, trustee: Member) -> bool:
    """Whether the note has a valid cosignature by this trustee, whatever else it has."""
    ours, *others = note.signatures
    lines = tuple(each for each in others if each.name == trustee.id)
    try:
        check_note(replace(note, signatures=(ours, *lines)), policy.log_key, (trustee,), 1)
    except Rejected:
        return False
    return True


def describe(index: int, entry: bytes) -> str:
    """An entry in one line: index, type, party, round, and the hash by which other entries name it."""
    try:
        message = open_envelope(entry).message
        name = f"entry {index}" if isinstance(message, Policy) else str(label(index, message))
    except Malformed:
        name = f"entry {index} (does not decode)"
    return f"{printable(name)}, SHA-256 {entry_hash(entry).hex()}"
