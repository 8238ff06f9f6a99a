"""What of a copy is the federation's own word: signed by its log's key (spec 9.3). The rest is whoever copied's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from auditor.gaps import roots_at, tile_leaves
from proofs.errors import Malformed, Rejected
from protocols.envelopes import Envelope, check_signature, open_envelope, open_policy
from protocols.hashes import sha256
from protocols.log.checkpoint import SignedNote, check_own, parse_note
from protocols.log.merkle import leaf_hash
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import bundle_of, bundles
from protocols.messages import Genesis, RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy


def is_log_signed(policy: Policy, note: SignedNote) -> bool:
    """Whether the log's key signed this checkpoint, for the policy's origin, whoever else did."""
    try:
        check_own(note, policy.log_key, policy.origin)
    except Rejected:
        return False
    return True


def foreign_policy(reader: TranscriptReader, pinned: PinnedPolicy) -> tuple[str, bytes] | None:
    """Federation and policy hash that entry 0 names, if this is the log of another policy; else None.

    It is one if the pinned log's key signed that entry, and nothing shows that it signed a log of the pinned policy as
    well: no signed root over another entry 0, no RoundOpen of the pinned policy. Or if the log key of the transcript's
    own policy signed it, which is the one named, and the pinned log's signed no checkpoint. So neither a changed byte
    nor a changed file makes it one, and an entry that is put in front of a log hides nothing of it. Raises OSError.
    """
    entry = _first_entry(reader)
    try:
        envelope = None if entry is None else open_envelope(entry)
    except Malformed:
        return None
    message = None if envelope is None else envelope.message
    if entry is None or envelope is None or not isinstance(message, Genesis) or message.policy == pinned.hash:
        return None
    if _is_signed(envelope, pinned.policy.log_key):
        ours = _shows_ours(reader, pinned, entry)
    elif any(_is_signed(envelope, key) for key in _own_key(reader, message.policy)):
        ours = any(True for _ in _signed_notes(reader, pinned.policy))
    else:
        return None
    return None if ours else (message.federation, message.policy)


def _first_entry(reader: TranscriptReader) -> bytes | None:
    """Entry 0, by the bundle of the latest checkpoint, or if that is none of any other."""
    for size in _sizes(reader):
        first = reader.some_entries(bundle_of(0, size))[0]
        if first is not None:
            return first
    return None


def _sizes(reader: TranscriptReader) -> Iterator[int]:
    """What `checkpoint` says, if it says anything, then the names under checkpoints/, descending."""
    with suppress(Malformed, Rejected):
        if reader.size:
            yield reader.size
    yield from reversed(reader.all_checkpoints())


def _signed_notes(reader: TranscriptReader, policy: Policy) -> Iterator[SignedNote]:
    """Every checkpoint here that the log's key signed."""
    reads: list[Callable[[], bytes]] = [partial(reader.note, size) for size in reader.all_checkpoints()]
    for read in (reader.latest, *reads):
        with suppress(Malformed, Rejected):
            note = parse_note(read())
            if is_log_signed(policy, note):
                yield note


def _shows_ours(reader: TranscriptReader, pinned: PinnedPolicy, entry: bytes) -> bool:
    """Whether a root that the log's key signed is over another entry 0, as the tiles have it; or a RoundOpen is here
    that it signed, of the pinned policy."""
    heads = [note.checkpoint for note in _signed_notes(reader, pinned.policy)]
    size = max((head.size for head in heads), default=0)
    leaves = tile_leaves(reader, size)
    roots = roots_at(leaves, (head.size for head in heads))
    sealed = any(roots.get(head.size) == head.root for head in heads)
    return (sealed and leaves[0] != leaf_hash(entry)) or _opens_rounds(reader, pinned, size)


def _opens_rounds(reader: TranscriptReader, pinned: PinnedPolicy, size: int) -> bool:
    for bundle in bundles(size):
        entries = [entry for entry in reader.some_entries(bundle) if entry is not None]
        if not entries:
            break
        if any(_opens_round(entry, pinned) for entry in entries):
            return True
    return False


def _opens_round(entry: bytes, pinned: PinnedPolicy) -> bool:
    try:
        envelope = open_envelope(entry)
    except Malformed:
        return False
    message = envelope.message
    ours = isinstance(message, RoundOpen) and message.policy == pinned.hash
    return ours and _is_signed(envelope, pinned.policy.log_key)


def _is_signed(envelope: Envelope, key: bytes) -> bool:
    try:
        check_signature(envelope, key)
    except Rejected:
        return False
    return True


def _own_key(reader: TranscriptReader, name: bytes) -> list[bytes]:
    """The log key of the transcript's own policy, if that is the one of this hash."""
    try:
        data = reader.policy()
        policy, _ = open_policy(data)
    except (Malformed, Rejected):
        return []
    return [policy.log_key] if sha256(data) == name else []
