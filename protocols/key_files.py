"""A party's Ed25519 key on disk: PKCS#8 in PEM, mode 0600, under a passphrase where one is given.

`openssl pkey -in FILE -pubout` reads the same file. A key file is written once and never replaced: a new key is a new
file, and what takes an old key out of force is an entry in the log.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from proofs.errors import Misuse
from protocols.identities import SigningKey

SUFFIX = ".pem"
_FILE_LIMIT = 16 * 1024
_ENCRYPTED = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"

Passphrase = Callable[[Path], bytes]
"""Asked for the passphrase of a file only when the file has one."""


def write_key(path: Path, key: SigningKey, passphrase: bytes | None = None) -> None:
    """Write a new file, mode 0600, durable on return; raises Misuse if anything is at `path` already."""
    protection: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        if not passphrase:
            raise Misuse("passphrase: expected at least one character, found none")
        protection = serialization.BestAvailableEncryption(passphrase)
    private = Ed25519PrivateKey.from_private_bytes(key.seed)
    data = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)
    write_new(path, data, 0o600, "a key is never overwritten")


def read_key(path: Path, passphrase: Passphrase | None = None) -> SigningKey:
    """The key in a file that `write_key` or openssl wrote.

    Raises Misuse, in one line that says nothing of what the file holds: readable by others, no Ed25519 key in PKCS#8
    PEM, no passphrase where one is needed, or the wrong one.
    """
    data = read_private_file(path)
    secret = None
    if _ENCRYPTED in data:
        if passphrase is None:
            raise Misuse(f"{path}: is protected by a passphrase; give it by --passphrase-file")
        secret = passphrase(path)
    try:
        private = serialization.load_pem_private_key(data, secret)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Misuse(f"{path}: {_expected(secret)}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Misuse(f"{path}: expected an Ed25519 key, found {type(private).__name__}")
    return SigningKey.from_seed(private.private_bytes_raw())


def read_keys(folder: Path, passphrase: Passphrase | None = None) -> dict[bytes, SigningKey]:
    """Every key in the *.pem files under a directory, by public key; their names do not matter."""
    if not folder.is_dir():
        raise Misuse(f"{folder}: expected a directory of key files (*{SUFFIX})")
    keys = [read_key(path, passphrase) for path in sorted(folder.rglob(f"*{SUFFIX}"))]
    if not keys:
        raise Misuse(f"{folder}: holds no key file (*{SUFFIX}); `verifl keys new FILE` makes one")
    return {key.public_key: key for key in keys}


def read_passphrase(path: Path) -> bytes:
    """The first line of a file, without its end; raises Misuse if it is empty, or the file can be read by others."""
    return read_secret(path, "passphrase")


def passphrase_of(file: Path | None) -> Passphrase | None:
    """The passphrase in a file, read when it is asked for; None for no file."""
    return None if file is None else lambda _key: read_passphrase(file)


def read_secret(path: Path, what: str) -> bytes:
    """The same, of another secret than a passphrase."""
    with path.open("rb") as file:
        _require_secret(path, os.fstat(file.fileno()))
        secret = file.readline(_FILE_LIMIT).rstrip(b"\r\n")
    if not secret:
        raise Misuse(f"{path}: expected a {what} in the first line, found none")
    return secret


def write_new(path: Path, data: bytes, mode: int, never: str) -> None:
    """Create `path` with these bytes, durably, or leave nothing; raises Misuse, saying `never`, if it exists."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    except FileExistsError:
        raise Misuse(f"{path}: exists, and {never}; choose another name") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def require_absent(path: Path, never: str) -> None:
    """Raise Misuse, saying `never`, if anything is at `path`: before work that `write_new` would refuse to write."""
    if path.exists() or path.is_symlink():
        raise Misuse(f"{path}: exists, and {never}; choose another name")


def parse_public_key(text: str) -> bytes:
    """The 32 bytes that `verifl keys show` prints as 64 hexadecimal digits; raises Misuse for anything else."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32 or key.hex() != text:
        raise Misuse(
            f"public key: expected 64 hexadecimal digits, lower case, as `verifl keys show` prints them, found {text!r}"
        )
    return key


def _require_secret(path: Path, status: os.stat_result) -> None:
    """A regular file is the user's or root's, and nobody else's to read; a pipe or terminal is who gave it."""
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_uid not in (0, os.geteuid()):
        raise Misuse(f"{path}: is a secret but belongs to user {status.st_uid}; run as its owner")
    mode = status.st_mode & 0o777
    if mode & (0o037 if _handed_over(path, status) else 0o077):
        raise Misuse(
            f"{path}: is a secret but has mode {mode:03o}, expected 600; run `chmod 600 {shlex.quote(str(path))}`"
        )


def _handed_over(path: Path, status: os.stat_result) -> bool:
    """Whether systemd hands it to this process alone (LoadCredential=): root's, and by a list of access rights also
    this user's, which shows as a right of root's group."""
    place = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(place) and Path(place or "") == path.parent and (status.st_uid, status.st_gid) == (0, 0)


def read_private_file(path: Path) -> bytes:
    """A key file; raises Misuse if it can be read by others, or is too long."""
    with path.open("rb") as file:
        _require_secret(path, os.fstat(file.fileno()))
        data = file.read(_FILE_LIMIT + 1)
    if len(data) > _FILE_LIMIT:
        raise Misuse(f"{path}: expected a key file of at most {_FILE_LIMIT} bytes")
    return data


def _expected(secret: bytes | None) -> str:
    if secret is None:
        return "expected an Ed25519 private key in PEM (PKCS#8), found something else"
    return "the passphrase does not open it, or it is damaged"
