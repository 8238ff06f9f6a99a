"""A federation over Flower in one process: its directory, its application, and a node for each client."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp.strategy import FedAvg, Result
from torch import nn

from auditor.auditing import audit
from tests.verifl.carriers.flower.direct import DirectGrid
from verifl.flower import Verified, verified

NAMES = ("client-1", "client-2", "client-3")


class Net(nn.Module):
    """Four coordinates, or one more than `inputs`, and a counter that stays with each client."""

    def __init__(self, inputs: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, 1)
        self.register_buffer("turns", nn.Parameter(requires_grad=False, data=torch.zeros(1, dtype=torch.int64)))


class App:
    """What the application does, and what it saw."""

    def __init__(self) -> None:
        self.seen: list[dict[str, np.ndarray[Any, Any]]] = []
        self.train: Callable[[Message], ArrayRecord] = self.move
        self.app = ClientApp(mods=[verified])
        self.app.train()(self._train)
        self.app.evaluate()(self._evaluate)

    def move(self, message: Message) -> ArrayRecord:
        arrays = {name: array.numpy() for name, array in message.content["arrays"].items()}
        self.seen.append(arrays)
        moved = {"layer.weight": arrays["layer.weight"] + np.float32(0.25), "layer.bias": arrays["layer.bias"]}
        return ArrayRecord({name: Array(each) for name, each in {**moved, "turns": arrays["turns"] + 1}.items()})

    def _train(self, message: Message, context: Context) -> Message:
        metrics = MetricRecord({"num-examples": 17, "secret": 0.5})
        return Message(RecordDict({"arrays": self.train(message), "metrics": metrics}), reply_to=message)

    def _evaluate(self, message: Message, context: Context) -> Message:
        return Message(RecordDict({"metrics": MetricRecord({"num-examples": 17})}), reply_to=message)


class Table:
    """A federation in one directory, with a node for each client; net: makes the application's model."""

    def __init__(self, folder: Path, net: Callable[[], Net] = Net) -> None:
        self.folder, self.app, self.net = folder, App(), net
        nodes = {
            number: {
                "verifl-state": str(self.home(name)), "verifl-policy": str(folder / "policy.cbor"),
                "verifl-public": str(folder / "public"),
            }
            for number, name in enumerate(NAMES, 11)
        }  # fmt: skip
        self.grid = DirectGrid(self.app.app, nodes)

    def home(self, name: str) -> Path:
        return self.folder / "parties" / name

    def run(self, rounds: int, **settings: Any) -> Result:
        context = Context(1, 1, {}, RecordDict(), {"verifl-coordinator": str(self.folder)})
        return self.start(Verified(FedAvg(fraction_evaluate=0.0), context, weighting="equal"), rounds, **settings)

    def start(self, strategy: Verified, rounds: int, **settings: Any) -> Result:
        return strategy.start(self.grid, ArrayRecord(self.net().state_dict()), num_rounds=rounds, **settings)

    def accepted(self) -> bool:
        return audit(self.folder / "public" / "transcript", self.folder / "policy.cbor").accepted

    def submitted(self) -> list[list[str]]:
        lines = (self.folder / "state" / "metrics.jsonl").read_text().splitlines()
        return [sorted(each["submitted"]) for each in map(json.loads, lines) if each["round"]]
