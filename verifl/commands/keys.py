"""`verifl keys`: a party's own key, made where it is used; only the public half leaves the machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifl.commands.shared import PATH

if TYPE_CHECKING:
    from protocols.key_files import Passphrase

passphrase_option = click.option(
    "--passphrase-file", type=PATH, help="Read the passphrase from the first line of this file; else it is asked for."
)


@click.group()
def keys() -> None:
    """Make a party's key, show its public half, and ask for enrolment with it."""


@keys.command()
@click.argument("file", type=PATH)
@click.option("--passphrase", "ask", is_flag=True, help="Ask for a passphrase, twice and hidden, to protect the file.")
@click.option("--passphrase-file", type=PATH, help="Protect the file by the passphrase in the first line of this one.")
def new(file: Path, ask: bool, passphrase_file: Path | None) -> int:
    """Make an Ed25519 key in FILE.

    FILE must not exist; nobody else can read it. Prints the public key, which goes to the federation's issuer.
    """
    import os

    from protocols.identities import SigningKey
    from protocols.key_files import read_passphrase, write_key

    secret = None
    if passphrase_file is not None:
        secret = read_passphrase(passphrase_file)
    elif ask:
        _require_terminal()
        secret = _prompt(f"Passphrase for {file}", confirm=True)
    key = SigningKey.generate(os.urandom)
    write_key(file, key, secret)
    click.echo(f"wrote {file}: guard it; its public key is", err=True)
    click.echo(key.public_key.hex())
    return 0


@keys.command()
@click.argument("file", type=PATH)
@passphrase_option
def show(file: Path, passphrase_file: Path | None) -> int:
    """Print the public key of FILE, 64 hexadecimal digits."""
    from protocols.key_files import read_key

    click.echo(read_key(file, passphrase_source(passphrase_file)).public_key.hex())
    return 0


@keys.command()
@click.argument("file", type=PATH)
@click.option("--federation", required=True, help="The name that the issuer has given it.")
@click.option("--role", type=click.Choice(["client", "trustee", "log"]), required=True)
@click.option("--name", required=True, help="The id you want; of the log its origin, such as fl.example.org/study-7.")
@click.option("--contact", default="", help="How the issuer reaches you, to compare the key.")
@click.option("--out", type=PATH, required=True, help="A new file, for the issuer.")
@passphrase_option
def request(
    file: Path, federation: str, role: str, name: str, contact: str, out: Path, passphrase_file: Path | None
) -> int:
    """Ask the issuer to be enrolled with the key in FILE.

    The request has the public half, and is signed with the key. It goes to the issuer, and holds no secret. Prints the
    public key: let the issuer hear it in another way than the request was sent.
    """
    from protocols.key_files import read_key, write_new
    from protocols.requests import seal_request

    key = read_key(file, passphrase_source(passphrase_file))
    data = seal_request(federation, role, name, contact, key)
    write_new(out, data, 0o644, "a signed request is never overwritten")
    click.echo(f"wrote {out}: send it to the issuer, who compares this public key with you", err=True)
    click.echo(key.public_key.hex())
    return 0


def passphrase_source(file: Path | None) -> Passphrase | None:
    """Where passphrases come from: a file, a person at a terminal, or nowhere."""
    from protocols.key_files import read_passphrase

    if file is not None:
        secret = read_passphrase(file)
        return lambda _path: secret
    if sys.stdin.isatty():
        return lambda path: _prompt(f"Passphrase of {path}", confirm=False)
    return None


def _require_terminal() -> None:
    from proofs.errors import Misuse

    if not sys.stdin.isatty():
        raise Misuse("--passphrase: there is no terminal to ask at; use --passphrase-file")


def _prompt(text: str, *, confirm: bool) -> bytes:
    answer: str = click.prompt(text, hide_input=True, confirmation_prompt=confirm, err=True)
    return answer.encode()
