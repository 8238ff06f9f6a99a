"""The strategy and the mod with each other, in one process: what is lost, forged, refused, or asked for twice."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.auditing import audit
from proofs.errors import Malformed, Misuse, Rejected
from tests.required import needs

pytestmark = pytest.mark.organisations
needs("flwr")

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402
from flwr.serverapp.strategy import FedAvg, Result  # noqa: E402
from torch import nn  # noqa: E402

from tests.verifl.carriers.flower.direct import DirectGrid, trustees  # noqa: E402
from verifl.carriers.flower.messages import (  # noqa: E402
    ANSWERED,
    ASKED,
    CHUNK,
    DROPPED_OUT,
    MISCONFIGURED,
    REFUSED,
    answered,
    reply,
)
from verifl.carriers.flower.simulation import enrol_simulation  # noqa: E402
from verifl.flower import Verified, verified  # noqa: E402

NAMES = ("client-1", "client-2", "client-3")


class Net(nn.Module):
    """Four coordinates, and a counter that stays with each client."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.register_buffer("turns", nn.Parameter(requires_grad=False, data=_zero()))


def _zero() -> Any:
    import torch

    return torch.zeros(1, dtype=torch.int64)


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
    """A federation in one directory, with a node for each client."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.app = folder, App()
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
        strategy = Verified(FedAvg(fraction_evaluate=0.0), context, weighting="equal")
        return strategy.start(self.grid, ArrayRecord(Net().state_dict()), num_rounds=rounds, **settings)

    def accepted(self) -> bool:
        return audit(self.folder / "public" / "transcript", self.folder / "policy.cbor").accepted

    def submitted(self) -> list[list[str]]:
        import json

        lines = (self.folder / "state" / "metrics.jsonl").read_text().splitlines()
        return [sorted(each["submitted"]) for each in map(json.loads, lines) if each["round"]]


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("enrolled") / "federation"
    enrol_simulation(folder, Net, 3)
    (folder / "config.toml").write_text(
        "[deadlines]\nclients = 60\ntrustees = 1.0\nquorum = 0\npoll = 0.02\ngive_up = 60\n"
    )
    return folder


@pytest.fixture
def table(enrolled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    """Pauses between two questions are short."""
    from verifl.carriers.flower import courier, running

    for module, name in ((courier, "_PAUSE"), (courier, "_SILENCE"), (running, "_LEAVE")):
        monkeypatch.setattr(module, name, 0.2)
    folder = tmp_path / "federation"
    shutil.copytree(enrolled, folder)
    yield Table(folder)


def test_clients_train_from_the_verified_model_and_nothing_else_leaves(table: Table) -> None:
    told: list[int] = []

    def evaluate(number: int, arrays: ArrayRecord) -> MetricRecord:
        told.append(number)
        return MetricRecord({"weight": float(arrays["layer.weight"].numpy().sum())})

    replies: list[Message] = []

    def keep(node: int, question: Message, reply: Message) -> Message:
        replies.append(reply)
        return reply

    table.grid.deliver = keep
    result = table.run(2, evaluate_fn=evaluate, train_config=ConfigRecord({"lr": 0.5}))
    assert table.accepted()
    assert told == [0, 1, 2]
    assert table.submitted() == [list(NAMES)] * 2
    weights = result.evaluate_metrics_serverapp
    assert weights[2]["weight"] - weights[0]["weight"] == pytest.approx(6 * 0.25, abs=1e-3)
    for question in table.grid.sent:
        assert not question.content.array_records  # no model goes down
        assert question.content.get("config", {"lr": 0.5})["lr"] == 0.5
    for each in replies:
        assert not each.content.metric_records
        assert set(each.content) <= {ASKED, ANSWERED}
    assert table.grid.most_held == 1
    turns = [int(seen["turns"][0]) for seen in table.app.seen]
    assert sorted(turns) == [0, 0, 0, 1, 1, 1]  # what does not travel is each client's own
    for name in NAMES:
        kept = sorted(path.name for path in (table.home(name) / "receipts").iterdir())
        assert kept == ["round-1.cbor", "round-2.cbor"]
        assert (table.home(name) / "model.safetensors").exists()


def test_a_reply_that_is_lost_is_asked_for_again_and_has_the_same_bytes(table: Table) -> None:
    sent: dict[int, list[bytes]] = {}

    def lose(node: int, question: Message, reply: Message) -> Message | None:
        if ANSWERED not in reply.content:
            return reply
        sent.setdefault(node, []).append(answered(reply, 1 << 30))
        if len(sent[node]) > 1:
            return reply
        if node == 11:
            return None  # with the node's memory, and nobody says so
        return Message(Error(5, "Node Unavailable"), reply_to=question) if node == 12 else reply

    table.grid.deliver = lose
    table.run(1)
    assert table.accepted()
    assert [len(sent[node]) for node in (11, 12, 13)] == [2, 2, 1]
    assert all(len(set(each)) == 1 for each in sent.values())
    assert len(table.app.seen) == 3  # nobody trained twice


def test_what_a_node_forges_is_refused_by_name(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    forged = [
        RecordDict({}),
        RecordDict({ASKED: ConfigRecord({"version": 2}), ANSWERED: ArrayRecord()}),
        RecordDict({ASKED: ConfigRecord({"version": 1, "size": 1 << 40}), ANSWERED: ArrayRecord()}),
    ]

    def forge(node: int, question: Message, reply: Message) -> Message:
        if node == 12 and forged and ANSWERED in reply.content:
            return Message(forged.pop(), reply_to=question)
        return reply

    table.grid.deliver = forge
    with pytest.raises(_Stopped):
        table.run(1, evaluate_fn=_stop_at(1))
    checks = [getattr(record, "fields", {}).get("check") for record in caplog.records]
    assert [check for check in checks if check] == ["oversized", "malformed", "malformed"]
    assert not forged


class _Stopped(Exception):
    pass


def _stop_at(number: int) -> Callable[[int, ArrayRecord], MetricRecord | None]:
    def evaluate(found: int, arrays: ArrayRecord) -> MetricRecord | None:
        if found == number:
            raise _Stopped
        return None

    return evaluate
