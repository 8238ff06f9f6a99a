"""The transcript directory: tiles, bundles, notes, blobs (spec 3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.independent.encoding import ENTRY_LIMIT, POLICY_LIMIT, Body
from tests.independent.identities import verifies
from tests.independent.tree import leaf_hash, tree_root

NOTE_LIMIT = 65_536
WIDTH = 256
NAME = re.compile(r"[!-*,-~]{1,256}")
DECIMAL = re.compile(r"0|[1-9][0-9]*")
BLOB_PATH = re.compile(r"blobs/([0-9a-f]{2})/(\1[0-9a-f]{62})")


STRAY = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|.*~|\..*\.sw[a-p]|#.*#", re.DOTALL)  # 9.6, I1.6


def is_stray(name: str) -> bool:
    """Whether a file of this name was left by a desktop or an editor; a name that is not UTF-8 is nothing known."""
    return STRAY.fullmatch(name) is not None and not any("\ud800" <= letter <= "\udfff" for letter in name)


class Unsound(Exception):
    """Something in the directory is not as spec 3 says."""


def read(root: Path, path: str, limit: int) -> bytes:
    """A regular file of at most `limit` bytes, below the root without symbolic links."""
    place = root
    for part in path.split("/"):
        place /= part
        if place.is_symlink():
            raise Unsound(f"{path}: file-kind")
    if not place.exists():
        raise Unsound(f"{path}: file-missing")
    if not place.is_file():
        raise Unsound(f"{path}: file-kind")
    if place.stat().st_size > limit:
        raise Unsound(f"{path}: file-size")
    return place.read_bytes()


# --- notes (spec 3.3) -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Note:
    """A parsed checkpoint: its text, size and root, and the signature lines."""

    text: bytes
    origin: str
    size: int
    root: bytes
    lines: list[tuple[str, bytes]]


def plain_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Unsound("a note's base64") from None
    if base64.b64encode(data).decode() != text:
        raise Unsound("a note's base64 has another spelling")
    return data


def parse_note(data: bytes) -> Note:
    """The one spelling of a checkpoint; signatures are not verified here."""
    if len(data) > NOTE_LIMIT:
        raise Unsound("a note of this length")
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError:
        raise Unsound("a note that is not UTF-8") from None
    if len(lines) < 6 or lines[3] or lines[-1]:
        raise Unsound("a note of another shape")
    origin, size, root = lines[:3]
    if not NAME.fullmatch(origin) or not DECIMAL.fullmatch(size) or len(size) > 19 or int(size) >= 1 << 63:
        raise Unsound("a note's origin or size")
    if len(plain_base64(root)) != 32:
        raise Unsound("a note's root")
    signatures = [signature_line(line) for line in lines[4:-1]]
    names = [name for name, _ in signatures]
    if names[0] != origin or len(names) > 65 or any(a >= b for a, b in pairwise(names[1:])):
        raise Unsound("a note's signers")
    lengths = [len(line) for _, line in signatures]
    if lengths[0] != 4 + 64 or any(length != 4 + 8 + 64 for length in lengths[1:]):
        raise Unsound("a note's signatures")
    if any(line[4] >> 7 for _, line in signatures[1:]):
        raise Unsound("a time of a cosignature")
    text = "\n".join(lines[:3]).encode() + b"\n"
    return Note(text, origin, int(size), plain_base64(root), signatures)


def signature_line(line: str) -> tuple[str, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "\u2014" or not NAME.fullmatch(parts[1]):
        raise Unsound("a note's signature line")
    return parts[1], plain_base64(parts[2])


def key_id(name: str, algorithm: int, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + public_key).digest()[:4]


def note_faults(note: Note, policy: Body, trustees: Mapping[str, bytes]) -> Iterator[str]:
    """What is wrong with a note: origin, signatures, cosignatures of at least t of these trustees."""
    if note.origin != policy["origin"]:
        yield "checkpoint-origin"
    if not by_log_key(note, policy):
        yield "checkpoint-signature"
    cosigners = 0
    for name, line in note.lines[1:]:
        if name not in trustees or line[:4] != key_id(name, 4, trustees[name]):
            yield f"checkpoint-unknown-signature: {name}"
        elif cosigns(line[4:], trustees[name], note.text):
            cosigners += 1
        else:
            yield f"checkpoint-cosignature: {name}"
    if cosigners < policy["threshold"]:
        yield "checkpoint-quorum"


def by_log_key(note: Note, policy: Body) -> bool:
    name, signature = note.lines[0]
    key: bytes = policy["log_key"]
    return signature[:4] == key_id(name, 1, key) and verifies(key, signature[4:], note.text)


def log_signed(note: Note, policy: Body) -> bool:
    """Whether the log's key signed the note for the policy's origin (9.3)."""
    return note.origin == policy["origin"] and by_log_key(note, policy)


def cosigns(timed: bytes, public_key: bytes, text: bytes) -> bool:
    """A cosignature v1: 8 bytes of POSIX seconds, then the signature over them and the note."""
    seconds = int.from_bytes(timed[:8], "big")
    signed = b"cosignature/v1\ntime %d\n" % seconds + text
    return verifies(public_key, timed[8:], signed)


# --- tiles and bundles (spec 3.2) -------------------------------------------------------------------


def grouped(index: int) -> str:
    """1234067 is x001/x234/067."""
    groups = []
    while True:
        groups.append(f"{index % 1000:03d}")
        index //= 1000
        if not index:
            break
    return "/".join(["x" + group for group in reversed(groups[1:])] + groups[:1])


def pieces(level: str, count: int) -> Iterator[tuple[str, int, int]]:
    """Path, first item and number of items of every tile, or bundle, of `count` items."""
    for first in range(0, count, WIDTH):
        width = min(WIDTH, count - first)
        suffix = "" if width == WIDTH else f".p/{width}"
        yield f"tile/{level}/{grouped(first // WIDTH)}{suffix}", first, width


def levels(size: int) -> Iterator[tuple[int, int]]:
    """Levels that have hashes, with how many."""
    level = 0
    while size:
        yield level, size
        level, size = level + 1, size // WIDTH


def read_entries(root: Path, size: int) -> Iterator[bytes]:
    """All entries from their bundles, to the last byte; `Unsound` at the first bundle that cannot be had."""
    for path, _, width in pieces("entries", size):
        entries: list[bytes] = []
        bundle = read(root, path, width * (ENTRY_LIMIT + 2))
        position = 0
        for _ in range(width):
            length = int.from_bytes(bundle[position : position + 2], "big")
            entry = bundle[position + 2 : position + 2 + length]
            if not entry or len(entry) != length:
                raise Unsound(f"{path}: does not divide into its entries")
            entries.append(entry)
            position += 2 + length
        if position != len(bundle):
            raise Unsound(f"{path}: bytes after its entries")
        yield from entries


def tile_leaves(root: Path, size: int) -> list[bytes]:
    """Leaf hashes by the tiles of level 0, or by the entries where one cannot be had; up to where neither can (9.3)."""
    leaves: list[bytes] = []
    for path, first, width in pieces("0", size):
        try:
            tile = read(root, path, 32 * width)
        except Unsound:
            tile = b""
        entries = some_entries(root, size, first, width)
        if len(tile) == 32 * width:
            leaves += [tile[i : i + 32] for i in range(0, len(tile), 32)]
        elif len(entries) == width:
            leaves += [leaf_hash(entry) for entry in entries]
        else:
            break
    return leaves


def some_entries(root: Path, size: int, first: int, width: int) -> list[bytes]:
    """The entries of one bundle, as far as it divides into them."""
    path = next(path for path, start, _ in pieces("entries", size) if start == first)
    try:
        bundle = read(root, path, WIDTH * (ENTRY_LIMIT + 2))
    except Unsound:
        return []
    entries, position = [], 0
    while len(entries) < width and len(bundle) >= position + 2:
        length = int.from_bytes(bundle[position : position + 2], "big")
        if len(bundle) < position + 2 + length:
            break
        entries.append(bundle[position + 2 : position + 2 + length])
        position += 2 + length
    return entries


def under(root: Path, size: int, leaves: list[bytes] | None) -> list[bytes | None]:
    """The entries that have these leaf hashes, or any; None for each that is not here."""
    found: list[bytes | None] = []
    for _, first, width in pieces("0", size):
        entries: list[bytes | None] = [*some_entries(root, size, first, width)]
        found += entries + [None] * (width - len(entries))
    if leaves is None:
        return found
    pairs = zip(found, leaves, strict=False)
    return [entry if entry is not None and leaf_hash(entry) == leaf else None for entry, leaf in pairs]


def tile_faults(root: Path, leaves: list[bytes], sizes: list[int]) -> Iterator[str]:
    """Tiles that are not what the entries under them hash to, those of earlier checkpoints with them."""
    hashes = leaves
    for level, count in levels(len(leaves)):
        for path, first, width in [*pieces(str(level), count), *unfilled(str(level), level, len(leaves), sizes)]:
            try:
                tile = read(root, path, 32 * WIDTH)
            except Unsound as fault:
                yield str(fault)
                continue
            if tile != b"".join(hashes[first : first + width]):
                yield f"{path}: tile-mismatch"
        hashes = [tree_root(hashes[i : i + WIDTH]) for i in range(0, count - WIDTH + 1, WIDTH)]


def unfilled(name: str, level: int, latest: int, sizes: list[int]) -> list[tuple[str, int, int]]:
    """Partial tiles, or bundles, of one level that earlier checkpoints have and the latest has neither so nor full."""
    count = latest // WIDTH**level
    found = {}
    for size in sizes:
        earlier = size // WIDTH**level
        first = earlier - earlier % WIDTH
        if earlier % WIDTH and earlier < count < first + WIDTH:
            found[f"tile/{name}/{grouped(first // WIDTH)}.p/{earlier % WIDTH}"] = first, earlier % WIDTH
    return [(path, first, width) for path, (first, width) in found.items()]


def bundle_faults(root: Path, entries: list[bytes], sizes: list[int]) -> Iterator[str]:
    """Bundles of earlier checkpoints that do not hold their entries."""
    for path, first, width in unfilled("entries", 0, len(entries), sizes):
        expected = b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries[first : first + width])
        try:
            if read(root, path, len(expected)) != expected:
                yield f"{path}: other entries"
        except Unsound as fault:
            yield str(fault)


def expected_files(size: int, sizes: list[int]) -> set[str]:
    """Files that a log of this size and these checkpoints has, but for the checkpoints and blobs."""
    paths = {"checkpoint", "policy.cbor"} | {path for path, _, _ in pieces("entries", size)}
    paths |= {path for path, _, _ in unfilled("entries", 0, size, sizes)}
    for level, count in levels(size):
        paths |= {path for path, _, _ in pieces(str(level), count)}
        paths |= {path for path, _, _ in unfilled(str(level), level, size, sizes)}
    return paths


# --- the directory as a whole (spec 3.5) ------------------------------------------------------------


class Transcript:
    """A transcript directory; reads and compares, and decides nothing by itself."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.latest = "checkpoint"
        self.files: set[str] = set()
        self.odd: list[str] = []  # symbolic links and special files
        for place in sorted(root.rglob("*")):
            path = place.relative_to(root).as_posix()
            if place.is_symlink() or not (place.is_file() or place.is_dir()):
                self.odd.append(path)
            elif place.is_file() and not is_stray(place.name):
                self.files.add(path)

    def policy(self) -> bytes:
        return read(self.root, "policy.cbor", POLICY_LIMIT)

    def note(self, path: str) -> bytes:
        return read(self.root, path, NOTE_LIMIT)

    def sizes(self) -> list[int]:
        """Published sizes, ascending, by the names of the files."""
        folder = self.root / "checkpoints"
        names = [place.name for place in folder.iterdir()] if folder.is_dir() else []
        return sorted(int(name) for name in names if DECIMAL.fullmatch(name) and len(name) < 20)

    def entries(self, size: int) -> Iterator[bytes]:
        return read_entries(self.root, size)

    def blob_hashes(self) -> set[bytes]:
        """Hashes at whose paths there are files."""
        matches = (BLOB_PATH.fullmatch(path) for path in self.files)
        return {bytes.fromhex(match[2]) for match in matches if match}

    def occupied(self, digest: bytes) -> bool:
        """Whether anything is at a blob's path; where nothing is, it may have been pruned."""
        place = self.root / "blobs" / digest.hex()[:2] / digest.hex()
        return place.is_symlink() or place.exists()

    def blob(self, digest: bytes, size: int) -> bytes:
        """A blob of exactly this size with this hash (spec 3.6)."""
        name = digest.hex()
        data = read(self.root, f"blobs/{name[:2]}/{name}", size)
        if len(data) != size:
            raise Unsound(f"{name}: blob-size")
        if hashlib.sha256(data).digest() != digest:
            raise Unsound(f"{name}: blob-hash")
        return data


def roots(leaves: list[bytes], sizes: list[int]) -> dict[int, bytes]:
    """The root over the first s entries for every size s that the log has."""
    return {size: tree_root(leaves[:size]) for size in sizes if size <= len(leaves)}


def leaf_hashes(entries: list[bytes]) -> list[bytes]:
    return [leaf_hash(entry) for entry in entries]
