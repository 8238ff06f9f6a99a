"""`verifl export`: the model after any round, or after the best one, as a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from proofs.errors import Misuse
from verifl.commands.shared import OK, PATH, dump, format_option, initial_option

if TYPE_CHECKING:
    from protocols.log.reader import TranscriptReader
    from protocols.pinned import PinnedPolicy
    from protocols.steps.doubles import Doubles
    from verifl.agents.past_models import PastModel, PastModels


@click.command()
@click.argument("place", metavar="OUT|URL")
@click.argument("file", type=PATH)
@click.option("--round", "number", type=click.IntRange(min=0), help="The model after this round; 0: the initial one.")
@click.option("--best", metavar="METRIC", help="The model after the round with the best METRIC, such as loss.")
@click.option("--mode", type=click.Choice(["min", "max"]), help="Which METRIC is the best; by its name when absent.")
@click.option("--metrics", type=PATH, help="metrics.jsonl of the run; by default the one in OUT.")
@click.option("--policy", "policy_file", type=PATH, help="The policy that you pinned; else the published one is taken.")
@click.option("--config", type=PATH, help="The run's configuration: its task makes what does not travel, and finishes.")
@initial_option
@click.option("--ca-file", type=PATH, help="Trust the certificates in this file, in PEM, in place of the system's.")
@click.option("--plain-http", is_flag=True, help="Allow an http:// address of another machine.")
@format_option
def export(
    place: str,
    file: Path,
    number: int | None,
    best: str | None,
    mode: Literal["min", "max"] | None,
    metrics: Path | None,
    policy_file: Path | None,
    config: Path | None,
    initial: Path | None,
    ca_file: Path | None,
    plain_http: bool,
    style: str,
) -> int:
    """Write the model after one round to FILE, in safetensors.

    OUT is the directory of `verifl run --out`, or that in which the parties meet; URL is the address at which a web
    server publishes it. The transcript has the model of every round, also after `verifl prune`; its log is checked by
    its rules, and the model by the hash that the log has of it. What does not travel (a frozen base, tied names) is in
    the file if --config is given.
    """
    import tempfile

    from protocols.pinned import PinnedPolicy
    from verifl.agents.past_models import PastModels
    from verifl.agents.published import newest, steadily
    from verifl.carriers.exchange.access import WebAccess, exchange_at
    from verifl.carriers.exchange.standing import published_policy
    from verifl.enrolment.policies import read_policy_file

    _check_options(file, number, best, mode, metrics, config, initial)
    given = None if policy_file is None else PinnedPolicy.open(read_policy_file(policy_file))
    with tempfile.TemporaryDirectory(prefix="verifl-export-") as kept:
        public = exchange_at(place, WebAccess(ca_file=ca_file, plain_http=plain_http), Path(kept))
        pinned = given or published_policy(public, place)
        models = steadily(
            lambda: PastModels.read(pinned, _reader(public.reader(), place)), lambda: newest(public.reader())
        )
        values = {} if best is None else _measured(place, metrics, best)
        chosen = models.after((number or 0) if best is None else _best(models, values, best, mode))
        vector = models.vector(chosen)
    finished = _write(place, pinned, chosen, vector, file, config, initial)
    _report(file, chosen, {} if best is None else {best: values[chosen.round]}, finished, style)
    return OK


def _check_options(
    file: Path,
    number: int | None,
    best: str | None,
    mode: str | None,
    metrics: Path | None,
    config: Path | None,
    initial: Path | None,
) -> None:
    if (number is None) == (best is None):
        raise Misuse("export: expected one of --round N and --best METRIC")
    if best is None and (mode is not None or metrics is not None):
        raise Misuse(f"{'--mode' if mode else '--metrics'}: belongs to --best METRIC")
    if initial is not None and config is None:
        raise Misuse("--initial: belongs to --config, whose task starts from it")
    if not file.parent.is_dir():
        raise Misuse(f"{file.parent}: no such directory; make it first")
    if file.exists():
        raise Misuse(f"{file}: already exists and is not overwritten; choose another name")


def _reader(reader: TranscriptReader | None, place: str) -> TranscriptReader:
    if reader is None:
        raise Misuse(f"{place}: has no log yet")
    return reader


def _measured(place: str, metrics: Path | None, name: str) -> dict[int, float]:
    """The metric by round; raises Misuse where there is none of that name."""
    from verifl.storage.history import MetricsFile
    from verifl.storage.run_directory import RunDirectory

    path = metrics or RunDirectory(Path(place)).metrics
    measured = {number: values for number, (values, _) in MetricsFile(path).measured().items()}
    if not measured:
        raise Misuse(f"{path}: has no metrics; give the metrics.jsonl of the run by --metrics")
    if not any(name in values for values in measured.values()):
        known = ", ".join(dict.fromkeys(each for values in measured.values() for each in values)) or "none"
        raise Misuse(f"--best: {path} has no {name!r}, only: {known}")
    return {number: values[name] for number, values in measured.items() if name in values}


def _best(models: PastModels, values: Mapping[int, float], metric: str, mode: Literal["min", "max"] | None) -> int:
    from verifl.strategies.stopping import best_round, direction

    wanted = direction(metric, mode, "--mode min or --mode max")
    found = best_round([(number, values[number]) for number in sorted(models.closed) if number in values], wanted)
    if found is None:
        raise Misuse(f"--best: {metric!r} is no number after any round that closed")
    return found


def _write(
    place: str,
    pinned: PinnedPolicy,
    chosen: PastModel,
    vector: Doubles,
    file: Path,
    config: Path | None,
    initial: Path | None,
) -> bool:
    """Whether the task has finished it."""
    from verifl.carriers.exchange.training import prepared_training
    from verifl.commands.streams import printing_to_stderr
    from verifl.config import read_config
    from verifl.storage.run_directory import RunDirectory
    from verifl.training.exporting import export_by_file, export_by_task
    from verifl.training.model_files import AUDITED, model_metadata

    metadata = {**model_metadata(pinned), "round": str(chosen.round)}
    if config is not None:
        with printing_to_stderr():
            training, _ = prepared_training(read_config(config), config.parent, pinned.policy, "cpu", initial)
            return export_by_task(training, vector, chosen.hash.hex(), file, metadata)
    last = RunDirectory(Path(place)).model
    audited = last.with_name(AUDITED)
    like = audited if audited.exists() else last
    export_by_file(pinned.policy.tensors, vector, chosen.hash.hex(), file, metadata, like)
    if audited.exists():
        click.echo("verifl: the task finishes a model; this is the one before, --config has it finished", err=True)
    elif not last.exists():
        click.echo("verifl: what travels is in the file, and nothing else; --config has the whole model", err=True)
    return False


def _report(file: Path, chosen: PastModel, value: Mapping[str, float], finished: bool, style: str) -> None:
    from verifl.formatting import format_metrics
    from verifl.progress import finite_or_none

    if style != "txt":
        document = {"round": chosen.round, "model": chosen.hash.hex(), "finished": finished}
        click.echo(dump({**document, "metrics": finite_or_none(value), "written": str(file)}, style))
        return
    what = f"the model after round {chosen.round}" if chosen.round else "the initial model"
    how = f", with {format_metrics(value)}" if value else ""
    click.echo(f"{file}  {what}{how}{', as the task finished it' if finished else ''}")
