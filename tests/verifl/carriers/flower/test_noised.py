"""Under a policy with noise nothing of private data leaves a node without it, unless the node says they are public."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proofs.errors import Misuse
from tests.required import needs

pytestmark = pytest.mark.organisations
needs("flwr")  # before anything imports it, so all that is below is late: E402

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict  # noqa: E402
from flwr.serverapp.strategy import FedAvg  # noqa: E402

from tests.verifl.carriers.flower.table import NAMES, Net, Table  # noqa: E402
from verifl.carriers.flower import courier, running  # noqa: E402
from verifl.carriers.flower.messages import ANSWERED, ASKED, REFUSED  # noqa: E402
from verifl.carriers.flower.simulation import enrol_simulation  # noqa: E402
from verifl.config import Config  # noqa: E402
from verifl.flower import Verified  # noqa: E402

PUBLIC = {"verifl-public-data": True}
Wide = partial(Net, 100)


def enrolled(folder: Path, **tables: Any) -> Table:
    """Three clients, of whom a cohort needs two, with noise."""
    privacy = {"epsilon": 8.0, "delta": 1e-5}
    told = {"trustees": {"count": 3, "threshold": 2, "corrupt": 0}, "limits": {"min_cohort": 2}, "privacy": privacy}
    enrol_simulation(folder, Wide, 3, Config.of(**told, **tables))
    (folder / "config.toml").write_text(
        "[deadlines]\nclients = 60\ntrustees = 1.0\nquorum = 0\npoll = 0.02\ngive_up = 60\n"
    )
    return Table(folder, Wide)


def test_a_policy_that_would_be_refused_is_not_written(tmp_path: Path) -> None:
    folder, privacy = tmp_path / "federation", {"epsilon": 100.0, "delta": 1e-5}
    told = {"trustees": {"count": 3, "threshold": 2, "corrupt": 0}, "limits": {"min_cohort": 2}, "privacy": privacy}
    with pytest.raises(Misuse):
        enrol_simulation(folder, Wide, 3, Config.of(**told))
    assert not folder.exists()


@pytest.fixture(scope="module")
def noised(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return enrolled(tmp_path_factory.mktemp("noised") / "federation")


def verified(table: Table, strategy: FedAvg, **said: Any) -> Verified:
    return Verified(strategy, Context(1, 1, {}, RecordDict(), {"verifl-coordinator": str(table.folder)}), **said)


def evaluated(table: Table, **node: Any) -> Message:
    """What the node of client-1 answers to a plain question for metrics."""
    content = RecordDict({"arrays": ArrayRecord(Wide().state_dict()), "config": ConfigRecord({})})
    message = Message(content, dst_node_id=11, message_type="evaluate")
    message.metadata.__dict__["_message_id"] = "m"
    return table.app.app(message, Context(1, 11, {**table.grid.nodes[11], **node}, RecordDict(), {}))


def test_a_node_gives_no_metrics_of_private_data(noised: Table, capfd: pytest.CaptureFixture[str]) -> None:
    answer = evaluated(noised, **{"verifl-evaluate": True})
    assert (answer.error.code, answer.error.reason) == (REFUSED, "refuses: noise")
    said = capfd.readouterr().err
    assert "noise: expected nothing of private data but under noise; verifl-public-data=true in the node's" in said
    assert "found metrics of evaluate()" in said
    assert evaluated(noised, **PUBLIC).error.reason == "refuses: plain"  # that data are public asks for nothing


def test_a_node_whose_data_are_public_gives_them(noised: Table) -> None:
    answer = evaluated(noised, **{"verifl-evaluate": True}, **PUBLIC)
    assert answer.content["metrics"]["num-examples"] == 17


def test_a_node_without_its_policy_gives_none(noised: Table, tmp_path: Path) -> None:
    answer = evaluated(noised, **{"verifl-evaluate": True, "verifl-policy": str(tmp_path / "none")}, **PUBLIC)
    assert answer.error.reason == "cannot take part; this node's log says why"


def test_a_strategy_that_asks_for_metrics_is_refused_before_the_first_round(noised: Table) -> None:
    with pytest.raises(Misuse, match=r"^strategy: FedAvg with evaluate=True: the policy has noise, and metrics of "):
        verified(noised, FedAvg(fraction_evaluate=0.5), weighting="equal", evaluate=True)
    verified(noised, FedAvg(fraction_evaluate=0.5), weighting="equal", evaluate=True, public_data=True)
    verified(noised, FedAvg(fraction_evaluate=0.0), weighting="equal")


def test_a_node_states_no_weight_of_private_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The others, whose data are public, are summed; nothing is proved or trained where it would not be sent."""
    weights = {"weights": {"kind": "declared", "largest": 64, "unit": 1.0}, "task": {"name": "digits"}}
    table = enrolled(tmp_path / "federation", **weights)
    with pytest.raises(Misuse, match=r"^strategy: FedAvg weights clients by 'num-examples': the policy has noise"):
        verified(table, FedAvg(fraction_evaluate=0.0))
    for node in (12, 13):
        table.grid.nodes[node] |= PUBLIC
    replies: list[Message] = []

    def keep(node: int, question: Message, reply: Message) -> Message:
        replies.append(reply)
        return reply

    table.grid.deliver = keep
    table.start(verified(table, FedAvg(fraction_evaluate=0.0), public_data=True), 1)
    assert table.accepted()
    assert table.submitted() == [list(NAMES[1:])]
    assert len(table.app.seen) == 2
    assert {each.error.reason for each in replies if each.has_error()} == {"refuses: noise"}
    assert all(set(each.content) <= {ASKED, ANSWERED} for each in replies if each.has_content())
    assert "found weights by 'num-examples'" in capfd.readouterr().err


def test_a_training_that_fails_is_answered_like_any_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """By the update zero: neither an error nor a missing client says to the coordinator what the data made of it."""
    table = enrolled(tmp_path / "federation")
    words = str(tmp_path) + " patient 4711"

    def leave(message: Message) -> ArrayRecord:
        raise SystemExit(words)

    def shrink(message: Message) -> ArrayRecord:
        return ArrayRecord({"layer.weight": Array(np.zeros((1, 2), dtype=np.float32))})

    def keep_words(message: Message) -> ArrayRecord:
        return ArrayRecord({**table.app.move(message), "notes": Array(np.array([words]))})

    turns = [leave, shrink, keep_words]

    def fail(message: Message) -> ArrayRecord:
        return turns.pop()(message)

    table.app.train = fail
    replies: list[Message] = []

    def keep(node: int, question: Message, reply: Message) -> Message:
        replies.append(reply)
        return reply

    table.grid.deliver = keep
    table.start(verified(table, FedAvg(fraction_evaluate=0.0), weighting="equal"), 1)
    assert table.accepted()
    assert table.submitted() == [list(NAMES)]
    assert not [each for each in replies if each.has_error()]
    assert capfd.readouterr().err.count("update-zero") == 3


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between two questions are short."""
    for module, name in ((courier, "_PAUSE"), (courier, "_SILENCE"), (running, "_LEAVE")):
        monkeypatch.setattr(module, name, 0.2)
