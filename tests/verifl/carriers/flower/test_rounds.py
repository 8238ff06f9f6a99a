"""The strategy and the mod with each other, in one process: what is lost, forged, refused, or asked for twice."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols.encoding import decode, encode
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.rounds.answers import AnswerFile
from tests.required import needs
from tests.web import Authority, certificates, site

pytestmark = pytest.mark.organisations
needs("flwr")  # before anything imports it, so all that is below is late: E402

from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict  # noqa: E402
from flwr.clientapp import ClientApp  # noqa: E402

from protocols.key_files import read_key, write_key  # noqa: E402
from tests.verifl.carriers.flower.table import NAMES, Net, Table  # noqa: E402
from verifl.carriers.flower.messages import (  # noqa: E402
    ANSWERED,
    ASKED,
    BUSY,
    CHUNK,
    DROPPED_OUT,
    MISCONFIGURED,
    REFUSED,
    answered,
    reply,
)
from verifl.carriers.flower.node import OF_THE_NODE  # noqa: E402
from verifl.flower import verified  # noqa: E402


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


def test_a_reply_that_comes_after_the_node_was_asked_again_counts(table: Table) -> None:
    late: list[Message] = []

    def hold(node: int, question: Message, answer: Message) -> Message | None:
        if node != 13 or ANSWERED not in answer.content:
            return answer
        late.append(answer)
        if len(late) == 1:
            table.grid.hold(question, late[0], 3)  # looks
            return None
        return Message(Error(BUSY, "is at work"), reply_to=question)

    table.grid.deliver = hold
    table.run(1)
    assert table.accepted()
    assert table.submitted() == [list(NAMES)]


def test_what_a_node_forges_is_refused_by_name(table: Table, capfd: pytest.CaptureFixture[str]) -> None:
    right = ArrayRecord({"000000": Array(np.zeros(5, dtype=np.uint8))})
    forged = [
        RecordDict({}),
        RecordDict({ASKED: ConfigRecord({"version": 1, "size": 1 << 40}), ANSWERED: ArrayRecord()}),
        RecordDict({ASKED: ConfigRecord({"version": 1, "size": 5}), ANSWERED: right}),
    ]

    def forge(node: int, question: Message, reply: Message) -> Message:
        if node == 12 and forged and ANSWERED in reply.content:
            return Message(forged.pop(0), reply_to=question)
        return reply

    table.grid.deliver = forge
    table.run(1)
    assert table.accepted()
    assert not forged
    assert table.submitted() == [["client-1", "client-3"]]  # nobody else would have come, and two are enough
    lines = [line for line in capfd.readouterr().err.splitlines() if "refused what node 12 sent" in line]
    assert ["reply: expected the records" in lines[0], "oversized" in lines[1], "AnswerFile" in lines[2]] == [True] * 3


def test_what_no_client_signed_or_is_of_another_round_is_in_no_inbox(
    table: Table, capfd: pytest.CaptureFixture[str]
) -> None:
    """A node that signs as another client, and one whose answer of an earlier round comes again: both are asked again,
    and give their own."""
    stale: list[bytes] = []

    def forge(node: int, question: Message, answer: Message) -> Message:
        if ANSWERED not in answer.content or node == 11:
            return answer
        said_now = answered(answer, 1 << 30)
        if node == 13:
            stale.append(said_now)
            return reply(question, stale[0]) if len(stale) == 2 else answer
        forged.append(said_now)
        return reply(question, signed_by_another(said_now)) if len(forged) == 1 else answer

    forged: list[bytes] = []
    table.grid.deliver = forge
    table.run(2)
    assert table.accepted()
    assert table.submitted() == [list(NAMES)] * 2
    refused = [line.split("sent: ")[1] for line in capfd.readouterr().err.splitlines() if "refused what node" in line]
    assert [each.split(":")[0] for each in refused] == ["signature", "round"]
    assert not (table.folder / "state" / "refusals.jsonl").exists()  # nothing counts as what a client sent


def signed_by_another(answer: bytes) -> bytes:
    """The same answer, by a key that is not the client's."""
    file = decode(AnswerFile, answer, 1 << 30)
    envelope = open_envelope(file.said)
    entry = seal(envelope.message, envelope.signer, SigningKey.generate(os.urandom))
    return encode(replace(file, said=entry), 1 << 30)


def test_an_evaluation_that_fails_and_a_mistake_of_ours_keep_their_words(
    table: Table, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Flower sends the words of an exception that the application lets out to the coordinator."""

    def fail(*_: object) -> Message:
        raise ValueError("patient 4711 is 1.93 m tall")

    table.app.app = ClientApp(mods=[verified])
    table.app.app.evaluate()(fail)
    answers = [said(table, plain("evaluate"), **{"verifl-evaluate": True})]
    monkeypatch.setattr("verifl.carriers.flower.mod.node_of", fail)
    answers.append(said(table, plain("evaluate")))
    assert [each.error.code for each in answers] == [MISCONFIGURED] * 2
    assert not [each for each in answers if "4711" in each.error.reason]
    assert capfd.readouterr().err.count("patient 4711 is 1.93 m tall") == 2


def test_a_node_with_the_answer_of_another_takes_nothing_from_it(table: Table) -> None:
    first: list[bytes] = []

    def copy(node: int, question: Message, answer: Message) -> Message | None:
        if ANSWERED not in answer.content:
            return answer
        if node == 11:
            first.append(answered(answer, 1 << 30))
        if node == 12:
            return reply(question, first[0]) if first else None
        return answer

    table.grid.deliver = copy
    table.run(1)
    assert table.accepted()
    assert table.submitted() == [["client-1", "client-3"]]


def test_a_client_whose_training_fails_drops_out_and_says_not_why(table: Table) -> None:
    def fail(message: Message) -> ArrayRecord:
        if len(table.app.seen) == 1:
            table.app.seen.append({})
            raise ValueError("patient 4711 is 1.93 m tall")
        return table.app.move(message)

    errors: list[Message] = []

    def keep(node: int, question: Message, answer: Message) -> Message:
        errors.extend([answer] if answer.has_error() else [])
        return answer

    table.app.train, table.grid.deliver = fail, keep
    table.run(1)
    assert table.accepted()
    assert len(table.submitted()[0]) == 2
    assert [each.error.code for each in errors] == [DROPPED_OUT]
    assert "4711" not in errors[0].error.reason


def test_run_again_it_goes_on_behind_the_last_closed_round(table: Table) -> None:
    def stop(number: int, arrays: ArrayRecord) -> None:
        if number == 1:
            raise _Stopped

    with pytest.raises(_Stopped):
        table.run(2, evaluate_fn=stop)
    told: list[int] = []
    table.run(2, evaluate_fn=lambda number, arrays: told.append(number))
    assert told == [2]
    assert table.submitted() == [list(NAMES)] * 2
    assert table.accepted()


class _Stopped(Exception):
    pass


def test_clients_read_the_log_at_an_address(table: Table, tmp_path: Path) -> None:
    authority, context = certificates(tmp_path)
    with site(table.folder / "public", context) as served:
        for node in table.grid.nodes.values():
            node |= {"verifl-public": served.url, "verifl-ca-file": str(authority)}
        table.run(2)
    assert table.accepted()
    assert table.submitted() == [list(NAMES)] * 2
    assert any("/transcript/blob/" in path or "/transcript/" in path for _, path in served.asked)
    assert not [path for _, path in served.asked if "/inbox/" in path]  # an answer goes by Flower


def test_a_passphrase_of_the_logs_key_is_read_from_its_file(table: Table) -> None:
    identity = table.folder / "state" / "identity.pem"
    key = read_key(identity)
    identity.unlink()
    write_key(identity, key, b"correct horse")
    with pytest.raises(Misuse, match=r"identity\.pem: is protected by a passphrase"):
        table.run(1)
    file = table.folder / "passphrase"
    file.write_text("correct horse\n")
    with pytest.raises(Misuse, match=r"passphrase: is a secret but has mode 644"):
        table.run(1)
    file.chmod(0o600)
    table.run(1)
    assert table.accepted()


def test_a_node_shows_its_certificate_where_readers_have_to(table: Table, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(""))
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    with site(table.folder / "public", context) as served:
        for name, node in zip(NAMES, table.grid.nodes.values(), strict=True):
            node.update({"verifl-public": served.url, "verifl-ca-file": str(authority.file)})
            if name != "client-2":
                node["verifl-client-certificate"] = str(authority.issue(name))
        table.run(1)
    assert table.accepted()
    assert table.submitted() == [["client-1", "client-3"]]


# ---- what a node says to others ----


def said(table: Table, message: Message, run: dict[str, Any] | None = None, **node: Any) -> Message:
    """What the node of client-1 answers to a message; run, node: what configurations have beside what they need."""
    message.metadata.__dict__["_message_id"] = "m"
    config = {name: value for name, value in {**table.grid.nodes[11], **node}.items() if value is not None}
    return table.app.app(message, Context(1, 11, config, RecordDict(), run or {}))


def plain(kind: str) -> Message:
    content = RecordDict({"arrays": ArrayRecord(Net().state_dict()), "config": ConfigRecord({})})
    return Message(content, dst_node_id=11, message_type=kind)


def test_an_update_in_the_clear_is_never_given(table: Table) -> None:
    answer = said(table, plain("train"), **{"verifl-evaluate": True})
    assert (answer.error.code, answer.error.reason) == (REFUSED, "refuses: plain")
    assert not table.app.seen


def test_metrics_in_the_clear_are_given_where_the_node_says_so(table: Table) -> None:
    assert said(table, plain("evaluate")).error.code == REFUSED
    assert said(table, plain("evaluate"), **{"verifl-evaluate": True}).content["metrics"]["num-examples"] == 17


@pytest.mark.parametrize("name", OF_THE_NODE)
def test_a_run_says_nothing_of_what_is_the_nodes(name: str, table: Table, capfd: pytest.CaptureFixture[str]) -> None:
    answer = said(table, plain("train"), {name: "/somewhere"})
    assert answer.error.code == MISCONFIGURED
    assert f"{name}: set in the configuration of the run" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("node", "run", "words"),
    [
        ({"verifl-state": None}, {}, "verifl-state: missing in the node's configuration"),
        ({"verifl-state": "relative"}, {}, "verifl-state: expected an absolute path, found 'relative'"),
        ({"verifl-public": None}, {}, "verifl-public: missing"),
        ({"verifl-public": None}, {"verifl-public": "/etc"}, "in the configuration of a run expected an https address"),
        ({"verifl-stat": "/x"}, {}, "verifl-stat: not known in a node's configuration"),
        ({"verifl-seed": -1}, {}, "verifl-seed: expected a number"),
        ({"verifl-evaluate": "yes"}, {}, "verifl-evaluate: expected true or false"),
    ],
)
def test_each_mistake_in_a_configuration_is_one_line(
    node: dict[str, Any], run: dict[str, Any], words: str, table: Table, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said(table, plain("train"), run, **node).error.code == MISCONFIGURED
    assert words in capfd.readouterr().err


def test_a_proposal_that_the_log_did_not_sign_trains_nobody(table: Table) -> None:
    table.run(1)
    table.app.seen.clear()
    right = next(each for each in table.grid.sent if each.content[ASKED]["proposal"]).content[ASKED]["proposal"]
    for proposal, check in ((right[:-1] + bytes([right[-1] ^ 1]), "signature"), (b"\x00", "malformed")):
        record = ConfigRecord({"version": 1, "proposal": proposal, "arrays-key": "arrays"})
        answer = said(table, Message(RecordDict({ASKED: record}), dst_node_id=11, message_type="train"))
        assert (answer.error.code, answer.error.reason) == (REFUSED, f"refuses: {check}")
    assert not table.app.seen


# ---- the bytes of an answer ----


def test_an_answer_of_any_length_comes_back_in_small_arrays() -> None:
    question = plain("train")
    for size in (1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17):
        data = np.arange(size, dtype=np.uint64).astype(np.uint8).tobytes()
        message = reply(question, data)
        assert answered(message, size) == data
        assert max(len(each.data) for each in message.content[ANSWERED].values()) <= CHUNK + 4096
        with pytest.raises(Rejected, match="oversized"):
            answered(message, size - 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: arrays.pop("000001"),
        lambda arrays: arrays.update({"000009": arrays["000000"]}),
        lambda arrays: arrays.update({"000001": Array(np.zeros(3, dtype=np.uint8))}),
        lambda arrays: arrays.update({"000001": Array(np.zeros(CHUNK, dtype=np.int8))}),
        lambda arrays: arrays.update({"000001": Array("uint8", (CHUNK,), "numpy.ndarray", b"no array")}),
        lambda arrays: arrays.update({"000001": Array("uint8", (CHUNK,), "numpy.ndarray", bytes(9 * CHUNK))}),
    ],
)
def test_arrays_that_are_no_answer(spoil: Callable[[ArrayRecord], object]) -> None:
    message = reply(plain("train"), bytes(2 * CHUNK))
    spoil(message.content[ANSWERED])
    with pytest.raises(Malformed):
        answered(message, 1 << 30)
