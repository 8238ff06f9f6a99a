"""What an auditor is given, and whether it is of the right kind at all: else it is wrong usage, with what was meant."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.encoding import POLICY_LIMIT
from protocols.envelopes import open_policy
from protocols.log.connection import SCHEMES, Remote
from protocols.log.packed import MAGIC, PackedDirectory
from protocols.log.remote import RemoteDirectory
from protocols.log.tiles import CHECKPOINT, POLICY

MARKS = (CHECKPOINT, "checkpoints", "tile")  # a directory with none of these is no transcript
TREE = "tile/entries/000"  # the first entries of a log of more than 255
_UNPACK = {
    b"\x1f\x8b": "tar -xzf {}",
    b"BZh": "tar -xjf {}",
    b"\xfd7zXZ\0": "tar -xJf {}",
    b"\x28\xb5\x2f\xfd": "tar --zstd -xf {}",
    MAGIC: "unzip {}",
}
_HEAD = 512  # bytes that show what kind of file it is
_CONTROLS = frozenset(range(32)) - {*b"\t\n\f\r\x1b"}  # bytes that are in no text
_TAR = (257, b"ustar")  # offset and magic


def located(place: Path | str | Remote, ca_file: Path | None = None, plain_http: bool = False) -> Path | Remote:
    """Where a transcript is: a directory, or an address that begins with https:// (or http://). Raises Misuse."""
    if isinstance(place, str) and place.lower().startswith(SCHEMES):
        return Remote(place, ca_file, plain_http)
    return place if isinstance(place, Remote) else Path(place)


def web_words(places: Iterable[Path | str | Remote]) -> list[str]:
    """The options by which those of the places are read that are addresses, as they are typed."""
    for place in places:
        if isinstance(place, Remote):
            trusted = [] if place.ca_file is None else ["--ca-file", str(place.ca_file)]
            return [*trusted, *(["--plain-http"] if place.plain else [])]
    return []


def require_transcript(path: Path | Remote) -> None:
    """Raise Misuse where this is no directory, and no archive of one, or without anything of a log; OSError where it
    cannot be read."""
    if isinstance(path, Remote):
        if not is_transcript(path):
            raise Misuse(f"{path} holds no transcript: no {CHECKPOINT}, no {TREE}")
        return
    if path.is_file():
        if not _is_zip(path):
            raise Misuse(f"cannot read {path}: {_instead_of_a_directory(path)}")
        if not is_transcript(path):
            raise Misuse(f"{path} holds no transcript: no {', no '.join(MARKS)} in it")
        return
    next(path.iterdir(), None)  # raises what the system says, if there is no such directory
    if not is_transcript(path):
        raise Misuse(f"{path} holds no transcript: no {', no '.join(MARKS)}{_near(path)}")


def is_transcript(path: Path | Remote) -> bool:
    """Whether a directory, or an archive in its place, has anything of a log."""
    if isinstance(path, Remote):
        directory = RemoteDirectory(path)
        return any(directory.has(file) for file in (CHECKPOINT, TREE))
    if path.is_file():
        packed = PackedDirectory(path)
        return any(packed.occupied(mark) for mark in MARKS)
    return any((path / mark).exists() for mark in MARKS)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def read_policy(file: Path) -> bytes:
    """A file's bytes, at most one more than a policy may have. Raises Misuse for a directory, OSError."""
    if file.is_dir():
        places = [each / POLICY for each in (file, file.parent) if not is_transcript(each)]  # its own pins nothing
        near = next((each for each in places if each.is_file()), None)
        hint = "" if near is None else f"; did you mean {near}?"
        raise Misuse(f"policy: {file} is a directory, a policy is a file{hint}")
    with file.open("rb") as stream:
        return stream.read(POLICY_LIMIT + 1)


def no_policy(given: Path | bytes, error: Malformed | Rejected) -> Misuse:
    """That what was given as policy is none, in one line."""
    if isinstance(given, bytes):
        return Misuse(f"policy: the bytes are no policy: {error}")
    near = next(filter(_is_policy, _policies_near(given)), None)
    hint = "" if near is None else f"; did you mean {near}?"
    return Misuse(f"policy: {given} is no policy: {_instead_of_a_policy(given, error)}{hint}")


def _policies_near(given: Path) -> Iterator[Path]:
    """Where the policy that was meant may be: beside the file, or in a directory beside it. A transcript's own pins
    nothing."""
    folder = given.parent
    folders = [folder, *sorted(each for each in folder.iterdir() if each.is_dir())]
    yield from (place / POLICY for place in folders if place / POLICY != given and not is_transcript(place))


def _instead_of_a_policy(given: Path, error: Malformed | Rejected) -> str:
    if (archive := _unpacking(given)) is not None:
        return f"an archive: {archive}"
    if isinstance(error, Rejected):
        return str(error)
    with given.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        return "it is empty"
    if not _CONTROLS.intersection(head):
        return "it is text, a policy is the binary file that its issuer signed"
    return f"it is damaged, or another kind of file: {error}"


def _near(path: Path) -> str:
    """The transcript that may have been meant: in this directory, or around it."""
    try:
        inside = [path / "transcript", *sorted(each for each in path.iterdir() if each.is_dir())]
        found = next((each for each in (*inside, *path.resolve().parents[:3]) if is_transcript(each)), None)
    except OSError:
        return ""
    return "" if found is None else f"; did you mean {found}?"


def _instead_of_a_directory(path: Path) -> str:
    if (command := _unpacking(path)) is not None:
        return f"an archive; a transcript is a directory: unpack it first, in an empty one: {command}"
    if _is_policy(path):
        return "a policy; the transcript is a directory, and the policy belongs behind --policy"
    return f"a transcript is a directory{_near(path.parent) if not is_transcript(path.parent) else ''}"


def _unpacking(path: Path) -> str | None:
    """How to unpack an archive; None for what is none, or cannot be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
    except OSError:
        return None
    quoted = shlex.quote(str(path))
    offset, magic = _TAR
    if head[offset : offset + len(magic)] == magic:
        return f"tar -xf {quoted}"
    return next((command.format(quoted) for start, command in _UNPACK.items() if head.startswith(start)), None)


def _is_policy(path: Path) -> bool:
    try:
        open_policy(read_policy(path))
    except (Malformed, Rejected, Misuse, OSError):
        return False
    return True
