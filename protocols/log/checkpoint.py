"""Checkpoints: signed and cosigned tree heads (spec 3.3).

C2SP signed-note, tlog-checkpoint and tlog-cosignature (Ed25519, v1), with everything they leave open closed: one
signature by the log under its origin's name, first; then cosignatures, ascending by name; no extension lines; no
signature by an unknown key.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proofs.errors import Malformed, Misuse, Rejected
from protocols.hashes import sha256
from protocols.identities import SigningKey, verify
from protocols.log.merkle import HASH_BYTES, SIZE_LIMIT
from protocols.policy import Member

NOTE_LIMIT = 65536  # bytes
SIGNATURE_LIMIT = 65  # the log's, and one for each of at most 64 trustees

_ED25519 = b"\x01"
_COSIGNATURE_V1 = b"\x04"
_KEY_ID_BYTES = 4
_NAME = re.compile("[!-*,-~]{1,256}")  # printable ASCII but space and plus: a legal key name
_SIZE = re.compile("0|[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Checkpoint:
    """A tree head: the log's name, its number of entries, and its root hash (32 bytes)."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: `signature` is what follows the key id (64 bytes by the log, 72 by a trustee)."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True)
class SignedNote:
    """A parsed note whose signatures have not been checked: the log's first, then the others ascending by name."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]


def format_note(checkpoint: Checkpoint) -> bytes:
    """The note text: origin, size, base64 root, each with a newline. Raises Misuse on values it cannot carry."""
    if _NAME.fullmatch(checkpoint.origin) is None:
        raise Misuse(f"origin: expected printable ASCII without space and plus, found {checkpoint.origin!a}")
    if not 0 <= checkpoint.size < SIZE_LIMIT or len(checkpoint.root) != HASH_BYTES:
        raise Misuse(f"checkpoint: impossible size {checkpoint.size} or root of {len(checkpoint.root)} bytes")
    return f"{checkpoint.origin}\n{checkpoint.size}\n{_base64(checkpoint.root)}\n".encode()


def sign_checkpoint(checkpoint: Checkpoint, name: str, key: SigningKey) -> bytes:
    """The log's signed note, without cosignatures. `name` must be the origin (Misuse otherwise)."""
    if name != checkpoint.origin:
        raise Misuse(f"name: expected the origin {checkpoint.origin}, found {name}")
    text = format_note(checkpoint)
    return text + b"\n" + _line(name, key_id(name, key.public_key, _ED25519) + key.sign(text))


def cosign(checkpoint: Checkpoint, name: str, key: SigningKey, timestamp: int) -> bytes:
    """A trustee's signature line, with its newline: tlog-cosignature v1 at `timestamp` (POSIX seconds, < 2^63)."""
    if _NAME.fullmatch(name) is None or not 0 <= timestamp < 1 << 63:
        raise Misuse(f"cosign: impossible name {name!a} or timestamp {timestamp}")
    signature = key.sign(_cosigned(format_note(checkpoint), timestamp))
    stamped = timestamp.to_bytes(8, "big") + signature
    return _line(name, key_id(name, key.public_key, _COSIGNATURE_V1) + stamped)


def cosigner_of(line: bytes) -> str:
    """The trustee that a signature line, with its newline, names; nothing else of it is checked. Raises Malformed."""
    return _parse_line(line.removesuffix(b"\n"), 1).name


def add_cosignatures(note: bytes, lines: Iterable[bytes]) -> bytes:
    """The note with further signature lines, in canonical order. Raises Malformed where the result is no note."""
    old = parse_note(note)
    added = [_parse_line(line.removesuffix(b"\n"), position) for position, line in enumerate(lines)]
    ours, *others = (*old.signatures, *added)
    return render_note(SignedNote(old.checkpoint, (ours, *sorted(others, key=lambda other: other.name))))


def render_note(note: SignedNote) -> bytes:
    """The bytes of a note, the inverse of `parse_note`. Raises Malformed where `parse_note` would."""
    lines = [_line(each.name, each.key_id + each.signature) for each in note.signatures]
    data = format_note(note.checkpoint) + b"\n" + b"".join(lines)
    parse_note(data)
    return data


def parse_note(data: bytes) -> SignedNote:
    """Parse a checkpoint, strictly: bytes that are accepted are what `render_note` writes (spec 3.3).

    Raises Malformed; total on hostile bytes.
    """
    if len(data) > NOTE_LIMIT:
        raise Malformed("checkpoint", f"at most {NOTE_LIMIT} bytes", f"{len(data)} bytes")
    if b"\r\n" in data:
        raise Malformed("checkpoint", "lines that end with LF", "CRLF: it was copied as text, copy it as bytes")
    lines = data.split(b"\n")
    if len(lines) < 6 or lines[3] or lines[-1]:
        raise Malformed("checkpoint", "three lines, an empty line, signature lines", f"{len(lines) - 1} lines")
    if len(lines) - 5 > SIGNATURE_LIMIT:
        raise Malformed("checkpoint", f"at most {SIGNATURE_LIMIT} signatures", str(len(lines) - 5))
    checkpoint = _parse_text(lines[0], lines[1], lines[2])
    signatures = tuple(_parse_line(line, position) for position, line in enumerate(lines[4:-1]))
    _check_order(checkpoint, signatures)
    return SignedNote(checkpoint, signatures)


def check_note(
    note: SignedNote, log_key: bytes, trustees: Sequence[Member], quorum: int, *, origin: str | None = None
) -> list[str]:
    """Verify every signature of a note; return the ids of the trustees who cosigned, in the order of `trustees`.

    1. Where `origin` is given, the checkpoint has it, else Rejected("checkpoint-origin").
    2. The first signature is the log's, by `log_key`: Rejected("checkpoint-signature").
    3. Every other is by a trustee's key: Rejected("checkpoint-unknown-signature").
    4. Every cosignature verifies: Rejected("checkpoint-cosignature").
    5. There are at least `quorum` of them: Rejected("checkpoint-quorum").
    """
    if origin is not None and note.checkpoint.origin != origin:
        raise Rejected("checkpoint-origin", origin, note.checkpoint.origin)
    text = format_note(note.checkpoint)
    _check_log_signature(note, text, log_key)
    keys = {member.id: member.public_key for member in trustees}
    for signature in note.signatures[1:]:
        _check_cosignature(signature, text, keys)
    found = {signature.name for signature in note.signatures[1:]}
    if len(found) < quorum:
        names = ", ".join(sorted(found)) or "none"
        raise Rejected("checkpoint-quorum", f"cosignatures by {quorum} trustees", f"{len(found)} ({names})")
    return [member.id for member in trustees if member.id in found]


def check_own(note: SignedNote, log_key: bytes, origin: str) -> Checkpoint:
    """The checkpoint of a note, if the log itself signed it: all that can be known before its entries are read, as they
    say which trustees are in force. Raises Rejected("checkpoint-origin"), ("checkpoint-signature")."""
    check_note(SignedNote(note.checkpoint, note.signatures[:1]), log_key, (), 0, origin=origin)
    return note.checkpoint


def timestamp_of(signature: NoteSignature) -> int:
    """When a cosignature says that it was made, in POSIX seconds; meaningful for the lines after the first."""
    return int.from_bytes(signature.signature[:8], "big")


def key_id(name: str, public_key: bytes, algorithm: bytes) -> bytes:
    """SHA-256(name || 0x0A || algorithm || public key)[:4] (C2SP signed-note)."""
    return sha256(name.encode() + b"\n" + algorithm + public_key)[:_KEY_ID_BYTES]


def _check_log_signature(note: SignedNote, text: bytes, log_key: bytes) -> None:
    ours = note.signatures[0]
    if ours.key_id != key_id(ours.name, log_key, _ED25519):
        raise Rejected("checkpoint-signature", f"a signature by the log key {log_key.hex()}", "another key id")
    _verify("checkpoint-signature", ours.name, log_key, ours.signature, text)


def _check_cosignature(signature: NoteSignature, text: bytes, keys: dict[str, bytes]) -> None:
    public_key = keys.get(signature.name)
    if public_key is None or signature.key_id != key_id(signature.name, public_key, _COSIGNATURE_V1):
        raise Rejected("checkpoint-unknown-signature", "signatures by trustees only", f"one by {signature.name}")
    timestamp = timestamp_of(signature)
    _verify("checkpoint-cosignature", signature.name, public_key, signature.signature[8:], _cosigned(text, timestamp))


def _verify(check: str, name: str, public_key: bytes, signature: bytes, text: bytes) -> None:
    try:
        verify(public_key, signature, text)
    except Rejected:
        raise Rejected(check, f"a valid signature by {name}", signature.hex()) from None


def _cosigned(text: bytes, timestamp: int) -> bytes:
    return f"cosignature/v1\ntime {timestamp}\n".encode() + text


def _parse_text(origin: bytes, size: bytes, root: bytes) -> Checkpoint:
    name = _parse_name(origin, "checkpoint.origin")
    if _SIZE.fullmatch(_ascii(size)) is None or int(size) >= SIZE_LIMIT:
        raise Malformed("checkpoint.size", "a decimal number below 2^63", ascii(size[:40]))
    return Checkpoint(name, int(size), _parse_base64(root, HASH_BYTES, "checkpoint.root"))


def _parse_line(line: bytes, position: int) -> NoteSignature:
    """One signature line without its newline; the first is 64 bytes by the log, others 72 by trustees."""
    where = f"checkpoint.signatures[{position}]"
    dash, *words = line.split(b" ")
    if dash != "\u2014".encode() or len(words) != 2:
        raise Malformed(where, "em dash, name, base64", ascii(line[:40]))
    name = _parse_name(words[0], where)
    encoded = _parse_base64(words[1], None, where)
    return NoteSignature(name, encoded[:_KEY_ID_BYTES], encoded[_KEY_ID_BYTES:])


def _check_order(checkpoint: Checkpoint, signatures: Sequence[NoteSignature]) -> None:
    """The log's line first; cosignatures strictly ascending by name, hence one a name; lengths by kind."""
    for position, signature in enumerate(signatures):
        length = 72 if position else 64
        where = f"checkpoint.signatures[{position}]"
        if len(signature.signature) != length:
            raise Malformed(where, f"key id and {length} bytes", f"{len(signature.signature)} bytes after the key id")
        if position and timestamp_of(signature) >= 1 << 63:
            raise Malformed(where, "a timestamp below 2^63", str(timestamp_of(signature)))
        if position > 1 and signature.name <= signatures[position - 1].name:
            raise Malformed(where, f"a name after {signatures[position - 1].name}", signature.name)
    if signatures[0].name != checkpoint.origin:
        raise Malformed("checkpoint.signatures[0]", f"the log's line, {checkpoint.origin}", signatures[0].name)


def _parse_name(name: bytes, where: str) -> str:
    text = _ascii(name)
    if _NAME.fullmatch(text) is None:
        raise Malformed(where, "a name of printable ASCII without space and plus", ascii(name[:40]))
    return text


def _parse_base64(text: bytes, length: int | None, where: str) -> bytes:
    try:
        decoded = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Malformed(where, "base64", ascii(text[:100])) from None
    if base64.b64encode(decoded) != text:
        raise Malformed(where, "canonical base64", ascii(text[:100]))
    if length is not None and len(decoded) != length:
        raise Malformed(where, f"base64 of {length} bytes", f"{len(decoded)} bytes")
    return decoded


def _ascii(text: bytes) -> str:
    return text.decode("ascii", "replace")  # the replacement character is in no accepted pattern


def _line(name: str, signature: bytes) -> bytes:
    return f"\u2014 {name} {_base64(signature)}\n".encode()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
