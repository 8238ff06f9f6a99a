"""The commands for statements: keygen, verify-statement. Exit status 0 yes, 1 no, 2 usage or IO."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from auditor.commands import (
    ACCEPTED,
    REJECTED,
    SETTINGS,
    AuditorCommand,
    format_option,
    read_at_most,
    reporting,
    write_report,
)
from auditor.output import replace_file, require_writable

if TYPE_CHECKING:
    from auditor.reports.report import Report
    from auditor.statement import AuditStatement
    from protocols.identities import SigningKey
    from protocols.log.connection import Remote

FILE = click.Path(path_type=Path)


def _read_signing_key(file: Path, passphrase_file: Path | None) -> SigningKey:
    """An auditor's key; its passphrase, if it has one, from a file or from a person at a terminal."""
    from protocols.key_files import passphrase_of, read_key

    ask = None
    if sys.stdin.isatty():

        def ask(path: Path) -> bytes:
            return str(click.prompt(f"Passphrase of {path}", hide_input=True, err=True)).encode()

    return read_key(file, passphrase_of(passphrase_file) or ask)


def require_signer(statement: Path | None, key: Path | None, unpinned: bool) -> None:
    """Raise UsageError for options that do not go together."""
    if (statement is None) != (key is None):
        raise click.UsageError("--statement FILE and --key FILE are given together; `verifl-audit keygen` makes a key")
    if statement is not None and unpinned:
        raise click.UsageError(
            "--statement needs --policy FILE: without a pinned policy a transcript is only consistent with itself, "
            "which is nothing to sign"
        )


@dataclass(frozen=True)
class Signer:
    """Signs what comes of an audit into a file. Whether it can is known before the audit."""

    file: Path
    key: SigningKey

    @classmethod
    def of(cls, file: Path, key: Path, passphrase_file: Path | None, transcript: Path | Remote) -> Signer:
        """Raises Misuse for a key that is none, and for a file that cannot be written."""
        require_writable(file, transcript)
        return cls(file, _read_signing_key(key, passphrase_file))

    def sign(self, report: Report) -> str:
        """Write the statement, in the place of an older one. Returns its SHA-256 in hexadecimal."""
        from datetime import UTC, datetime

        from auditor.statement import statement_of
        from protocols.hashes import sha256

        data = statement_of(report, self.key, datetime.now(UTC))
        replace_file(self.file, data)
        result, digest = "PASSED" if report.accepted else "FAILED", sha256(data).hex()
        click.echo(f"statement: {result}, in {self.file}, SHA-256 {digest}", err=True)
        return digest


@click.command("keygen", AuditorCommand, context_settings=SETTINGS, short_help="A key to sign statements with.")
@click.argument("file", type=FILE)
@click.option("--passphrase-file", type=FILE, help="Protect the key by the passphrase in the first line of this file.")
def keygen_command(file: Path, passphrase_file: Path | None) -> None:
    """Make an Ed25519 key in FILE, which must not exist, and print its public half.

    Who is to believe your statements pins these 64 digits, which they hear from you in another way than the
    statements. Exit status: 0 made, 2 usage or IO.
    """
    import os

    from protocols.identities import SigningKey
    from protocols.key_files import read_passphrase, write_key

    with reporting():
        secret = None if passphrase_file is None else read_passphrase(passphrase_file)
        key = SigningKey.generate(os.urandom)
        write_key(file, key, secret)
    click.echo(f"wrote {file}: guard it; its public key is", err=True)
    click.echo(key.public_key.hex())


@click.command(
    "verify-statement",
    AuditorCommand,
    context_settings=SETTINGS,
    short_help="What an auditor whom you trust has signed.",
)
@click.argument("file", type=FILE)
@click.option("--key", "public_key", required=True, metavar="HEX", help="The auditor's public key, as you pinned it.")
@click.option("--policy", type=FILE, help="Check that the audit was of this policy.")
@click.option("--model", type=FILE, help="Check that this file is the final model of the transcript.")
@click.option("--checkpoint", type=FILE, help="Check that this is the checkpoint that was audited.")
@format_option
def verify_statement_command(
    file: Path, public_key: str, policy: Path | None, model: Path | None, checkpoint: Path | None, form: str
) -> None:
    """Check the statement in FILE under an auditor's public key, and say what it says.

    Exit status: 0 the auditor accepted, and it is of the files that are given; 1 the auditor did not accept, it is of
    others, or nobody with this key signed it; 2 usage or IO.
    """
    from auditor.dsse import ENVELOPE_LIMIT
    from auditor.statement import CHECKPOINT, MODEL, PASSED, POLICY, open_statement, require_subject
    from protocols.key_files import parse_public_key

    with reporting():
        key = parse_public_key(public_key)
        said = open_statement(read_at_most(file, ENVELOPE_LIMIT), key)
        for name, given in ((POLICY, policy), (MODEL, model), (CHECKPOINT, checkpoint)):
            if given is not None:
                require_subject(said, name, given)
    write_report(form, said.to_dict(), _text(said), [{"event": "statement", **said.to_dict()}])
    sys.exit(ACCEPTED if said.result == PASSED else REJECTED)


def _text(said: AuditStatement) -> list[str]:
    from auditor.reports.results import printable

    ways = dict.fromkeys(said.checks.values())
    ended = {way: [number for number, status in said.checks.items() if status == way] for way in ways}
    lines = [
        f"{said.result}: {said.outcome}",
        f"  federation  {said.federation}",
        f"  policy      {said.policy}",
        *(f"  {name:<11} {digest}" for name, digest in said.subjects.items()),
        *([] if said.round is None else [f"  rounds      up to {said.round}"]),
        *(f"  {way:<11} {' '.join(numbers)}" for way, numbers in ended.items()),
        f"  audited     {said.time}, by verifl {said.version}",
    ]
    return [printable(line, 1024) for line in lines]
