"""`verifl roster`: the issuer's work, from an empty document to the policy that everybody pins, and changes later."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proofs.errors import Misuse
from proofs.machine.command_line import command_name
from verifl.commands.keys import passphrase_option, passphrase_source
from verifl.commands.shared import PATH

if TYPE_CHECKING:
    from protocols.key_files import Passphrase
    from verifl.enrolment.former import FormerEnd
    from verifl.federation import IssuedPolicy

_document = click.option(
    "--roster", "document", type=PATH, default=Path("roster.toml"), show_default=True, help="The enrolment document."
)
_key = click.option("--key", "key_file", type=PATH, required=True, help="The key file that signs.")

_policy = click.option(
    "--policy", "policy_file", type=PATH, required=True,
    help="The policy that enrolled the party; or a transcript, whose log may have changed its key since.",
)  # fmt: skip


@click.group()
def roster() -> None:
    """Enrol the parties of a federation, and sign for them."""


@roster.command()
@click.argument("directory", type=PATH)
def init(directory: Path) -> int:
    """Write a commented roster.toml into DIRECTORY.

    Thresholds and limits are in it; parties come in with `verifl roster add`. Nothing is overwritten.
    """
    from verifl.enrolment.roster import write_roster

    path = write_roster(directory)
    click.echo(f"wrote {path}, the enrolment document: read it, decide on the thresholds")
    command = [command_name("verifl"), "roster", "add", "client", "NAME", "PUBLICKEY", "--roster", str(path)]
    click.echo(f"next: {shlex.join(command)}")
    return 0


@roster.command()
@click.argument("role", type=click.Choice(["client", "trustee", "log"]))
@click.argument("name")
@click.argument("public_key", metavar="PUBLICKEY")
@_document
def add(role: str, name: str, public_key: str, document: Path) -> int:
    """Add a party to the enrolment document.

    PUBLICKEY is what `verifl keys show` prints for that party. The NAME of the log is its origin, such as
    fl.example.org/my-federation.
    """
    from typing import cast

    from verifl.enrolment.roster import RosterRole, add_member

    add_member(document, cast("RosterRole", role), name, public_key)
    click.echo(f"{document}: added {role} {name}")
    return 0


@roster.command()
@click.argument("requests", nargs=-1, required=True, type=PATH)
@_document
def admit(requests: tuple[Path, ...], document: Path) -> int:
    """Add the parties of signed REQUESTS to the enrolment document: all of them, or none.

    Shows each key, which is to be compared with the party in another way than the request was sent, before the policy
    is signed.
    """
    from verifl.enrolment.requests import admit as admitted

    for each in admitted(document, requests):
        contact = f"  {each.contact}" if each.contact else ""
        click.echo(f"{document}: added {each.role:<7} {each.public_key.hex()}  {each.name}{contact}")
    click.echo("compare each key with its party, by telephone say, before you sign")
    return 0


@roster.command()
@click.argument("document", type=PATH)
@click.option("--config", "config_file", type=PATH, required=True, help="The training configuration: task and rules.")
@_key
@click.option("--out", type=PATH, default=Path("policy.cbor"), show_default=True, help="A new file.")
@click.option("--model", metavar="MODULE:NAME", help="What makes the model, where there is no task; or FILE.py:NAME.")
@click.option(
    "--initial", type=PATH, help="A new file for the initial model; beside the policy, NAME.initial.safetensors."
)
@click.option("--pin-task", is_flag=True, help="Clients may train by just this task file.")
@click.option(
    "--continues", metavar="TRANSCRIPT",
    help="Start from the final model of this one, a directory or an https:// address, which is audited.",
)  # fmt: skip
@click.option(
    "--ca-file", type=PATH, help="For such an address: certificates to trust in place of the system's, in PEM."
)
@click.option("--plain-http", is_flag=True, help="Allow an http:// address of another machine.")
@click.option("--former-policy", type=PATH, help="The policy of the federation that is continued, as it was signed.")
@click.option(
    "--previous", metavar="TRANSCRIPT", multiple=True,
    help="Where that one continues another itself: that one's, and of all before it, the last one first; repeatable.",
)  # fmt: skip
@passphrase_option
def sign(
    document: Path,
    config_file: Path,
    key_file: Path,
    out: Path,
    model: str | None,
    initial: Path | None,
    pin_task: bool,
    continues: str | None,
    ca_file: Path | None,
    plain_http: bool,
    former_policy: Path | None,
    previous: tuple[str, ...],
    passphrase_file: Path | None,
) -> int:
    """Sign the policy of the enrolment DOCUMENT.

    Refused while any condition of the policy fails. Prints the hash of the file, by which parties and auditors can
    compare what they pinned. The model that the first round starts from is written beside it, for those who start from
    a file; the policy has its hash.
    """
    from protocols.key_files import read_key, require_absent, write_new
    from verifl.commands.streams import printing_to_stderr
    from verifl.enrolment.roster import read_roster
    from verifl.enrolment.signing import sign_policy
    from verifl.planning.plan import plan_valid

    initial = initial or out.with_suffix(".initial.safetensors")
    never = "a signed policy is never overwritten"
    require_absent(out, never)
    enrolment = read_roster(document)
    former = _former(continues, former_policy, ca_file, plain_http, previous)
    key = read_key(key_file, passphrase_source(passphrase_file))
    with printing_to_stderr():
        signed = sign_policy(enrolment, config_file, key, model, pin_task=pin_task, former=former)
    plan = plan_valid(signed.policy_file)
    if not (initial.is_file() and initial.read_bytes() == signed.initial_file):
        write_new(initial, signed.initial_file, 0o644, "an initial model is never overwritten")
    write_new(out, signed.policy_file, 0o644, never)
    click.echo(f"wrote {initial}: the initial model, for those who start from a file")
    click.echo(f"wrote {out}: everybody pins this file; its SHA-256 is")
    click.echo(plan.pinned.hash.hex())
    for note in plan.notes:
        click.echo(f"note: {note}", err=True)
    return 0


def _former(
    continues: str | None, policy: Path | None, ca_file: Path | None, plain_http: bool, previous: tuple[str, ...]
) -> FormerEnd | None:
    """The end of the federation that is to be continued, audited before any key is read."""
    if (continues is None) != (policy is None):
        raise Misuse("--continues and --former-policy: give both, or neither")
    if continues is None or policy is None:
        if previous:
            raise Misuse("--previous: what is before the federation that --continues goes on from; give that, too")
        return None
    from verifl.enrolment.former import audited_end

    return audited_end(continues, policy, ca_file, plain_http, previous)


@roster.command()
@click.argument("party")
@_policy
@_key
@click.option("--new", "new_file", type=PATH, required=True, help="The file of the key that takes its place.")
@click.option("--out", type=PATH, required=True, help="A new file, for the server.")
@passphrase_option
def rotate(
    party: str, policy_file: Path, key_file: Path, new_file: Path, out: Path, passphrase_file: Path | None
) -> int:
    """Replace the key of PARTY, a client or trustee, by another.

    The party itself does this: both keys sign. The file goes to the server, who logs it between two rounds
    (`verifl run --change FILE`); from then on only the new key counts. Keep the old one until then.
    """
    from protocols.key_files import read_key, write_new
    from verifl.enrolment.signing import rotation

    source = passphrase_source(passphrase_file)
    old, new = read_key(key_file, source), read_key(new_file, source)
    write_new(out, rotation(policy_file, party, old, new), 0o644, "a signed rotation is never overwritten")
    click.echo(f"wrote {out}: once the server has logged it, the key of {party} is")
    click.echo(new.public_key.hex())
    return 0


@roster.command()
@click.argument("party")
@_policy
@_key
@click.option("--reason", type=click.Choice(["key-compromised", "left", "expelled"]), required=True)
@click.option("--out", type=PATH, required=True, help="A new file, for the server.")
@passphrase_option
def revoke(party: str, policy_file: Path, key_file: Path, reason: str, out: Path, passphrase_file: Path | None) -> int:
    """Take PARTY, a client or trustee, out of the federation.

    Signed with the issuer's key. The file goes to the server, who logs it between two rounds (`verifl run --change
    FILE`); from then on nothing by PARTY counts, and nobody can bring it back but a new policy.
    """
    from protocols.key_files import read_key, write_new
    from verifl.enrolment.signing import revocation

    key = read_key(key_file, passphrase_source(passphrase_file))
    write_new(out, revocation(policy_file, party, reason, key), 0o644, "a signed revocation is never overwritten")
    click.echo(f"wrote {out}: in force once the server has logged it")
    return 0


@roster.command()
@click.argument("file", type=PATH)
def show(file: Path) -> int:
    """Show who is enrolled in FILE.

    FILE is an enrolment document (and what it lacks is said), a signed policy, or the directory of a transcript or of a
    run: then with the rotations and revocations of its log.
    """
    from verifl.reports.roster import describe_file

    click.echo(describe_file(file))
    return 0


def read_issued(
    policy_file: Path | None, folder: Path | None, passphrase: Passphrase | None, approvals: Path | None = None
) -> IssuedPolicy | None:
    """What --policy, --keys and --approvals name; None if neither of the first two is given."""
    if policy_file is None and folder is None:
        return None
    if policy_file is None or folder is None:
        raise Misuse("--policy and --keys: give both, or neither and all keys are made for this run")
    from protocols.key_files import read_keys
    from verifl.enrolment.approvals import read_approvals
    from verifl.federation import IssuedPolicy
    from verifl.planning.plan import read_policy

    pinned = read_policy(policy_file).pinned
    return IssuedPolicy(pinned.data, read_keys(folder, passphrase), read_approvals(pinned, approvals))
