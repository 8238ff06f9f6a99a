"""One schema for all log records: what the code says is what the schema and the documents say."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from proofs.errors import Misuse
from verifl.reports.events import EVENTS, ON_TRAINING
from verifl.reports.logs import LOGGER, logged
from verifl.reports.metrics import CONNECTIONS, PartyMetrics, metrics_served

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
KNOWN = {**EVENTS, **ON_TRAINING}
MADE_OF_A_SUMMARY = {"round"}  # its fields are those of `RoundSummary.to_dict`
OF_NUMBERS = {"beyond-clip", "beyond-coordinate-bound"}  # and least, median and most of these


def dictionaries() -> Iterator[tuple[str, set[str]]]:
    """Event and fields of each record that is written down as a dict with the key "event"."""
    for path in (ROOT / "verifl").rglob("*.py"):
        if path.parts[-2:] == ("commands", "results.py") or "bench" in path.parts:  # of reports on stdout
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                named = dict(zip(keys, node.values, strict=False))
                event = named.get("event")
                if isinstance(event, ast.Constant) and "check_event" not in keys:
                    yield event.value, {str(key) for key in keys} - {"event"}


def calls() -> Iterator[tuple[str, set[str]]]:
    """Those that are written down as a call of `_log` or `_tell`."""
    for name in ("reports/logs.py", "training/update_watch.py"):
        for node in ast.walk(ast.parse((ROOT / "verifl" / name).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if called == "_log" and texts:
                yield texts[0], {keyword.arg for keyword in node.keywords if keyword.arg}
            if called == "_tell" and isinstance(node.args[-1], ast.Dict):
                keys = {key.value for key in node.args[-1].keys if isinstance(key, ast.Constant)}
                yield texts[0], {str(key) for key in keys}


def test_the_schema_has_what_the_code_logs_and_no_more() -> None:
    found = [*dictionaries(), *calls()]
    assert {event for event, _ in found} == set(KNOWN)
    for event, fields in found:
        wanted = set() if event in MADE_OF_A_SUMMARY else set(KNOWN[event])
        assert fields == wanted - ({"least", "median", "most"} if event in OF_NUMBERS else set()), event


@pytest.mark.parametrize("event", sorted(KNOWN))
def test_the_document_says_each_event_and_each_field(event: str) -> None:
    row = re.search(rf"^\| `{event}` \|.*$", DOCUMENT, re.M)
    assert row is not None
    if event not in MADE_OF_A_SUMMARY:  # which the table of metrics.jsonl says
        assert set(KNOWN[event]) <= set(re.findall(r"`([a-z_]+)`", row[0]))


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"verifl_{name}", labels)


def test_metrics_count_what_is_logged_whatever_level_is_read() -> None:
    registry, now = CollectorRegistry(), [1000.0]
    metrics = PartyMetrics(registry, "coordinator", lambda: now[0])

    def log(event: str, **fields: object) -> None:
        metrics.handle(logging.makeLogRecord({"fields": {"event": event, **fields}}))

    log("asks", stage="submissions", round=3, parties=["a", "b", "c"])
    now[0] = 1007.0
    log("taken", party="a", kind="submission", bytes=500, awaited=2)
    log("refused", party="b", file="00", check="oversized")
    log("refused", party="b", file="01", check="oversized")
    assert value(registry, "round") == 3
    assert value(registry, "stage", stage="submissions") == 1
    assert (value(registry, "awaited_parties"), value(registry, "waiting_seconds")) == (2, 7)
    assert value(registry, "refusals_total", check="oversized") == 2
    assert (value(registry, "answers_total", kind="submission"), value(registry, "answer_bytes_total")) == (1, 500)
    log("asks", stage="releases", round=3, parties=["t"])
    assert value(registry, "stage", stage="submissions") is None
    log("round", aborted="no-quorum")
    assert (value(registry, "rounds_total", outcome="aborted"), value(registry, "waiting_seconds")) == (1, 0)
    assert value(registry, "last_success_timestamp_seconds") == 0
    log("round", aborted=None)
    assert (value(registry, "rounds_total", outcome="closed"), value(registry, "awaited_parties")) == (1, 0)
    assert value(registry, "last_success_timestamp_seconds") == 1007
    log("dropped-out", abstained=True)
    log("looked")
    log("answered", question="submission", round=4, kind="submission", bytes=20)
    log("answered", question="observe", round=0, kind="signature", bytes=0)  # of no round
    log("refuses", check="rollback")
    assert (value(registry, "dropouts_total"), value(registry, "round")) == (1, 4)
    assert value(registry, "last_look_timestamp_seconds") == 1007
    assert value(registry, "refusals_total", check="rollback") == 1
    assert value(registry, "answer_bytes_total") == 520
    assert value(registry, "party_info", role="coordinator") == 1


def test_nothing_that_depends_on_data_is_counted() -> None:
    """What a client's training made is in no metric, whatever is logged of it."""
    registry = CollectorRegistry()
    metrics = PartyMetrics(registry, "client")
    before = [str(family) for family in registry.collect()]
    for event in ("submitted", *ON_TRAINING):
        fields = dict.fromkeys(KNOWN[event], 7)
        metrics.handle(logging.makeLogRecord({"fields": {"event": event, **fields}}))
    assert [str(family) for family in registry.collect()] == before


def test_whoever_listens_hears_no_more_for_the_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    with logged("json", "warning"), metrics_served("trustee", "127.0.0.1", free_port()):
        LOGGER.debug("secretly", extra={"fields": {"event": "looked"}})
        LOGGER.warning("loudly")
    assert [line.count("loudly") for line in capsys.readouterr().err.splitlines()] == [1]
    assert LOGGER.level == logging.NOTSET


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def test_a_port_that_is_taken_is_said_at_once() -> None:
    port = free_port()
    with (
        metrics_served("trustee", "127.0.0.1", port),
        pytest.raises(Misuse, match=f"metrics: 127.0.0.1:{port}: Address already in use; choose another port"),
        metrics_served("trustee", "127.0.0.1", port),
    ):
        pass


def test_who_holds_connections_open_holds_few_and_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    import socket
    import struct
    import urllib.error
    import urllib.request

    port = free_port()
    with metrics_served("trustee", "127.0.0.1", port):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        with socket.create_connection(("127.0.0.1", port), timeout=60) as another:
            assert another.recv(1) == b""  # closed at once
        for each in held:  # by a reset, which is an error for whoever reads
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()
        for _ in range(1000):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
                    assert b"verifl_round" in answer.read()
                break
            except (urllib.error.URLError, ConnectionError):
                continue
        else:
            pytest.fail("nobody is answered any more")
    assert capfd.readouterr().err == ""
