"""`verifl measure`: how long updates are, and which bounds would suit them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from verifl.commands.shared import OK, PATH, device_option, dump, format_option

if TYPE_CHECKING:
    from verifl.config import Config
    from verifl.planning.measured import Measurement
    from verifl.planning.proposals import ProposedBounds


@click.command()
@click.argument("config", type=PATH)
@click.option("--rounds", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many rounds to train.")
@click.option("--client", "clients", multiple=True, metavar="NAME",
              help="Only this client, whose data is here; repeatable. All of the task by default.")  # fmt: skip
@click.option("--write", is_flag=True, help="Put the proposal into CONFIG, and keep the norms beside it.")
@device_option
@format_option
def measure(config: Path, rounds: int, clients: tuple[str, ...], write: bool, device: str, style: str) -> int:
    """Train a few rounds of CONFIG in the clear, on this machine, and propose bounds on updates.

    Prints norms of updates by round and by tensor, and proposes a clip norm, scales for statistics, a bound on
    coordinates and a resolution. Nothing is sent, signed or clipped. What goes into a policy is published with it.
    """
    from verifl.agents.summation import resolve_device
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.planning.measurement import measure as measured_rounds
    from verifl.planning.proposals import propose
    from verifl.reports.console import console_progress
    from verifl.reports.measurement import describe_measurement, measurement_dict
    from verifl.strategies.weights import weight_rule
    from verifl.tasks.loading import load_task

    settings = read_config(config)
    if write:
        _require_publishable(settings, config)
    with printing_to_stderr(), console_progress() as progress:
        task = load_task(settings, config.parent)
        measured = measured_rounds(task, settings, rounds, resolve_device(device), progress, clients)
    proposal = propose(measured, weight_rule(settings.weights).largest)
    if settings.privacy is not None and not settings.data_is_public:
        click.echo(
            "verifl: with [privacy] none of these numbers may decide a bound, unless these data are public: the policy "
            "publishes it",
            err=True,
        )
    text = describe_measurement(measured, proposal)
    click.echo(text if style == "txt" else dump(measurement_dict(measured, proposal), style))
    if write:  # last: what was measured is not lost where the file cannot take it
        _write(config, settings, measured, proposal)
    return OK


def _require_publishable(settings: Config, path: Path) -> None:
    """With noise, nothing that is computed from data is published without it, and a policy is."""
    from proofs.errors import Misuse

    if settings.privacy is not None and not settings.data_is_public:
        raise Misuse(
            f"{path}: task.public_data: not declared, and with [privacy] no number that private data was measured for "
            "may go into a policy; measure on public data and say public_data = true in [task], or choose bounds "
            "without looking at private data"
        )


def _write(path: Path, settings: Config, measured: Measurement, proposal: ProposedBounds) -> None:
    import json

    from verifl.planning.config_files import with_proposal, written_config
    from verifl.planning.measured import measurement_path
    from verifl.storage.stores import replacing

    text = with_proposal(written_config(path), proposal, str(path))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with replacing(measurement_path(path), mode=0o600) as temporary:
        temporary.write_text(json.dumps(measured.to_dict()), encoding="utf-8")
    if not settings.data_is_public:
        click.echo(f"verifl: {path}: what was measured of these data will be published with the policy", err=True)
    click.echo(f"verifl: written: {path}, and the norms: {measurement_path(path)}", err=True)
