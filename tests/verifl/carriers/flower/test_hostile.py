"""What strangers send: nodes that forge what Flower decodes, or never end; applications that nobody agreed to."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from proofs.errors import Malformed, Misuse, Rejected
from tests.required import needs

pytestmark = pytest.mark.organisations
needs("flwr")  # before anything imports it, so all that is below is late: E402

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict  # noqa: E402
from flwr.serverapp.strategy import FedAvg  # noqa: E402
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects  # noqa: E402
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents  # noqa: E402

from tests.verifl.carriers.flower.table import Table  # noqa: E402
from verifl.carriers.flower import apps, pulling  # noqa: E402
from verifl.carriers.flower.apps import APPS, check_app, check_pinned, guard, pinned_apps  # noqa: E402
from verifl.carriers.flower.messages import ANSWERED, ASKED, REFUSED, answered, reply  # noqa: E402
from verifl.flower import Verified  # noqa: E402

# ---- what Flower decodes before anybody can look at it ----


class Objects(dict[str, bytes]):
    """A reply as it travels: its objects, by hash, from which the coordinator's Flower makes a message again."""

    def __init__(self, message: Message) -> None:
        super().__init__({name: each.deflate() for name, each in get_all_nested_objects(message).items()})
        self.root = message.object_id

    def named(self, kind: str) -> str:
        """The first object of a class."""
        return next(name for name, data in self.items() if data.startswith(kind.encode() + b" "))

    def body(self, kind: str, change: Callable[[bytes], bytes]) -> None:
        """Another body of the first object of a class, under its old name."""
        name = self.named(kind)
        head, _, body = self[name].partition(b"\x00")
        new = change(body)
        self[name] = b" ".join([*head.split(b" ")[:2], str(len(new)).encode()]) + b"\x00" + new

    def inflate(self) -> Message:
        """As `HttpGrid.pull_messages` does it."""
        message = inflate_object_from_contents(self.root, dict(self))
        message.metadata.__dict__["_message_id"] = "m"
        assert isinstance(message, Message)
        return message


def other(entry: str, value: object) -> Callable[[bytes], bytes]:
    return lambda body: json.dumps({**json.loads(body), entry: value}).encode()


FORGED: dict[str, Callable[[Objects], object]] = {
    "no message": lambda each: setattr(each, "root", each.named("RecordDict")),
    "no protobuf": lambda each: each.body("Message", lambda _: b"\xff" * 40),
    "a configuration of other bytes": lambda each: each.body("ConfigRecord", lambda _: b"\xff" * 40),
    "no JSON": lambda each: each.body("RecordDict", lambda _: b"\xff"),
    "JSON without end": lambda each: each.body("RecordDict", lambda _: b"[" * 200_000),
    "of records a list": lambda each: each.body("RecordDict", lambda _: b"[]"),
    "records that are not there": lambda each: each.body("RecordDict", other("more", "0" * 64)),
    "an array of chunks that are not there": lambda each: each.body("Array", other("arraychunk_ids", [7])),
    "an array without a shape": lambda each: each.body("Array", other("shape", None)),
    "an array of words": lambda each: each.body("Array", other("shape", ["x"] * 5)),
    "an array of another class": lambda each: each.body("Array", other("stype", {"a": 1})),
    "an array of no type": lambda each: each.body("Array", other("dtype", 5)),
    "a body that ends early": lambda each: each.update({each.root: each[each.root][:-3]}),
    "of a class that is not there": lambda each: each.update({each.root: b"Nothing  0\x00"}),
    "without a head": lambda each: each.update({each.root: b""}),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
def test_a_reply_that_is_none_of_flowers_is_refused(forge: Callable[[Objects], object]) -> None:
    question = Message(RecordDict(), dst_node_id=11, message_type="train")
    objects = Objects(reply(question, bytes(range(256))))
    assert answered(objects.inflate(), 1000) == bytes(range(256))
    forge(objects)
    grid = SimpleNamespace(pull_messages=lambda names: [objects.inflate()])
    with pytest.raises(Malformed):
        answered(pulling.Puller(grid).pull(11, "m")[0], 1000)


def test_a_failed_connection_is_no_nodes_fault() -> None:
    def fail(names: list[str]) -> list[Message]:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        pulling.Puller(SimpleNamespace(pull_messages=fail)).pull(11, "m")


def test_a_forged_reply_costs_the_node_its_part_and_nobody_else_anything(
    table: Table, capfd: pytest.CaptureFixture[str]
) -> None:
    def forge(node: int, question: Message, answer: Message) -> Message:
        if node != 12:
            return answer
        objects = Objects(answer)
        objects.body("RecordDict", lambda _: b"[" * 200_000)
        return objects.inflate()

    table.grid.deliver = forge
    table.run(1)
    assert table.accepted()
    assert table.submitted() == [["client-1", "client-3"]]
    refused = [line for line in capfd.readouterr().err.splitlines() if "refused what node 12 sent" in line]
    assert len(refused) == 4  # three answers, and the thanks at the end
    assert all("expected a message of Flower, found RecursionError" in line for line in refused)


def test_a_reply_that_never_ends_keeps_nobody_waiting(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "_AT_ONCE", 0.5)
    (table.folder / "config.toml").write_text(
        "[deadlines]\nclients = 1\ntrustees = 1.0\nquorum = 0\npoll = 0.02\ngive_up = 60\n"
    )
    ended, dripping = threading.Event(), []

    def drip(node: int, question: Message, answer: Message) -> Message:
        if node == 12 and ANSWERED in answer.content:
            dripping.append(threading.current_thread())
            ended.wait(120)
        return answer

    table.grid.deliver = drip
    try:
        table.run(2)
    finally:
        ended.set()
    assert table.accepted()
    assert table.submitted() == [["client-1", "client-3"]] * 2
    assert len(dripping) == 1  # while one of its replies is on the way, no other is pulled


# ---- arrays that numpy would believe ----


def npy(text: str, values: bytes, version: bytes = b"\x01\x00") -> bytes:
    """A file of numpy with this header."""
    head = text.encode() + b"\n"
    return b"\x93NUMPY" + version + len(head).to_bytes(2, "little") + head + values


@pytest.mark.parametrize(
    "data",
    [
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000,), }", bytes(5)),
        npy("-" * 3000 + "1", bytes(5)),
        npy("[" * 3000, bytes(5)),
        npy("{'descr': '|O', 'fortran_order': False, 'shape': (5,), }", bytes(5)),
        npy("{'descr': '|u1', 'fortran_order': True, 'shape': (5,), }", bytes(5)),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", bytes(5), version=b"\x03\x00"),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", bytes(4)),
        npy("{'descr': '|u1', 'fortran_order': False, 'shape': (5,), }", bytes(6)),
        b"\x93NUMPY\x01\x00\xff\xff" + bytes(5),
        b"PK\x03\x04" + bytes(20),
        bytes(3),
        b"",
    ],
)
def test_an_array_is_read_as_bytes_and_nothing_in_it_is_believed(data: bytes) -> None:
    message = reply(Message(RecordDict(), dst_node_id=11, message_type="train"), b"right")
    message.content[ANSWERED]["000000"] = Array("uint8", (5,), "numpy.ndarray", data)
    with pytest.raises(Malformed, match=r"verifl\.answer\.000000: expected 5 bytes"):
        answered(message, 100)


def test_what_numpy_writes_is_read() -> None:
    for size in (1, 63, 64, 4097):
        values = np.arange(size, dtype=np.uint8)
        message = reply(Message(RecordDict(), dst_node_id=11, message_type="train"), values.tobytes())
        message.content[ANSWERED]["000000"] = Array(values)
        assert answered(message, 1 << 20) == values.tobytes()


# ---- questions that a coordinator never asks ----


def said(table: Table, message: Message) -> tuple[int, str]:
    """The code and the reason of a refusal of client-1's node."""
    answer = asked_again(table, message)
    return answer.error.code, answer.error.reason


def asked_again(table: Table, message: Message) -> Message:
    """What client-1's node answers."""
    message.metadata.__dict__["_message_id"] = "m"
    return table.app.app(message, Context(1, 11, table.grid.nodes[11], RecordDict(), {}))


def test_a_message_that_is_an_error_is_no_question(table: Table) -> None:
    question = Message(RecordDict(), dst_node_id=11, message_type="train")
    message = Message(Error(5, "Node Unavailable"), reply_to=question)
    assert said(table, message) == (REFUSED, "refuses: question")


def test_a_right_proposal_in_a_message_of_evaluation_trains_nobody(table: Table) -> None:
    table.run(1)
    asked = next(each for each in table.grid.sent if each.content[ASKED]["proposal"])
    table.app.seen.clear()
    again = Message(RecordDict(dict(asked.content.items())), dst_node_id=11, message_type="evaluate")
    assert said(table, again) == (REFUSED, "refuses: question")
    assert not table.app.seen


@pytest.mark.parametrize(
    "changed",
    [{"version": 2}, {"version": "1"}, {"proposal": "text"}, {"proposal": bytes(1 << 24)}, {"arrays-key": [1.0]}],
)
def test_each_part_of_a_question_is_of_its_type_and_size(changed: dict[str, Any], table: Table) -> None:
    record = ConfigRecord({"version": 1, "proposal": b"", "arrays-key": "arrays", **changed})
    message = Message(RecordDict({ASKED: record}), dst_node_id=11, message_type="train")
    assert said(table, message) == (REFUSED, "refuses: malformed")


def test_questions_that_come_again_or_at_another_node_get_nothing_new(table: Table) -> None:
    """Whoever runs the SuperLink has all questions of all rounds, and gives them to whom it likes."""
    questions: list[Message] = []
    own: dict[int, bytes] = {}
    stale: list[tuple[int, str]] = []
    moved: list[bytes] = []

    def operate(node: int, question: Message, answer: Message) -> Message:
        if ANSWERED not in answer.content:
            return answer
        own[node] = answered(answer, 1 << 30)
        if len(questions) == 5:  # the last of the second round
            stale.extend(said(table, again(each)) for each in questions[:3])
            moved.append(answered(asked_again(table, again(question)), 1 << 30))
        questions.append(question)
        return answer

    table.grid.deliver = operate
    table.run(2)
    assert table.accepted()
    assert len(table.app.seen) == 6
    assert stale == [(REFUSED, "refuses: round")] * 3
    assert moved == [own[11]]  # what was asked of another, client-1 answers as itself, and as before
    assert {said(table, again(each)) for each in questions} == {(REFUSED, "refuses: order")}
    assert len(table.app.seen) == 6


def again(question: Message) -> Message:
    """To client-1's node."""
    return Message(RecordDict(dict(question.content.items())), dst_node_id=11, message_type="train")


# ---- metrics that nodes say in the clear ----


@pytest.mark.parametrize("content", [{}, {"metrics": ConfigRecord({"x": "y"})}, {"arrays": ArrayRecord()}])
def test_metrics_that_cannot_be_read_keep_no_round_from_going_on(
    content: dict[str, Any], table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forge(node: int, question: Message, answer: Message) -> Message:
        is_metric = ASKED not in question.content
        return Message(RecordDict(content), reply_to=question) if is_metric and node == 12 else answer

    class Fragile(FedAvg):
        def aggregate_evaluate(self, server_round: int, replies: Any) -> Any:
            return sum(each.content["metrics"]["num-examples"] for each in replies)

    for node in table.grid.nodes.values():
        node["verifl-evaluate"] = True
    table.grid.deliver = forge
    context = Context(1, 1, {}, RecordDict(), {"verifl-coordinator": str(table.folder)})
    strategy = Verified(Fragile(), context, weighting="equal", evaluate=True)
    table.start(strategy, 1)
    assert table.accepted()


# ---- applications that a hospital did not name ----


def shipped(content: bytes, **changed: str) -> tuple[Any, Any]:
    """Run and application, as a SuperLink says them."""
    said = {"fab_id": "verifl/digits", "fab_version": "1.0.0", "hash_str": hashlib.sha256(content).hexdigest()}
    said |= changed
    run = SimpleNamespace(fab_id=said["fab_id"], fab_version=said["fab_version"])
    return run, SimpleNamespace(content=content, hash_str=said["hash_str"])


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A node that lets two applications run."""
    monkeypatch.setattr(apps, "_compared", set())
    return {APPS: ":".join(hashlib.sha256(each).hexdigest() for each in (b"one", b"two"))}


def test_only_what_the_node_names_is_unpacked(node: dict[str, str]) -> None:
    unpacked: list[bytes] = []

    def runtime(run: Any, app: Any) -> SimpleNamespace:
        """Flower's module, as far as it is used."""
        given = SimpleNamespace(
            pull_task_input=lambda client: ("message", SimpleNamespace(node_config=node), run, app),
            install_from_fab=lambda content, skip_prompt: unpacked.append(content),
        )
        guard(given)
        assert given.pull_task_input("client")[3] is app
        given.install_from_fab(app.content, skip_prompt=True)
        return given

    for content in (b"one", b"two"):
        runtime(*shipped(content))
    with pytest.raises(Rejected, match="app: expected one of verifl-apps in the node's configuration, found "):
        runtime(*shipped(b"three"))
    assert unpacked == [b"one", b"two"]


@pytest.mark.parametrize(
    "changed",
    [{"hash_str": "0" * 64}, {"fab_version": "1/../../../tmp/x"}, {"fab_id": "verifl/../x"}, {"fab_id": "../x"}],
)
def test_the_directory_that_is_called_is_that_of_what_was_compared(
    changed: dict[str, str], node: dict[str, str]
) -> None:
    with pytest.raises(Rejected, match="app: expected the name and hash of "):
        check_app(node, *shipped(b"one", **changed))


def test_a_node_whose_path_was_forgotten_says_so(node: dict[str, str]) -> None:
    with pytest.raises(Misuse, match="put verifl-clientapp in its place"):
        check_pinned(node)
    check_app(node, *shipped(b"one"))
    check_pinned(node)
    check_app({}, *shipped(b"three"))  # who names none has Flower's own behaviour
    assert pinned_apps({}) is None


@pytest.mark.parametrize("value", ["", "abc", "A" * 64, f"{'0' * 64}:", True, 5])
def test_what_are_no_hashes(value: object) -> None:
    with pytest.raises(Misuse, match="verifl-apps: expected SHA-256"):
        pinned_apps({APPS: value})


def test_another_flower_is_told_at_once() -> None:
    with pytest.raises(Misuse, match="of this version of Flower is another"):
        guard(SimpleNamespace(pull_task_input=print))


def test_this_flower_is_the_one_that_it_was_made_for() -> None:
    import importlib

    module = importlib.import_module(apps._RUNTIME)
    assert callable(module.pull_task_input)
    assert callable(module.install_from_fab)
