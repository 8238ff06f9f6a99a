"""I1: the log is one canonical, signed, cosigned history, and the directory holds it and nothing else."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import Annotated

from auditor.authenticity import is_log_signed
from auditor.blobs import Blobs, Roles
from auditor.case import Case
from auditor.checks.numbered import numbered
from auditor.filing import Filing
from auditor.findings import Findings, Unavailable, counted
from auditor.gaps import entries_of, roots_at, tile_leaves
from auditor.index import CIPHERTEXT, Index, prunable_blobs
from auditor.reports.results import CheckpointSummary, Kind, Place
from auditor.signed_log import SignedLog, signed_size
from proofs.errors import Malformed, Rejected
from protocols.blob_sizes import BLOB_ROLES, size_of
from protocols.hashes import sha256
from protocols.log.checkpoint import SignedNote, check_note, parse_note
from protocols.log.files import Damaged
from protocols.log.merkle import Frontier, leaf_hash
from protocols.log.tiles import (
    CHECKPOINT,
    POLICY,
    TILE_WIDTH,
    WRITTEN,
    Bundle,
    Piece,
    Tile,
    TileStack,
    blob_path,
    bundle_of,
    bundles,
    encode_bundle,
    note_path,
)
from protocols.policy import Policy

OTHERS = "because I2 failed: this is the log of another policy"
_HASH_SIZE = 32
_LAID_OUT = re.compile("checkpoints|tile(/.*)?|blobs(/[0-9a-f]{2})?", re.DOTALL)  # may be empty where files are gone

UNLISTED = (
    "a web server lists no files: whether there are others than the log's, blobs that no entry names among them, could "
    "not be seen (rule 6, I12 and P7)"
)
LEFTOVER = "if the run was killed, `verifl run CONFIG --out DIR --resume`, which opens DIR/transcript, puts that right"


@dataclass(frozen=True)
class Needs:
    """What I1 is handed."""

    case: Case
    blobs: Annotated[Blobs, Roles(*BLOB_ROLES.names)]


@numbered("I1")
def check_log(given: Needs, findings: Findings) -> SignedLog:
    """I1. 1. `checkpoint` is a canonical note, signed by the log, cosigned by t trustees in force at its size with the
    keys they had there, with no other signature. 2. So is every file under checkpoints/; each is for the size it is
    named for, none is beyond `checkpoint`, and that of the last size is the same bytes. 3. Every entry decodes to one
    canonical message. 4. Every hash tile is what the entries hash to, also the partial ones of earlier checkpoints, and
    their partial bundles are these entries. 5. The root at every published size is the one
    signed there, so each checkpoint extends all before it. 6. Every file belongs to a log of this size. 7. Every blob
    that an entry names is there, has its hash and the size of its role; only ciphertexts may be missing, and only those
    that nothing but an Aggregate and the submissions it sums name: all others are evidence.

    Leaves the entries that a checkpoint signed by the log covers: 3, 7 and every other check are about these.
    """
    case = given.case
    if case.foreign is not None:
        raise Unavailable(OTHERS)
    note = _latest(case, findings)
    if note is None:
        return SignedLog("no checkpoint that can be read", _policy(case))
    signed = [(Place(file=CHECKPOINT), note)]
    published = _published(case, findings, note, signed)
    placed = [*signed[:1], *((Place(file=note_path(size)), each) for size, each in published.items())]
    log, readable = _read_entries(case, findings, placed)
    cosigners = [_check_signatures(case, log.filed, findings, where, each) for where, each in signed]
    log = replace(log, checkpoint=_summary(case, note, cosigners[0]))
    try:
        read, pruned = (0, frozenset[bytes]()) if log.filed is None else _check_blobs(given, log.filed, findings)
    except Unavailable as missing:
        raise Unavailable(missing.reason, log) from None
    checkpoints = counted(len(published), "checkpoint")
    blobs = counted(read, "blob")
    if not readable:
        return replace(log, pruned=pruned, checked=f"{checkpoints}, {blobs}; the entries cannot all be read")
    if not case.reader.lists:
        findings.note(UNLISTED)
        return replace(log, pruned=pruned, checked=f"{note.checkpoint.size} entries, {checkpoints}, {blobs}")
    files = _check_files(case, log.filed, findings, note.checkpoint.size)
    checked = f"{note.checkpoint.size} entries, {checkpoints}, {files} files, {blobs}"
    return replace(log, pruned=pruned, checked=checked)


def _policy(case: Case) -> Policy | None:
    return None if case.pinned_policy is None else case.pinned_policy.policy


def _summary(case: Case, note: SignedNote, cosigners: Sequence[str]) -> CheckpointSummary:
    head, digest = note.checkpoint, sha256(case.reader.latest()).hex()
    return CheckpointSummary(head.size, head.root.hex(), digest, tuple(cosigners))


def _latest(case: Case, findings: Findings) -> SignedNote | None:
    """Rule 1, but for cosignatures. What the log did not sign is replaced by the largest checkpoint that it did."""
    note: SignedNote | None = None
    try:
        note = parse_note(case.reader.latest())
    except (Malformed, Rejected) as error:
        findings.reject(Place(file=CHECKPOINT), error, Kind.DAMAGED)
        if isinstance(error, Rejected) and error.check == "file-missing":
            findings.note(f"nothing was ever published here, or the checkpoint was removed; {LEFTOVER}")
    if case.pinned_policy is not None and (note is None or not is_log_signed(case.policy, note)):
        note = _signed_before(case, findings, note)
    if note is None:
        return None
    if note.checkpoint.size == 0:
        findings.add(
            Place(file=CHECKPOINT).at("size"), "at least the genesis entry", "an empty log", _kind_of(case, note)
        )
    return note


def _signed_before(case: Case, findings: Findings, latest: SignedNote | None) -> SignedNote | None:
    """The largest checkpoint under checkpoints/ that the log signed; `latest` if there is none."""
    for size in reversed(case.reader.all_checkpoints()):
        try:
            note = parse_note(case.reader.note(size))
        except (Malformed, Rejected):
            continue
        if note.checkpoint.size == size and is_log_signed(case.policy, note):
            if latest is not None:
                _check_signatures(case, None, findings, Place(file=CHECKPOINT), latest)
            findings.note(f"checkpoint is not the log's; {note_path(size)} is taken instead")
            case.reader.as_of(size)
            return note
    return latest


def _check_signatures(case: Case, filed: Index | None, findings: Findings, where: Place, note: SignedNote) -> list[str]:
    """By the log, and by t of the trustees in force at this size (the policy's, if the log cannot be read)."""
    if case.pinned_policy is None:
        return []
    policy = case.policy
    trustees = policy.trustees if filed is None else filed.trustees_at(policy, note.checkpoint.size)
    try:
        return check_note(note, policy.log_key, trustees, policy.threshold, origin=policy.origin)
    except Rejected as error:
        findings.reject(where, error, Kind.UNJUDGED)  # who copies it can drop or spoil a signature
        return []


def _kind_of(case: Case, note: SignedNote) -> Kind:
    """Of a finding about what a checkpoint says: nobody said it whose key did not sign it."""
    signed = case.pinned_policy is not None and is_log_signed(case.policy, note)
    return Kind.BROKEN if signed else Kind.DAMAGED


def _published(
    case: Case, findings: Findings, latest: SignedNote, signed: list[tuple[Place, SignedNote]]
) -> dict[int, SignedNote]:
    """Rule 2: the checkpoints by size, those that decode; whoever signed them is checked once the log is read."""
    sizes = case.reader.checkpoints()
    if latest.checkpoint.size not in sizes:
        where = Place(file=note_path(latest.checkpoint.size))
        findings.add(where, "a copy of the latest checkpoint", "no such file", Kind.DAMAGED)
    published = {}
    for size in sizes:
        where = Place(file=note_path(size))
        try:
            data = case.reader.note(size)
            note = parse_note(data)
        except (Malformed, Rejected) as error:
            findings.reject(where, error, Kind.DAMAGED)
            continue
        if findings.expect(where.at("size"), size, note.checkpoint.size, Kind.DAMAGED):
            published[size] = note
        if size > latest.checkpoint.size:
            expected = f"no checkpoint beyond the latest, of size {latest.checkpoint.size}"
            findings.add(where, expected, f"size {size}; {LEFTOVER}", Kind.DAMAGED)
        if size == latest.checkpoint.size and data != case.reader.latest():
            findings.add(where, "the bytes of checkpoint", "other bytes", Kind.DAMAGED)
        signed.append((where, note))
    return published


def _read_entries(case: Case, findings: Findings, placed: Sequence[tuple[Place, SignedNote]]) -> tuple[SignedLog, bool]:
    """Rules 3 to 5, in one pass. placed: the latest checkpoint and all published ones, with their paths. False if a
    bundle cannot be read: then what lies after it cannot be judged."""
    notes = [note for _, note in placed]
    size, sizes, roots = notes[0].checkpoint.size, {note.checkpoint.size for note in notes}, dict[int, bytes]()
    filing = Filing(case.pinned_policy)
    frontier, stack, earlier = Frontier(), TileStack(), _earlier(case)
    fault = None
    try:
        for entry in _entries(case, size):
            hashed = leaf_hash(entry)
            filing.add(entry)
            frontier.append(hashed)
            _check_tiles(case, findings, stack.append(hashed))
            _check_earlier(case, findings, stack, earlier.get(frontier.size, []))
            if frontier.size in sizes:
                roots[frontier.size] = frontier.root()
    except (Malformed, Rejected) as error:
        place = f"after entry {frontier.size - 1}" if frontier.size else "before the first entry"
        findings.reject(Place(file=bundle_of(frontier.size, size).path).at(place), error, Kind.DAMAGED)
        fault = error
    if fault is None:
        _check_tiles(case, findings, stack.partial())
    log = _filed(case, findings, filing.index(), notes, roots)
    _check_roots(case, log, findings, placed)
    if log.filed is not None:
        log.filed.report(findings)
    return log, fault is None


def _filed(
    case: Case, findings: Findings, index: Index, notes: Sequence[SignedNote], roots: Mapping[int, bytes]
) -> SignedLog:
    """The log as far as it is what the log's key signed: a prefix of a log is a log."""
    size, whole = notes[0].checkpoint.size, signed_size(_policy(case), notes, roots)
    log = SignedLog(policy=_policy(case), notes=tuple(notes), roots=MappingProxyType(roots), filed=index)
    if whole < size and case.pinned_policy is not None:
        whole, log = _filed_part(case, findings, log, size, whole)
    return replace(log, cut=whole if whole < size else None, filed=log.filed if whole else None)


def _filed_part(case: Case, findings: Findings, log: SignedLog, size: int, whole: int) -> tuple[int, SignedLog]:
    """The log as far as its signed root is that of the entries, or of the hashes in the tiles, whichever is more."""
    leaves = tile_leaves(case.reader, size)
    roots = roots_at(leaves, (note.checkpoint.size for note in log.notes))
    longer, filing, gaps = signed_size(case.policy, log.notes, roots), Filing(case.pinned_policy), set[int]()
    if longer <= whole:
        for entry in itertools.islice(_entries(case, size), whole):
            filing.add(entry)
        return whole, replace(log, filed=filing.index())
    for position, found in enumerate(itertools.islice(entries_of(case.reader, size, leaves), longer)):
        if found is not None:
            filing.add(found)
            continue
        gaps.add(position)
        filing.add_missing()
        expected = f"the entry whose leaf hash is {leaves[position].hex()}, as the tiles have it"
        bundle = bundle_of(position, size).path
        place = Place(f"entry {position} in {bundle}", entry=position, file=bundle)
        findings.add(place, expected, "another", Kind.UNJUDGED)
    index = filing.index()
    if 0 in gaps and not _is_pinned(case, index):
        return 0, log
    return longer, replace(log, filed=index, roots=MappingProxyType(roots), gaps=frozenset(gaps))


def _is_pinned(case: Case, index: Index) -> bool:
    """Whether a log without its Genesis is one of the policy: a RoundOpen that the log's key signed says so."""
    opens = [found.open for found in index.rounds.values() if found.open is not None]
    return any(each.message.policy.hex() == case.policy_hash and each.index not in index.disowned for each in opens)


def _check_roots(case: Case, log: SignedLog, findings: Findings, placed: Sequence[tuple[Place, SignedNote]]) -> None:
    """Rule 5. Entries that no signed root covers may be wrong themselves."""
    sound = 0 if log.filed is None else len(log.filed.headings)
    for where, note in placed:
        head = note.checkpoint
        if head.size in log.roots and log.roots[head.size] != head.root:
            kind = _kind_of(case, note) if head.size <= sound else Kind.DAMAGED
            findings.expect(where.at("root"), head.root, log.roots[head.size], kind)


def _entries(case: Case, size: int) -> Iterator[bytes]:
    for bundle in bundles(size):
        case.step(bundle.start, size)
        yield from case.reader.entries(bundle.start, bundle.start + bundle.width)


def _earlier(case: Case) -> dict[int, list[Piece]]:
    """The partial tiles and bundles that earlier checkpoints need, by the size at which to look at them."""
    pieces: dict[int, list[Piece]] = {}
    for size, piece in case.reader.earlier():
        pieces.setdefault(size, []).append(piece)
    return pieces


def _check_earlier(case: Case, findings: Findings, stack: TileStack, pieces: list[Piece]) -> None:
    """Of the log as it is in `stack`: as far as it costs time, its bytes are in the directory."""
    hashes = dict(stack.partial()) if pieces else {}
    for piece in pieces:
        if isinstance(piece, Bundle):
            entries = case.reader.entries(piece.start, piece.start + piece.width)
            found = _earlier_bytes(case, findings, piece, sum(2 + len(entry) for entry in entries))
            expected = b"" if found is None else encode_bundle(entries)
        else:
            expected = hashes[piece]
            found = _earlier_bytes(case, findings, piece, len(expected))
        if found is not None and found != expected:
            findings.add(
                Place(file=piece.path), "the beginning of what has grown out of it", "other bytes", Kind.DAMAGED
            )


def _earlier_bytes(case: Case, findings: Findings, piece: Piece, size: int) -> bytes | None:
    try:
        return case.reader.earlier_piece(piece, size)
    except Rejected as error:
        findings.reject(Place(file=piece.path), error, Kind.DAMAGED)
        return None


def _check_tiles(case: Case, findings: Findings, tiles: list[tuple[Tile, bytes]]) -> None:
    for tile, expected in tiles:
        try:
            found = case.reader.tile(tile)
        except Rejected as error:
            findings.reject(Place(file=tile.path), error, Kind.DAMAGED)
            continue
        if found != expected:
            findings.add(*_disagreement(tile, expected, found), Kind.DAMAGED)


def _disagreement(tile: Tile, expected: bytes, found: bytes) -> tuple[Place, str, str]:
    """Place, expected and found. Of a tile of leaves the first entry whose hash differs: it may be the wrong one."""
    if tile.level:
        return Place(file=tile.path), "the hashes of the tiles under it", "other bytes"
    hashes = range(0, len(expected), _HASH_SIZE)
    place = next(start for start in hashes if expected[start:][:_HASH_SIZE] != found[start:][:_HASH_SIZE])
    first = tile.index * TILE_WIDTH + place // _HASH_SIZE
    either = f"{tile.path}, or entry {first} in {Bundle(tile.index, tile.width).path}"
    where = Place(either, entry=first, file=tile.path)
    return where, f"the entry's hash, {expected[place:][:_HASH_SIZE].hex()}", found[place:][:_HASH_SIZE].hex()


def _check_files(case: Case, filed: Index | None, findings: Findings, size: int) -> int:
    """Rule 6. Blobs that nothing names are I12's and P7's; every other unknown path is reported here."""
    _note_strays(case, findings)
    expected = case.reader.known_files(size, () if filed is None else filed.blobs)
    count = 0
    for path in case.reader.files():
        count += 1
        if path not in expected and not is_blob_path(path):
            findings.add(Place(file=path), "only files of the transcript's layout", _unknown(path), Kind.DAMAGED)
        elif path == POLICY and not case.reader.is_regular(path):
            findings.add(Place(file=path), "a regular file", "a symlink or another kind", Kind.DAMAGED)
    return count


def _note_strays(case: Case, findings: Findings) -> None:
    """What no rule could mean, and the command that removes it: of files, all that have one of the names."""
    here = shlex.quote(str(case.path))
    strays = list(case.reader.strays())
    if strays:
        names = sorted({stray_pattern(path.rpartition("/")[2]) for path in strays})
        which = " -o ".join(f"-name {shlex.quote(name)}" for name in names)
        found = counted(len(strays), "file")
        findings.warn(f"{found} of a desktop or an editor: find {here} -type f \\( {which} \\) -delete")
    empty = [path for path in case.reader.empty_directories() if _LAID_OUT.fullmatch(path) is None]
    if empty:
        found = f"{len(empty)} empty director{'y' if len(empty) == 1 else 'ies'}"
        findings.warn(f"{found}, {empty[0]} first: find {here} -type d -empty -delete")


def stray_pattern(name: str) -> str:
    """The pattern of a shell for stray files like this one."""
    patterns = ("._*", "*~", ".*.sw[a-p]", "#*#")
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), name)


def _unknown(path: str) -> str:
    """What a file is that is not expected: a writer's that was killed, or a stranger's."""
    return f"one that no checkpoint covers; {LEFTOVER}" if WRITTEN.fullmatch(path) else "an unknown file"


def is_blob_path(path: str) -> bool:
    """Whether a file lies where a blob of some hash would lie."""
    name = path.rpartition("/")[2]
    return len(name) == 64 and set(name) <= set("0123456789abcdef") and path == blob_path(bytes.fromhex(name))


def _check_blobs(given: Needs, index: Index, findings: Findings) -> tuple[int, frozenset[bytes]]:
    """Rule 7. How many were read, and the ciphertexts that are not there."""
    case, prunable = given.case, prunable_blobs(index)
    read, pruned = 0, set[bytes]()
    for position, (name, (roles, first)) in enumerate(index.blobs.items()):
        case.step(position, len(index.blobs))
        evidence = roles == CIPHERTEXT and name not in prunable
        if name in prunable and not case.reader.has_blob(name) and not _something_there(case, name):
            pruned.add(name)
            continue
        called = f"{blob_path(name)} ({roles}{', evidence' if evidence else ''}, named by entry {first})"
        where = Place(called, entry=first, file=blob_path(name))
        sizes = {size_of(case.pinned, role): role for role in roles.split("+")}
        for _, role in sorted(sizes.items()):
            try:
                given.blobs.read(role, name)
            except (Malformed, Rejected) as error:
                findings.reject(where, error, Kind.DAMAGED if isinstance(error, Damaged) else None)
        read += 1
    if pruned:
        findings.note(f"{counted(len(pruned), 'ciphertext')} pruned")
    return read, frozenset(pruned)


def _something_there(case: Case, name: bytes) -> bool:
    """Whether the blob's path is taken by what is no regular file, a symlink for one."""
    return case.reader.occupies(name)
