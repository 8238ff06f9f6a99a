"""The adversary of the auditor's tests: it holds every key, and can write any transcript it likes.

A `Forge` loads an honest transcript, lets a test change, insert, remove or reorder entries, blobs and checkpoints, then
signs everything anew and writes a directory. By default it keeps its story straight: entry hashes, log indices and
digests in later entries follow the change, so that only the lie itself is left to be found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from proofs.errors import Malformed
from protocols import messages
from protocols.cohorts import ack_digest, cohort_digest
from protocols.envelopes import entry_blobs, entry_hash, open_envelope, required_signer, seal
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, add_cosignatures, cosign, sign_checkpoint
from protocols.log.merkle import Frontier, leaf_hash
from protocols.log.merkle import root as merkle_root
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import Bundle, Tile, TileStack, blob_path, bundles, earlier_pieces, encode_bundle
from protocols.messages import Detail, Message
from protocols.policy import Policy
from protocols.verdicts import ANSWERS, VERDICTS, spell
from tests.spelling import answering, judging

REFERENCES = ("round_open", "cohort", "aggregate")  # fields that hold an entry hash
CHANGES = (messages.KeyRotation, messages.Revocation)
CLOCK = 1_700_000_000


@dataclass
class Slot:
    """One entry to be: the message and who signs it, or raw bytes. `was`: its index in the honest log, if any."""

    message: Message | None
    was: int | None
    raw: bytes | None = None
    signer: SigningKey | None = None
    pinned: frozenset[str] = frozenset()  # fields that are the lie itself and follow nothing


@dataclass
class Forge:
    """A transcript in pieces. checkpoints: the honest sizes that are published; they move with the entries."""

    policy: Policy
    policy_data: bytes
    key_of: Callable[[str], SigningKey]
    slots: list[Slot]
    blobs: dict[bytes, bytes]
    checkpoints: list[int]
    honest: list[bytes]
    cosigners: list[str]
    notes: dict[int, Callable[[bytes], bytes]] = field(default_factory=dict)
    loose: list[bytes] = field(default_factory=list)  # blobs to be written although nothing names them
    ghosts: set[str] = field(default_factory=set)  # who goes on cosigning after a revocation

    @classmethod
    def load(cls, path: Path, policy: Policy, policy_data: bytes, key_of: Callable[[str], SigningKey]) -> Forge:
        reader = TranscriptReader(path)
        entries = reader.entries(0, reader.size)
        blobs = {}
        for found in (path / "blobs").glob("*/*"):
            blobs[bytes.fromhex(found.name)] = found.read_bytes()
        slots = [Slot(_message(entry), index) for index, entry in enumerate(entries)]
        names = [member.id for member in policy.trustees]
        return cls(policy, policy_data, key_of, slots, blobs, reader.checkpoints(), entries, names)

    # ---- finding ----

    def find(self, kind: type, number: int | None = None, nth: int = 0) -> int:
        """Position of the nth entry of a type, in a round."""
        found = [
            position
            for position, slot in enumerate(self.slots)
            if isinstance(slot.message, kind) and (number is None or getattr(slot.message, "round", None) == number)
        ]
        return found[nth]

    def message(self, position: int) -> Any:
        return self.slots[position].message

    def blob(self, name: bytes) -> bytes:
        return self.blobs[name]

    # ---- changing ----

    def edit(self, position: int, *, signer: str | None = None, **changes: Any) -> None:
        """Change fields of an entry; what is changed stays as it is when the story is straightened."""
        slot = self.slots[position]
        assert slot.message is not None
        changes = _spelled(slot.message, changes)
        slot.message = replace(slot.message, **changes)
        slot.pinned |= set(changes)
        if signer is not None:
            slot.signer = self.key_of(signer)

    def insert(self, position: int, message: Message, **pins: Any) -> None:
        """A new entry, signed by its rightful party."""
        self.slots.insert(position, Slot(message, None, pinned=frozenset(pins.get("pinned", ()))))

    def insert_raw(self, position: int, raw: bytes) -> None:
        self.slots.insert(position, Slot(None, None, raw))

    def remove(self, position: int) -> None:
        del self.slots[position]

    def cut(self, position: int) -> None:
        """Drop this entry and all after it."""
        del self.slots[position:]

    def put(self, data: bytes) -> bytes:
        name = hashlib.sha256(data).digest()
        self.blobs[name] = data
        return name

    # ---- writing ----

    def entries(self) -> list[bytes]:
        """Every entry, signed, with later references brought in line."""
        hashes: dict[bytes, bytes] = {}
        indices = {slot.was: position for position, slot in enumerate(self.slots) if slot.was is not None}
        built: list[bytes] = []
        for slot in self.slots:
            if slot.raw is not None:
                entry = slot.raw
            else:
                entry = self._seal(self._straighten(slot, hashes, indices, built), slot, built)
            if slot.was is not None:
                hashes[entry_hash(self.honest[slot.was])] = entry_hash(entry)
            built.append(entry)
        return built

    def _straighten(
        self, slot: Slot, hashes: Mapping[bytes, bytes], indices: Mapping[int, int], built: list[bytes]
    ) -> Message:
        message: Any = slot.message
        changes: dict[str, Any] = {}
        for name in REFERENCES:
            value = getattr(message, name, None)
            if isinstance(value, bytes) and name not in slot.pinned:
                changes[name] = hashes.get(value, value)
        for name in ("round_keys", "releases"):
            if hasattr(message, name) and name not in slot.pinned:
                changes[name] = tuple(indices[index] for index in getattr(message, name) if index in indices)
        if isinstance(message, messages.ShareAck | messages.CohortClosed):
            changes |= _moved(message, indices, len(built))
        message = replace(message, **{name: value for name, value in changes.items() if name not in slot.pinned})
        if isinstance(message, messages.RoundOpen) and "changes" not in slot.pinned:
            hashes_of_changes = [leaf_hash(entry) for entry in built if isinstance(_any(entry), CHANGES)]
            message = replace(message, changes=merkle_root(hashes_of_changes))
        if isinstance(message, messages.RoundOpen) and "round_key_hashes" not in slot.pinned:
            named = [entry_hash(built[index]) for index in message.round_keys if index < len(built)]
            message = replace(message, round_key_hashes=tuple(named))
        if hasattr(message, "digest") and "digest" not in slot.pinned:
            message = replace(message, digest=_digest(message, built))
        return message

    def _seal(self, message: Message, slot: Slot, built: list[bytes]) -> bytes:
        signer = required_signer(message)
        return seal(message, signer, slot.signer or self.key_at(signer, built))

    def key_at(self, name: str, built: Sequence[bytes]) -> SigningKey:
        """A party's key after these entries: its first, or the last it rotated to (see `Simulation.rotation`)."""
        rotations = [_any(entry) for entry in built]
        count = sum(isinstance(each, messages.KeyRotation) and each.party == name for each in rotations)
        return self.key_of(f"{name} rotated {count}" if count else name)

    def sizes(self) -> list[int]:
        """Where the published checkpoints are now: behind the entries that they were behind."""
        moved = {slot.was: position for position, slot in enumerate(self.slots) if slot.was is not None}
        sizes = {moved[size - 1] + 1 for size in self.checkpoints if size - 1 in moved}
        return sorted(sizes | {len(self.slots)})

    def write(self, path: Path) -> Path:
        """Write the transcript directory."""
        entries = self.entries()
        named = {name for entry in entries for name in _named(entry)}
        blobs = [data for name, data in self.blobs.items() if name in named]
        notes: dict[int, Callable[[int, bytes], bytes]] = {
            size: partial(self.note, built=entries[:size]) for size in self.sizes()
        }
        write_transcript(path, self.policy_data, entries, [*blobs, *self.loose], notes)
        return path

    def note(self, size: int, root: bytes, built: Sequence[bytes] = ()) -> bytes:
        """A checkpoint, signed by the log and by those of `cosigners` whom no entry of `built` revokes."""
        head = Checkpoint(self.policy.origin, size, root)
        note = sign_checkpoint(head, self.policy.origin, self.key_of("coordinator"))
        revoked = {each.party for each in map(_any, built) if isinstance(each, messages.Revocation)}
        names = [name for name in self.cosigners if name not in revoked - self.ghosts]
        lines = [cosign(head, name, self.key_at(name, built), CLOCK + size) for name in names]
        return self.notes.get(size, lambda data: data)(add_cosignatures(note, lines))


def write_transcript(
    path: Path,
    policy: bytes,
    entries: list[bytes],
    blobs: Iterable[bytes],
    notes: Mapping[int, Callable[[int, bytes], bytes]],
) -> None:
    """Lay out a transcript directory around any bytes, without the writer's own checks."""
    files: dict[str, bytes] = {"policy.cbor": policy}
    partial: dict[str, bytes] = {}
    stack, frontier = TileStack(), Frontier()
    for entry in entries:
        hashed = leaf_hash(entry)
        frontier.append(hashed)
        files |= {tile.path: data for tile, data in stack.append(hashed)}
        if frontier.size in notes:
            files[f"checkpoints/{frontier.size}"] = notes[frontier.size](frontier.size, frontier.root())
            partial |= {tile.path: data for tile, data in stack.partial()}
    files |= {tile.path: data for tile, data in stack.partial()}
    earlier = [piece for _, piece in earlier_pieces(notes, len(entries))]
    files |= {piece.path: partial[piece.path] for piece in earlier if isinstance(piece, Tile)}
    for bundle in [*bundles(len(entries)), *(piece for piece in earlier if isinstance(piece, Bundle))]:
        files[bundle.path] = encode_bundle(entries[bundle.start : bundle.start + bundle.width])
    files["checkpoint"] = files[f"checkpoints/{len(entries)}"]
    files |= {blob_path(hashlib.sha256(blob).digest()): blob for blob in blobs}
    for name, data in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _spelled(message: Any, changes: dict[str, Any]) -> dict[str, Any]:
    """Changes of fields; what is said of submissions may be given as lists, by the names of the properties."""
    first, second = ("acknowledged", "disputed") if isinstance(message, messages.ShareAck) else ("accepted", "excluded")
    if changes.keys().isdisjoint({first, second}):
        return changes
    said = [changes.get(name, getattr(message, name)) for name in (first, second)]
    rest = {name: value for name, value in changes.items() if name not in (first, second)}
    if isinstance(message, messages.ShareAck):
        return rest | {"answers": answering(message.first, *said)[1]}
    last = max((*said[0], *(each.index for each in said[1])), default=0)
    stop = max(message.first + len(message.verdicts), last + 1)
    return rest | dict(zip(("verdicts", "details"), judging(message.first, *said, stop)[1:], strict=True))


def _moved(
    message: messages.ShareAck | messages.CohortClosed, indices: Mapping[int, int], place: int
) -> dict[str, Any]:
    """What is said of submissions, of where they are now; the message itself is to be entry `place`."""
    first = indices.get(message.first - 1, message.first - 1) + 1  # RoundOpen's
    if isinstance(message, messages.ShareAck):
        said = {indices[index]: word for index, word in message.said().items() if index in indices}
        return {"first": first, "answers": spell(first, said, ANSWERS)}
    judged = {indices[index]: word for index, word in message.judged().items() if index in indices}
    details = [Detail(indices[each.index], each.text) for each in message.details if each.index in indices]
    return {"first": first, "verdicts": spell(first, judged, VERDICTS, place), "details": tuple(details)}


def _named(entry: bytes) -> tuple[bytes, ...]:
    try:
        return entry_blobs(entry)
    except Malformed:
        return ()


def _any(entry: bytes) -> Any:
    """The message of an entry, None for bytes that are none."""
    try:
        return open_envelope(entry).message
    except Malformed:
        return None


def _message(entry: bytes) -> Message:
    message = open_envelope(entry).message
    assert not isinstance(message, Policy)
    return message


def _digest(message: Any, built: list[bytes]) -> bytes:
    """The digest that fits the entry as it now is."""
    indices = message.acknowledged if isinstance(message, messages.ShareAck) else getattr(message, "accepted", ())
    named = [(_message(built[index]), entry_hash(built[index])) for index in indices if index < len(built)]
    pairs = [(each.client, hashed) for each, hashed in named if isinstance(each, messages.Submission)]
    if isinstance(message, messages.ShareAck):
        return ack_digest(message.round_open, message.trustee, pairs)
    if isinstance(message, messages.CohortClosed):
        return cohort_digest(message.round_open, pairs, message.trustees)
    cohort = next((each for each in map(_safe, built) if each and each[0] == message.cohort), None)
    return message.digest if cohort is None else cohort[1].digest


def _safe(entry: bytes) -> tuple[bytes, Any] | None:
    """(hash, message) of a CohortClosed entry."""
    try:
        message = open_envelope(entry).message
    except Malformed:
        return None
    return (entry_hash(entry), message) if isinstance(message, messages.CohortClosed) else None
