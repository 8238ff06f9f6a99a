"""`verifl status`: how a federation stands, by what it publishes; and what a party's own state says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proofs.errors import Misuse
from verifl.commands.shared import OK, PATH, dump


@click.command()
@click.argument("place", required=False, metavar="[DIR|URL]")
@click.option("--policy", "policy_file", type=PATH, help="The policy that you pinned; else the published one is taken.")
@click.option("--ca-file", type=PATH, help="Trust the certificates in this file, in PEM, in place of the system's.")
@click.option("--plain-http", is_flag=True, help="Allow an http:// address of another machine.")
@click.option("--state", type=PATH, help="A party's own directory: what it has said, keeps and waits for.")
@click.option("--format", "style", type=click.Choice(["txt", "json"]), default="txt", show_default=True)
def status(
    place: str | None, policy_file: Path | None, ca_file: Path | None, plain_http: bool, state: Path | None, style: str
) -> int:
    """Say how a federation stands: round, stage, who is awaited and since when, log and disk.

    DIR is the directory in which the parties meet, or that of `verifl run --out`; URL is the address at which a web
    server publishes it. All that is read there is checked.
    With --state, or with that alone: what a party's own state says. Status 0: told. 1: what is published is refused.
    """
    if place is None and state is None:
        raise Misuse("status: give DIR, in which the parties meet, or a party's own directory by --state")
    document: dict[str, Any] = {}
    texts = []
    if place is not None:
        text, document["federation"] = _federation(place, policy_file, ca_file, plain_http)
        texts.append(text)
    if state is not None:
        text, document["state"] = _state(state)
        texts.append(text)
    click.echo(dump(document, style) if style == "json" else "\n\n".join(texts))
    return OK


def _federation(
    place: str, policy_file: Path | None, ca_file: Path | None, plain_http: bool
) -> tuple[str, dict[str, Any]]:
    import tempfile
    import time

    from protocols.pinned import PinnedPolicy
    from verifl.carriers.exchange.access import WebAccess, exchange_at, is_address
    from verifl.carriers.exchange.standing import published_policy, standing_of
    from verifl.enrolment.policies import read_policy_file
    from verifl.reports.status import describe_status, disk_of, status_dict

    given = None if policy_file is None else PinnedPolicy.open(read_policy_file(policy_file))
    with tempfile.TemporaryDirectory(prefix="verifl-status-") as kept:
        public = exchange_at(place, WebAccess(ca_file=ca_file, plain_http=plain_http), Path(kept))
        pinned = given or published_policy(public, place)
        standing = standing_of(public, pinned)
    disk = None if is_address(place) else disk_of(Path(place))
    told = (standing, disk, given is not None, time.time())
    return describe_status(*told), status_dict(*told)


def _state(path: Path) -> tuple[str, dict[str, Any]]:
    from verifl.agents.memory import remembered
    from verifl.reports.status import describe_memory, memory_dict

    memory = remembered(path)
    return describe_memory(memory), memory_dict(memory)
