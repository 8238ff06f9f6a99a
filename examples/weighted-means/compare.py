"""Accuracy by round of plain federated averaging and of verified rounds with each kind of weights, on the same clients.

`python compare.py --dataset digits --unequal --rounds 20 --seeds 3 > means.jsonl`: one line for each arm and seed, with
the metrics of every round. All arms train the same clients from the same initial model with the same seeds; they differ
in how updates become a mean. `--unequal` leaves each client half of what the one before it has.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from verifl import Config, Federation
from verifl.built_in import BUILT_IN_TASKS
from verifl.tasks.base import Task
from verifl.tasks.loading import load_task
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import tensor_filter

PLAIN = ("plain-weighted", "plain-unweighted")
VERIFIED = ("equal", "declared", "private")
LEAST = 8  # samples of the smallest client


class Unequal:
    """A task whose clients have fewer and fewer of their samples: each half of what the one before it has."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def data(self, client: str) -> Any:
        """The first of the client's samples."""
        features, labels = self._task.data(client)
        kept = max(LEAST, len(labels) >> list(self._task.clients()).index(client))
        return features[:kept], labels[:kept]

    def weight(self, client: str, data: Any) -> int:
        """The number of samples."""
        return int(self._task.weight(client, data))


def plain(task: Task[Any], config: Config, weighted: bool) -> list[Mapping[str, float]]:
    """Metrics after every round of averaging in double precision, with nothing clipped, rounded or encrypted."""
    training = LocalTraining(task, tensor_filter(config), "cpu", config.federation.seed, weighed=True)
    model, found = training.initial(), []
    for number in range(1, config.federation.rounds + 1):
        total, weight = np.zeros_like(model), 0.0
        for client in sorted(task.clients()):
            before, after = training.train(client, model, number)
            own = (training.measured(client) or 0.0) if weighted else 1.0
            total, weight = total + own * (after - before), weight + own
        model = model + total / weight
        found.append(training.evaluate(model, number))
    return found


def verified(task: Task[Any], config: Config) -> list[Mapping[str, float]]:
    """Metrics after every round that closed."""
    with tempfile.TemporaryDirectory() as place:
        result = Federation(task, config, Path(place) / "out").run()
        return [summary.metrics for summary in result.rounds if summary.aborted is None]


def arms(arguments: argparse.Namespace, seed: int) -> Iterator[tuple[str, list[Mapping[str, float]]]]:
    """Each arm by name, with its metrics."""
    config = configuration(arguments, seed, "declared")
    task = load_task(config, Path())
    if arguments.unequal:
        task = Unequal(task)  # type: ignore[assignment]  # it has all that a task has
    for name in PLAIN:
        yield name, plain(task, config, name == PLAIN[0])
    largest = max(task.weight(client, task.data(client)) for client in task.clients())  # type: ignore[attr-defined]  # built-in tasks weigh
    for kind in arguments.kinds:
        yield f"verified-{kind}", verified(task, configuration(arguments, seed, kind, largest))


def configuration(arguments: argparse.Namespace, seed: int, kind: str, samples: int = 1) -> Config:
    """The defaults of the data set; the client with most samples weighs most, or 1 where all weigh alike."""
    unit = {"largest": arguments.largest, "unit": max(1.0, samples / arguments.largest)} if kind != "equal" else {}
    return Config.of(
        federation={"rounds": arguments.rounds, "seed": seed},
        task={"name": arguments.dataset, "clients": arguments.clients},
        update={"clip_norm": BUILT_IN_TASKS.find(arguments.dataset).clip_norm},
        weights={"kind": kind, **unit},
    )


def main(given: Sequence[str] | None = None) -> None:
    """Print a line of JSON for each arm and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=BUILT_IN_TASKS.names, default="digits")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--largest", type=int, default=100)
    parser.add_argument("--kinds", nargs="*", choices=VERIFIED, default=VERIFIED)
    parser.add_argument("--unequal", action="store_true")
    arguments = parser.parse_args(given)
    name = f"{arguments.dataset}{'-unequal' if arguments.unequal else ''}"
    for seed in range(1, arguments.seeds + 1):
        for arm, metrics in arms(arguments, seed):
            print(json.dumps({"dataset": name, "arm": arm, "seed": seed, "rounds": metrics}), flush=True)


if __name__ == "__main__":
    main()
