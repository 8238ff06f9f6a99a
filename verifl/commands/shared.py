"""What several commands have in common: exit statuses, options, and the form of a report."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from verifl.formatting import DEVICE, DEVICES

if TYPE_CHECKING:
    from verifl.adversaries.injections import Injection
    from verifl.carriers.base import Carrier

OK, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130

format_option = click.option(
    "--format", "style", type=click.Choice(["txt", "json", "jsonl"]), default="txt", show_default=True,
    help="Form of the report on stdout.",
)  # fmt: skip


def _device(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """The name of a device; whether there is one is for `resolve_device`."""
    if re.fullmatch(DEVICE, value) is None:
        raise click.BadParameter(f"expected {DEVICES}, found {value!r}", context, parameter)
    return value


device_option = click.option(
    "--device", callback=_device, metavar="DEVICE", default="auto", show_default=True,
    help=f"Where to train and to sum ciphertexts: {DEVICES}. The transcript does not depend on it.",
)  # fmt: skip

log_format_option = click.option(
    "--log-format", type=click.Choice(["txt", "json"]), default="txt", show_default=True,
    help="Form of what goes to stderr: for people, or one JSON object a line.",
)  # fmt: skip

log_level_option = click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True,
    help="The least that goes to stderr.",
)  # fmt: skip

PATH = click.Path(path_type=Path)

initial_option = click.option(
    "--initial", type=PATH,
    help="The initial model that came with the policy, to start from. The policy has its hash.",
)  # fmt: skip


approvals_option = click.option(
    "--approvals", type=PATH,
    help="What `verifl policy collect` wrote, where the policy demands approvals; needed to begin.",
)  # fmt: skip


def _injections(context: click.Context, _: click.Parameter, values: tuple[str, ...]) -> tuple[Injection, ...]:
    """`--inject` as values; `--inject list` prints the kinds and ends the command."""
    if not values:
        return ()
    from verifl.adversaries.injections import LIST, listing, parse_injection

    if LIST in values:
        click.echo(listing())
        context.exit(OK)
    return tuple(parse_injection(value) for value in values)


inject_option = click.option(
    "--inject", multiple=True, metavar="KIND[:PARTY]", is_eager=True, callback=_injections,
    help="Let a party misbehave in round 2, to see what happens; repeatable. `--inject list` lists the kinds.",
)  # fmt: skip


def carrier_with(injections: tuple[Injection, ...]) -> Carrier | None:
    """The carrier by which these parties misbehave; None for the default one."""
    if not injections:
        return None
    from verifl.adversaries.carrier import InjectedCarrier

    return InjectedCarrier(injections)


def dump(document: dict[str, Any], style: str) -> str:
    """JSON: indented for `json`, on one line for `jsonl`. Raises ValueError for NaN and infinities."""
    return json.dumps(document, indent=2 if style == "json" else None, allow_nan=False)
