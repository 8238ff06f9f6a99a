"""Accuracy by round of plain federated averaging and of verified rounds with each kind of weights, of the same clients.

`python compare.py --results results.jsonl` measures what the file lacks, a line for each data set, arm and seed, so
that it can be stopped and started again; `python curves.py results.jsonl` makes the table and the curves. All arms
train the same clients from the same initial model with the same seeds; they differ in how updates become a mean.
`--proved` runs whole verified rounds in the place of `arms.verified`, which gives the same models.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arms import Round, plain, proved, verified
from datasets import DATASETS, Prepared, bounds_in, prepare

from verifl import Config
from verifl.tasks.base import Task

PLAIN = {"plain-weighted": True, "plain-unweighted": False}
VERIFIED = {"verified-equal": "equal", "verified-declared": "declared", "verified-private": "private"}
Arm = Callable[[Task[Any], Config], Iterable[Round]]


def main(given: Sequence[str] | None = None) -> None:
    """Measure what is missing."""
    arguments = parser().parse_args(given)
    done = {key_of(line) for line in lines_of(arguments.results)}
    for name in arguments.dataset:
        wanted = [(arm, seed) for seed in range(1, arguments.seeds + 1) for arm in arguments.arms]
        missing = [each for each in wanted if (name, *each, arguments.entry_bits, arguments.rounds) not in done]
        if missing:
            _measure(name, missing, arguments)


def _measure(name: str, missing: Iterable[tuple[str, int]], arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as place:
        prepared = prepare(DATASETS[name], Path(place))
        for arm, seed in missing:
            line = {
                "dataset": name,
                "arm": arm,
                "seed": seed,
                "entry_bits": arguments.entry_bits,
                "of": arguments.rounds,
                "bounds": "" if arm in PLAIN else bounds_in(prepared.path),
                **_rounds(_run(prepared, arm, seed, arguments), DATASETS[name].metric),
            }
            with arguments.results.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _run(prepared: Prepared, arm: str, seed: int, arguments: argparse.Namespace) -> Iterator[Round]:
    task = prepared.task(seed)
    if arm in PLAIN:
        return iter(plain(task, prepared.config(seed, arguments.rounds, "equal"), PLAIN[arm]))
    heaviest = max(task.weight(client, task.data(client)) for client in task.clients())  # type: ignore[attr-defined]  # the example's task has weights
    config = prepared.config(seed, arguments.rounds, VERIFIED[arm], heaviest)
    if arguments.entry_bits is not None:
        config = with_entry_bits(task, config, arguments.entry_bits)
    return iter((proved if arguments.proved else verified)(task, config))


def with_entry_bits(task: Task[Any], config: Config, bits: int) -> Config:
    """The configuration with such a resolution that entries of an update of full length are 2^(bits - 3) on average,
    as root mean square: Gaussian ones are then below 2^(bits - 1) but for one in 30,000 (four standard deviations)."""
    from math import ceil, log2, sqrt

    from verifl.planning.plan import task_model

    _, layout = task_model(task, config)
    fraction = ceil(log2(2.0 ** (bits - 3) * sqrt(layout.dimension) / config.update.clip_norm))
    update = config.update.model_copy(update={"fraction_bits": max(0, fraction)})
    return config.model_copy(update={"update": update})


def _rounds(rounds: Iterator[Round], metric: str) -> Mapping[str, object]:
    made = list(rounds)
    return {
        "metric": metric,
        "rounds": [round(each.metrics[metric], 5) for each in made],
        "clipped": round(sum(each.clipped for each in made) / len(made), 4),
        "model": made[-1].model.hex()[:16],
    }


def lines_of(results: Path) -> list[dict[str, Any]]:
    """What was measured so far."""
    return [json.loads(line) for line in results.read_text().splitlines()] if results.exists() else []


def key_of(line: Mapping[str, Any]) -> tuple[str, str, int, int | None, int]:
    """What a line is of."""
    return line["dataset"], line["arm"], line["seed"], line["entry_bits"], line["of"]


def parser() -> argparse.ArgumentParser:
    """Of this script's arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--results", type=Path, default=Path(__file__).parent / "results.jsonl")
    made.add_argument("--dataset", nargs="*", choices=tuple(DATASETS), default=tuple(DATASETS))
    made.add_argument("--arms", nargs="*", choices=(*PLAIN, *VERIFIED), default=(*PLAIN, *VERIFIED))
    made.add_argument("--rounds", type=int, default=20)
    made.add_argument("--seeds", type=int, default=3)
    made.add_argument("--entry-bits", type=int, help="bits of an entry; those of the default resolution when absent")
    made.add_argument("--proved", action="store_true")
    return made


if __name__ == "__main__":
    main()
