"""A few rounds of training in the clear, on this machine: how long updates are, by round, client and tensor.

Nothing is clipped, rounded, encrypted or signed. Whoever calls this has the data of the clients that it measures.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from proofs.errors import Misuse
from protocols.policy import STATISTIC, Policy, WeightRule
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model, initial_state, step_by
from protocols.weights import weight_of
from verifl.config import Config, UpdateConfig
from verifl.enrolment.policies import enrol
from verifl.progress import Progress
from verifl.strategies.weights import WeightsConfig, mapped, weighs, weight_rule
from verifl.tasks.base import StatefulTask, Task
from verifl.tasks.loading import checked_task, client_names
from verifl.tasks.user_code import ClientFailed
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorLayout, check_finite, tensor_filter
from verifl.training.update import l2_norm


@dataclass(frozen=True)
class MeasuredTensor:
    """A travelling tensor: how many coordinates it has, and whether it is a statistic."""

    name: str
    size: int
    statistic: bool


@dataclass(frozen=True)
class MeasuredTurn:
    """One client's update in one round, in the model's units: by tensor its L2 norm, and its largest coordinate; of
    weight 1. weight: by what it counted in the mean; None where all count alike."""

    round: int
    client: str
    norms: tuple[float, ...]
    peaks: tuple[float, ...]
    weight: int | None = None


@dataclass(frozen=True)
class WeighedClient:
    """A client's longest update: its weight w, the share of that in its round, and the norm of w times the update."""

    client: str
    weight: int
    share: float
    norm: float


@dataclass(frozen=True)
class Measurement:
    """Every turn of the rounds, and the metrics of the model before them and after the last."""

    tensors: tuple[MeasuredTensor, ...]
    turns: tuple[MeasuredTurn, ...]
    initial: Mapping[str, float]
    reached: Mapping[str, float]

    @property
    def dimension(self) -> int:
        """d."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def norms(self) -> Doubles:
        """(turns, tensors)."""
        return np.array([turn.norms for turn in self.turns])

    @property
    def peaks(self) -> Doubles:
        """(turns, tensors)."""
        return np.array([turn.peaks for turn in self.turns])

    def lengths(self, scales: Mapping[str, float]) -> Doubles:
        """The norm of every update, each tensor divided by its scale, (turns,); a tensor that is not named has 1."""
        lengths: Doubles = np.sqrt(np.sum((self.norms / self._divisors(scales)) ** 2, axis=1))
        return lengths

    def largest_coordinates(self, scales: Mapping[str, float]) -> Doubles:
        """The largest coordinate of every update, divided likewise, (turns,)."""
        largest: Doubles = np.max(self.peaks / self._divisors(scales), axis=1)
        return largest

    def weighed(self, scales: Mapping[str, float]) -> tuple[WeighedClient, ...]:
        """Each client's update that comes nearest to its bound, divided likewise; heaviest first. None where all count
        alike."""
        totals: Counter[int] = Counter()
        for turn in self.turns:
            totals[turn.round] += turn.weight or 0
        longest: dict[str, tuple[float, MeasuredTurn]] = {}
        for length, turn in zip(self.lengths(scales).tolist(), self.turns, strict=True):
            if turn.weight is not None and (turn.client not in longest or length > longest[turn.client][0]):
                longest[turn.client] = length, turn
        found = [
            WeighedClient(turn.client, turn.weight, turn.weight / totals[turn.round], turn.weight * length)
            for length, turn in longest.values()
            if turn.weight is not None
        ]
        return tuple(sorted(found, key=lambda each: -each.weight))

    def _divisors(self, scales: Mapping[str, float]) -> Doubles:
        return np.array([scales.get(tensor.name, 1.0) for tensor in self.tensors])

    def to_dict(self) -> dict[str, Any]:
        """As the file beside the configuration has it."""
        return {
            "tensors": [[tensor.name, tensor.size, tensor.statistic] for tensor in self.tensors],
            "turns": [
                [turn.round, turn.client, list(turn.norms), list(turn.peaks), turn.weight] for turn in self.turns
            ],
        }


def measure(
    task: Task[Any] | StatefulTask[Any],
    config: Config,
    rounds: int,
    device: str,
    progress: Progress,
    clients: Sequence[str] = (),
) -> Measurement:
    """Train `rounds` rounds of these clients (of all, where none is named) by the configuration's server rule and its
    weights. Raises Misuse where the task fails or does not say what data weigh, or a client is none of the task's."""
    checked = checked_task(task, "task")
    everybody = client_names(checked)
    for name in clients:
        if name not in everybody:
            raise Misuse(f"--client: the task has no client {name!r}; it has {', '.join(everybody)}")
    training = LocalTraining(checked, tensor_filter(config), device, config.federation.seed, weighs(config.weights))
    policy, rule = _policy(config, training, everybody), weight_rule(config.weights)
    state = initial_state(policy, training.initial())
    turns: list[MeasuredTurn] = []
    before = training.evaluate(state.model)
    for number in range(1, rounds + 1):
        asked = tuple(clients) or everybody
        deltas = [_turn(training, rule, name, number, state.model, turns, progress) for name in asked]
        made = [delta for delta in deltas if delta is not None]
        if not made:
            raise Misuse(f"round {number}: the turns of all clients failed, so there is nothing to measure")
        weights = [weight_of(turn.weight) for turn in turns[-len(made) :]]
        state = step_by(policy, state, np.average(made, axis=0, weights=weights), number)
    return Measurement(_tensors(training.layout), tuple(turns), before, training.evaluate(state.model, rounds))


def _policy(config: Config, training: LocalTraining, clients: Sequence[str]) -> Policy:
    """By which the rounds step; its bounds bound nothing here, so they are the simplest."""
    plain = config.model_copy(update={"update": UpdateConfig(clip_norm=1.0), "weights": WeightsConfig()})
    layout = training.layout
    initial = encode_model(training.initial())
    return enrol(plain, layout.specs, layout.dimension, clients, initial, os.urandom).policy


def _turn(
    training: LocalTraining,
    rule: WeightRule,
    client: str,
    number: int,
    model: Doubles,
    turns: list[MeasuredTurn],
    progress: Progress,
) -> Doubles | None:
    """The client's update; None, after a note, where its turn fails."""
    progress.stage(f"round {number}: {client} trains")
    try:
        before, after = training.train(client, model, number)
        check_finite(after, training.layout, f"client {client}")
    except ClientFailed as error:
        progress.note(f"round {number}: {client} is left out: {error}")
        return None
    delta = after - before
    slices = [where for _, where in training.layout.slices()]
    norms = tuple(l2_norm(delta[where]) for where in slices)
    peaks = tuple(float(np.abs(delta[where]).max(initial=0.0)) for where in slices)
    measured = training.measured(client)
    turns.append(MeasuredTurn(number, client, norms, peaks, None if measured is None else mapped(measured, rule)))
    return delta


def _tensors(layout: TensorLayout) -> tuple[MeasuredTensor, ...]:
    return tuple(
        MeasuredTensor(spec.name, where.stop - where.start, spec.role == STATISTIC) for spec, where in layout.slices()
    )


def measurement_path(config: Path) -> Path:
    """Where the measurement of a configuration is kept: beside it."""
    return config.with_suffix(".measured.json")


def read_measurement(path: Path) -> Measurement | None:
    """The measurement in a file, without metrics; None where there is no file. Raises Misuse for one that is none."""
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_bytes())
        tensors = tuple(MeasuredTensor(str(name), int(size), bool(kind)) for name, size, kind in document["tensors"])
        turns = tuple(
            MeasuredTurn(int(number), str(client), tuple(map(float, norms)), tuple(map(float, peaks)), weight)
            for number, client, norms, peaks, weight in document["turns"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Misuse(f"{path}: expected what `verifl measure --write` wrote; remove it, or measure again") from error
    if not turns or any(len(turn.norms) != len(tensors) or len(turn.peaks) != len(tensors) for turn in turns):
        raise Misuse(f"{path}: expected norms of every tensor in every turn; remove it, or measure again")
    return Measurement(tensors, turns, {}, {})
