"""What was measured of updates: norms and largest coordinates by turn and tensor, and the file that keeps them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from proofs.errors import Misuse
from protocols.steps.doubles import Doubles
from verifl.enrolment.coordinate_groups import slice_name

Scales = float | tuple[float, ...]  # of a tensor, or of each of its coordinates


@dataclass(frozen=True)
class MeasuredTensor:
    """A travelling tensor, or a slice of one: how many coordinates it has, whether it is a statistic, at which
    coordinate of the tensor it starts, and how many that has (as many as the slice, where None).

    A statistic whose coordinates move by very different lengths is measured in slices.
    """

    name: str
    size: int
    statistic: bool
    start: int = 0
    whole: int | None = None

    @property
    def label(self) -> str:
        """The tensor's name, and which of its coordinates these are, where they are not all."""
        return slice_name(self.name, self.start, self.start + self.size, self.whole or self.size)


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
    """Every turn of the rounds, and the metrics of the model before them and after the last. data: the most that each
    client's data weighed, by the task; empty where they are not weighed. It is not kept in a file."""

    tensors: tuple[MeasuredTensor, ...]
    turns: tuple[MeasuredTurn, ...]
    initial: Mapping[str, float]
    reached: Mapping[str, float]
    data: Mapping[str, float] = field(default_factory=dict)

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

    def whole_sizes(self) -> dict[str, int]:
        """How many coordinates each tensor has, in their order."""
        return {tensor.name: tensor.whole or tensor.size for tensor in self.tensors}

    def by_tensor(self, scales: Mapping[str, float]) -> dict[str, Scales]:
        """Scales by label as scales by tensor, those of tensors that have no other than 1 left out."""
        slices: dict[str, list[MeasuredTensor]] = {}
        for tensor in self.tensors:
            slices.setdefault(tensor.name, []).append(tensor)
        found: dict[str, Scales] = {}
        for name, parts in slices.items():
            made = tuple(scales.get(part.label, 1.0) for part in parts for _ in range(part.size))
            if set(made) - {1.0}:
                found[name] = made[0] if len(set(made)) == 1 else made
        return found

    def lengths(self, scales: Mapping[str, float]) -> Doubles:
        """The norm of every update, each tensor divided by its scale, (turns,). scales: by `MeasuredTensor.label`, 1
        where it is not there."""
        lengths: Doubles = np.sqrt(np.sum((self.norms / self._divisors(scales)) ** 2, axis=1))
        return lengths

    def largest_coordinates(self, scales: Mapping[str, float]) -> Doubles:
        """The largest coordinate of every update, divided likewise, (turns,)."""
        largest: Doubles = np.max(self.peaks / self._divisors(scales), axis=1)
        return largest

    def weighed(self, lengths: Doubles) -> tuple[WeighedClient, ...]:
        """Each client's update that comes nearest to its bound, by `lengths` of all turns; heaviest first. None where
        all count alike."""
        totals: Counter[int] = Counter()
        for turn in self.turns:
            totals[turn.round] += turn.weight or 0
        longest: dict[str, tuple[float, MeasuredTurn]] = {}
        for length, turn in zip(lengths.tolist(), self.turns, strict=True):
            if turn.weight is not None and (turn.client not in longest or length > longest[turn.client][0]):
                longest[turn.client] = length, turn
        found = [
            WeighedClient(turn.client, turn.weight, turn.weight / totals[turn.round], turn.weight * length)
            for length, turn in longest.values()
            if turn.weight is not None
        ]
        return tuple(sorted(found, key=lambda each: -each.weight))

    def _divisors(self, scales: Mapping[str, float]) -> Doubles:
        return np.array([scales.get(tensor.label, 1.0) for tensor in self.tensors])

    def to_dict(self) -> dict[str, Any]:
        """As the file beside the configuration has it."""
        return {
            "tensors": [
                [tensor.name, tensor.size, tensor.statistic, tensor.start, tensor.whole] for tensor in self.tensors
            ],
            "turns": [
                [turn.round, turn.client, list(turn.norms), list(turn.peaks), turn.weight] for turn in self.turns
            ],
        }


OUTLIER = 4.0  # times the 90th percentile: what is longer is no usual update


def usual(values: Doubles) -> Doubles:
    """The largest of each column, but no more than `OUTLIER` times its 90th percentile where that is not 0."""
    largest, most = values.max(axis=0), OUTLIER * np.quantile(values, 0.9, axis=0)
    found: Doubles = np.where(most > 0, np.minimum(largest, most), largest)
    return found


def measurement_path(config: Path) -> Path:
    """Where the measurement of a configuration is kept: beside it."""
    return config.with_suffix(".measured.json")


def read_measurement(path: Path) -> Measurement | None:
    """The measurement in a file, without metrics; None where there is no file. Raises Misuse for one that is none."""
    if not path.is_file():
        return None
    try:
        document = json.loads(path.read_bytes())
        tensors = tuple(
            MeasuredTensor(str(name), int(size), bool(kind), int(start), None if whole is None else int(whole))
            for name, size, kind, start, whole in document["tensors"]
        )
        turns = tuple(
            MeasuredTurn(int(number), str(client), tuple(map(float, norms)), tuple(map(float, peaks)), weight)
            for number, client, norms, peaks, weight in document["turns"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Misuse(f"{path}: expected what `verifl measure --write` wrote; remove it, or measure again") from error
    if not turns or any(len(turn.norms) != len(tensors) or len(turn.peaks) != len(tensors) for turn in turns):
        raise Misuse(f"{path}: expected norms of every tensor in every turn; remove it, or measure again")
    return Measurement(tensors, turns, {}, {})
