"""What a train() that takes a `turn` is told."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from proofs.errors import Misuse
from verifl import Turn
from verifl.tasks.loading import checked_task
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorFilter


class Plain:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def clients(self) -> list[str]:
        return ["a", "b"]

    def model(self) -> nn.Module:
        return nn.Linear(1, 1)

    def data(self, client: str) -> None:
        return None

    def train(self, model: nn.Module, client: str, data: None) -> None:
        self.told.append(())

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


class Told(Plain):
    def train(self, model: nn.Module, client: str, data: None, turn: Turn) -> None:
        self.told.append(turn)


class Both(Plain):
    def train(self, model: nn.Module, client: str, data: None, *, turn: Turn, state: dict[str, Any]) -> None:
        self.told.append((turn, dict(state)))
        state["seen"] = turn.round


class Other(Plain):
    def train(self, model: nn.Module, client: str, data: None, more: int) -> None:
        raise AssertionError


def trained(task: Plain, rounds: int | None = 7) -> list[Any]:
    training = LocalTraining(checked_task(task, "here"), TensorFilter(), "cpu", seed=3, rounds=rounds)
    for number in (1, 4):
        training.train("a", training.initial(), number)
    return task.told


def test_a_train_without_it_is_called_as_ever() -> None:
    assert trained(Plain()) == [(), ()]


def test_what_it_is_told() -> None:
    assert trained(Told()) == [Turn(1, 7, 3, "cpu"), Turn(4, 7, 3, "cpu")]
    assert trained(Told(), rounds=None)[0] == Turn(1, None, 3, "cpu")


def test_beside_its_state() -> None:
    assert trained(Both()) == [(Turn(1, 7, 3, "cpu"), {}), (Turn(4, 7, 3, "cpu"), {"seen": 1})]


def test_another_argument_is_refused_before_anybody_trains() -> None:
    with pytest.raises(Misuse, match="`state` and `turn` if it likes"):
        checked_task(Other(), "here")
