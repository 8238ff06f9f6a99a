"""How a party comes to the exchange: a directory on this machine, or an address with what shows there who it is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from proofs.errors import Misuse
from protocols.key_files import read_private_file, read_secret
from protocols.log.connection import SCHEMES, Credentials, Remote
from verifl.carriers.exchange.public import PublicDirectory, PublicView
from verifl.carriers.exchange.website import PublicSite
from verifl.storage.stores import make_private_directory

KEPT = "fetched"  # in a party's directory: what it fetched and would fetch again


@dataclass(frozen=True)
class WebAccess:
    """For an address alone. ca_file: certificates to trust in place of the system's. client_certificate, client_key: of
    this party, in PEM; the key may be in the same file. token_file: its token, in the first line. plain_http: http is
    allowed to others than this machine."""

    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    token_file: Path | None = None
    plain_http: bool = False


NO_ACCESS = WebAccess()


def is_address(public: str) -> bool:
    """Whether it is the address of a web server, and no directory."""
    return public.lower().startswith(SCHEMES)


def remote_of(public: str, access: WebAccess) -> Remote:
    """An address with a party's credentials; raises Misuse for files that are not as they have to be."""
    certificate, key = access.client_certificate, access.client_key
    if key is not None and certificate is None:
        raise Misuse("--client-key: is of no use without --client-certificate")
    if certificate is not None:
        read_private_file(key or certificate)
    token = None if access.token_file is None else _token(access.token_file)
    return Remote(public, access.ca_file, access.plain_http, Credentials(certificate, key, token))


def exchange_at(public: str, access: WebAccess, state: Path) -> PublicView:
    """The exchange of a party with this directory; raises Misuse for what leads to none."""
    check_place(public, access)
    if not is_address(public):
        return PublicDirectory(Path(public))
    remote = remote_of(public, access)
    make_private_directory(state / KEPT)
    return PublicSite(remote, state / KEPT)


def check_place(public: str, access: WebAccess, writes: bool = False) -> None:
    """Raises Misuse for what leads to no exchange, before anything is read or written. writes: for its coordinator."""
    if is_address(public):
        if writes:
            raise Misuse(f"{public}: a coordinator writes a directory by --public, which a web server publishes")
        remote_of(public, access)
        return
    given = [each.name for each in fields(access) if getattr(access, each.name) not in (None, False)]
    if given:
        raise Misuse(f"--{given[0].replace('_', '-')}: is for a --public that is the address of a web server")
    if not writes and not Path(public).is_dir():
        raise Misuse(
            f"{public}: no such directory; give the one that the coordinator writes, a copy of it, or the address at "
            "which a web server publishes it"
        )


def _token(path: Path) -> str:
    token = read_secret(path, "token")
    if not (token.isascii() and token.decode().isprintable()):
        raise Misuse(f"{path}: expected a token of printable ASCII characters, as `verifl exchange token` writes it")
    return token.decode()
