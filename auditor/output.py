"""Files that an auditor writes beside its report: whole or not at all, and refused before an audit, not after it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from proofs.errors import Misuse


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file, durably, in the place of what is there; what was there stays until all is written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def require_writable(path: Path, transcript: object) -> None:
    """Raise Misuse where `replace_file` would fail, or would write into what is audited."""
    folder = path.parent
    if not folder.is_dir():
        raise Misuse(f"{path}: there is no directory {folder}; make it, or write elsewhere")
    if path.exists() and not path.is_file():
        raise Misuse(f"{path}: is no file that could be replaced; write elsewhere")
    if isinstance(transcript, Path) and path.resolve().is_relative_to(transcript.resolve()):
        raise Misuse(f"{path}: lies inside the transcript, which an auditor leaves as it is; write elsewhere")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise Misuse(f"{path}: nothing can be written in {folder}; write elsewhere")
