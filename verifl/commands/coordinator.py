"""`verifl coordinator`: the coordinator on a machine of its own. It sees no party but what that puts into its inbox."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from verifl.commands.parties import (
    PartyOptions,
    attending,
    party_options,
    policy_option,
    public_option,
    state_option,
)
from verifl.commands.shared import FAILED, OK, PATH, approvals_option, device_option, initial_option


@click.group()
def coordinator() -> None:
    """Run the rounds of a federation whose parties are elsewhere."""


@coordinator.command()
@click.argument("config", type=PATH)
@party_options("coordinator")
@click.option(
    "--change",
    "changes",
    type=PATH,
    multiple=True,
    help="A rotation or revocation, to be logged before the next round; may be repeated.",
)
@approvals_option
@initial_option
@device_option
def run(
    config: Path,
    options: PartyOptions,
    changes: tuple[Path, ...],
    approvals: Path | None,
    initial: Path | None,
    device: str,
) -> int:
    """Ask in the public directory, and take what the parties put there, until the rounds of CONFIG have closed.

    [deadlines] in CONFIG says how long it waits for whom. It needs no task where --initial gives the model; then its
    only metric is `distance`, of the model from that one. Model and metrics go to --state. Stopped by SIGTERM or
    Ctrl-C, or killed at any point, the same command goes on.
    """
    from verifl.carriers.exchange.serving import serve
    from verifl.carriers.exchange.training import prepared_training
    from verifl.config import read_config
    from verifl.enrolment.approvals import read_approvals, require_approvals
    from verifl.reports.trackers import tracked

    settings, ended = read_config(config, needs_task=initial is None), None
    with attending(options) as here:
        pinned = here.seat.pinned
        given = read_approvals(pinned, approvals)
        if here.seat.public.reader() is None:
            require_approvals(pinned, given)
        training, start = prepared_training(settings, config.parent, pinned.policy, device, initial)
        _hand_in(changes, Path(options.public), options.state, options.policy)
        with tracked(settings.report, pinned, here.progress) as progress:
            ended = serve(here.seat, settings, training, start, device, progress, here.stop, given)
    return OK if ended is None else FAILED


@coordinator.command()
@click.argument("files", type=PATH, nargs=-1, required=True)
@public_option
@state_option
@policy_option
def change(files: tuple[Path, ...], public: Path, state: Path, policy_file: Path) -> int:
    """Hand in rotations and revocations, also while the coordinator runs.

    It logs them before the next round, or at once where it waits for round keys.
    """
    from proofs.errors import Misuse

    for option, place in (("--public", public), ("--state", state)):
        if not place.is_dir():  # else a change would be handed in to nobody
            raise Misuse(f"{option}: {place}: no such directory; give the one that the coordinator runs with")
    _hand_in(files, public, state, policy_file)
    click.echo(f"handed in {len(files)}: logged before the next round", err=True)
    return OK


def _hand_in(files: Sequence[Path], public: Path, state: Path, policy_file: Path) -> None:
    from protocols.pinned import PinnedPolicy
    from verifl.carriers.exchange.changing import put_changes
    from verifl.enrolment.changes import published_changes, read_change
    from verifl.enrolment.policies import read_policy_file
    from verifl.storage.party_directory import PartyDirectory

    entries = [read_change(file) for file in files]
    if entries:
        logged = published_changes(public).entries
        pinned = PinnedPolicy.open(read_policy_file(policy_file))
        put_changes(PartyDirectory(state).changes, pinned, logged, entries)
