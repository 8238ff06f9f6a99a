"""A transcript directory as one file, and back, byte for byte. Nothing is judged here."""

from __future__ import annotations

import os
import secrets
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from auditor.commands import SETTINGS, AuditorCommand, reporting
from proofs.errors import Malformed, Misuse
from protocols.hashes import sha256_of_file
from protocols.log.files import CHUNK, LocalDirectory
from protocols.log.packed import INDEX_LIMIT, PackedDirectory, PackedFile, require_name, tail

FILE = click.Path(path_type=Path)


@dataclass(frozen=True)
class Packed:
    """What was packed. hash: SHA-256 of the archive, in hexadecimal."""

    files: int
    size: int
    hash: str


def pack(directory: Path, archive: Path) -> Packed:
    """Write all that is in a directory into an archive, which must not exist: a function of the directory.

    Raises Misuse for what an archive cannot have (symbolic links, special files, names that are not printable ASCII),
    for a directory that changes meanwhile, and for an archive that exists; OSError. Nothing is left then.
    """
    if archive.exists() or archive.is_symlink():
        raise Misuse(f"{archive}: exists, and is not overwritten; choose another name")
    if archive.parent.resolve().is_relative_to(directory.resolve()):
        raise Misuse(f"{archive}: lies inside the transcript; choose a place outside it")
    names = _names(directory)
    temporary = archive.with_name(f".{archive.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            files = list(_written(directory, names, stream))
            index = b"".join(file.entry for file in files)
            if len(index) > INDEX_LIMIT:
                raise Misuse(f"{directory}: {len(files)} files are more than an archive may have")
            start = stream.tell()
            stream.write(index)
            stream.write(tail(len(files), start, len(index)))
            stream.flush()
            os.fsync(stream.fileno())
        hashed, size = sha256_of_file(temporary).hex(), temporary.stat().st_size
        os.link(temporary, archive)  # fails where there is one by now
    except FileExistsError:
        raise Misuse(f"{archive}: exists, and is not overwritten; choose another name") from None
    finally:
        temporary.unlink(missing_ok=True)
    return Packed(len(files), size, hashed)


def unpack(archive: Path, directory: Path) -> int:
    """Write what is in an archive into a directory, which must not exist; how many files there were.

    Raises Misuse for what is no such archive, and for a directory that exists; Damaged for an archive whose files are
    not as it says; OSError. Nothing is left then.
    """
    if directory.exists() or directory.is_symlink():
        raise Misuse(f"{directory}: exists; choose another name")
    packed = PackedDirectory(archive)
    temporary = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}.tmp")
    temporary.mkdir()
    try:
        for folder in packed.empty():
            (temporary / folder).mkdir(parents=True)
        for path in packed.walk():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            with (temporary / path).open("xb") as stream:
                stream.writelines(packed.pieces(path))
        temporary.rename(directory)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return sum(1 for _ in packed.walk())


def _names(directory: Path) -> list[str]:
    """Files, and directories that are empty, in the order of an archive."""
    found = LocalDirectory(directory)
    names = [*found.walk(), *(f"{folder}/" for folder in found.empty())]
    for name in names:
        try:
            require_name(name)
        except Malformed as error:
            raise Misuse(f"{directory / name}: {error}; an archive cannot have it") from None
        if not name.endswith("/") and not found.has(name):
            raise Misuse(f"{directory / name}: is no regular file; an archive cannot have it")
    return sorted(names)


def _written(directory: Path, names: list[str], stream: BinaryIO) -> Iterator[PackedFile]:
    """Each file, once it is written: first with a checksum of zero, as that is behind its bytes."""
    for name in names:
        start = stream.tell()
        path = directory / name
        size = 0 if name.endswith("/") else path.stat().st_size
        stream.write(PackedFile(name.encode(), size, 0, start).header)
        crc = 0 if name.endswith("/") else _copied(path, size, stream)
        file = PackedFile(name.encode(), size, crc, start)
        stream.seek(start)
        stream.write(file.header)
        stream.seek(file.stop)
        yield file


def _copied(path: Path, size: int, stream: BinaryIO) -> int:
    """Copy a file, and give its CRC-32."""
    crc = copied = 0
    with path.open("rb") as source:
        while piece := source.read(CHUNK):
            crc, copied = zlib.crc32(piece, crc), copied + len(piece)
            stream.write(piece)
    if copied != size:
        raise Misuse(f"{path}: changes while it is packed; pack a transcript that is at rest")
    return crc


@click.command("pack", AuditorCommand, context_settings=SETTINGS, short_help="A transcript as one file.")
@click.argument("directory", type=FILE)
@click.argument("file", type=FILE)
def pack_command(directory: Path, file: Path) -> None:
    """Write the transcript in DIRECTORY into FILE, a ZIP archive without compression.

    Every command takes the file in the place of the directory. The same directory gives the same bytes; their SHA-256
    is printed. Exit status: 0 written, 2 usage or IO.
    """
    from auditor.arguments import require_transcript

    with reporting():
        if directory.is_file():
            raise Misuse(f"{directory}: is a file; give the directory of a transcript")
        require_transcript(directory)
        packed = pack(directory, file)
    click.echo(f"wrote {file}: {packed.files} files, {packed.size} bytes; its SHA-256 is", err=True)
    click.echo(packed.hash)


@click.command("unpack", AuditorCommand, context_settings=SETTINGS, short_help="Such a file as a directory again.")
@click.argument("file", type=FILE)
@click.argument("directory", type=FILE)
def unpack_command(file: Path, directory: Path) -> None:
    """Write what is in FILE, which `verifl-audit pack` made, into DIRECTORY, which must not exist.

    Exit status: 0 written, 1 the file is damaged, 2 usage or IO.
    """
    with reporting():
        count = unpack(file, directory)
    click.echo(f"wrote {directory}: {count} files", err=True)
