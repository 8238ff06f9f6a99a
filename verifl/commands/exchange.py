"""`verifl exchange`: how a stock web server publishes what the parties meet in, and how systemd runs them."""

from __future__ import annotations

from pathlib import Path

import click

from verifl.commands.shared import OK, PATH


@click.group()
def exchange() -> None:
    """Set up what is between and around parties on machines of their own: web server, service manager."""


@exchange.command()
@click.option(
    "--policy", type=PATH, required=True, help="The signed policy: who has an inbox, and how long answers are."
)
@click.option("--public", type=PATH, required=True, help="The directory that the coordinator writes.")
@click.option("--server-name", required=True, help="The host's name, as in its certificate.")
@click.option("--certificate", type=PATH, help="With the chain, in PEM; Let's Encrypt's place for it when absent.")
@click.option("--certificate-key", type=PATH, help="Its key, in PEM; Let's Encrypt's place for it when absent.")
@click.option("--tokens", type=PATH, help="A file with the lines that `verifl exchange token` prints.")
@click.option("--client-ca", type=PATH, help="Certificates, in PEM, that issue those of the parties.")
@click.option(
    "--subject", "subjects", multiple=True, metavar="PARTY=SUBJECT",
    help="The subject of a party's certificate (RFC 2253), if it is not CN=PARTY; repeatable.",
)  # fmt: skip
@click.option(
    "--listen", multiple=True, metavar="[ADDRESS:]PORT",
    help="Where nginx listens; repeatable. 443 of all addresses when absent, [::]:443 for those of IPv6.",
)  # fmt: skip
@click.option("--user", default="www-data", show_default=True, help="As whom nginx works.")
@click.option("--coordinator", default="verifl", show_default=True, help="As whom the coordinator runs.")
def nginx(
    policy: Path,
    public: Path,
    server_name: str,
    certificate: Path | None,
    certificate_key: Path | None,
    tokens: Path | None,
    client_ca: Path | None,
    subjects: tuple[str, ...],
    listen: tuple[str, ...],
    user: str,
    coordinator: str,
) -> int:
    """Print a configuration for nginx, with how to prepare the directories.

    Everybody reads everything but the inboxes; each party puts files into its own, and neither reads nor replaces any.
    """
    from proofs.errors import Misuse
    from protocols.pinned import PinnedPolicy
    from verifl.carriers.exchange.nginx import Site, nginx_configuration
    from verifl.enrolment.policies import read_policy_file

    parted = {party: subject for party, sign, subject in (each.partition("=") for each in subjects) if sign and subject}
    if len(parted) != len(subjects):
        raise Misuse("--subject: expected PARTY=SUBJECT, once for a party")
    issued = Path("/etc/letsencrypt/live") / server_name
    site = Site(
        public.absolute(),
        server_name,
        (certificate or issued / "fullchain.pem").absolute(),
        (certificate_key or issued / "privkey.pem").absolute(),
        tokens and tokens.absolute(),
        client_ca and client_ca.absolute(),
        parted,
        listen or Site.listen,
        user,
        coordinator,
    )
    click.echo(nginx_configuration(PinnedPolicy.open(read_policy_file(policy)), site), nl=False)
    return OK


@exchange.command()
@click.argument("party")
@click.argument("file", type=PATH)
def token(party: str, file: Path) -> int:
    """Make a token for PARTY in FILE, which must not exist; nobody else can read it.

    Prints a line for the web server's file of tokens. It says nothing of the token, and goes to whoever runs that.
    """
    import re

    from proofs.errors import Misuse
    from protocols.key_files import write_new
    from verifl.carriers.exchange.tokens import new_token, token_line

    if re.fullmatch("[a-z0-9][a-z0-9._-]{0,63}", party) is None:
        raise Misuse(f"PARTY: expected an id as the policy has it, found {party!a}")
    made = new_token()
    write_new(file, f"{made}\n".encode(), 0o600, "a token is never overwritten")
    click.echo(f"wrote {file}: guard it; the web server's file of tokens gets the line", err=True)
    click.echo(token_line(party, made))
    return OK


@exchange.command()
@click.argument("role", type=click.Choice(["coordinator", "trustee", "client", "auditor"]))
@click.option("--config", type=PATH, help="The party's own file; /etc/verifl/ROLE.toml when absent.")
@click.option("--key", type=PATH, help="The party's key file, which root reads and hands over.")
@click.option("--token-file", type=PATH, help="Its token for the web server, which root reads and hands over.")
@click.option("--client-certificate", type=PATH, help="Its certificate, with its key in the same file; the same.")
@click.option("--user", help="Who runs it; verifl for a coordinator, verifl-ROLE for others, when absent.")
@click.option("--public", type=PATH, help="The directory that a coordinator writes.")
@click.option("--group", help="Of the web server, which writes into the inboxes of a coordinator.")
@click.option("--place", default="", help="What an auditor follows: an address, or a directory.")
@click.option("--policy", type=PATH, help="The policy that an auditor pinned.")
def systemd(
    role: str,
    config: Path | None,
    key: Path | None,
    token_file: Path | None,
    client_certificate: Path | None,
    user: str | None,
    public: Path | None,
    group: str | None,
    place: str,
    policy: Path | None,
) -> int:
    """Print a unit of systemd for a party, or for an auditor who follows the log.

    The process runs as a user of its own, sees a read-only system, and writes to its own directory alone.
    """
    import sys

    from verifl.carriers.exchange.systemd import Unit, hidden_from, systemd_unit

    program = Path(sys.executable).with_name("verifl-audit" if role == "auditor" else "verifl")
    unit = Unit(
        role,
        program,
        (config or Path(f"/etc/verifl/{role}.toml")).absolute(),
        user or ("verifl" if role == "coordinator" else f"verifl-{role}"),
        key and key.absolute(),
        public and public.absolute(),
        group,
        place,
        policy and policy.absolute(),
        token_file and token_file.absolute(),
        client_certificate and client_certificate.absolute(),
    )
    click.echo(systemd_unit(unit), nl=False)
    for hidden in hidden_from(unit, (program, Path(sys.base_prefix).resolve())):
        click.echo(f"{hidden}: the unit's user cannot see it; install verifl elsewhere, in /opt for one", err=True)
    return OK
