"""What a party's process did and waits for, as Prometheus reads it: counted from its log records, and nothing else.

So nothing can be asked for here that the log of the same process has not. What counts is which round and stage, which
parties by number, which kinds and checks, how many bytes, and when: nothing that depends on what anybody's data say.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from proofs.errors import Misuse
from proofs.machine.installing import install_hint
from verifl.reports.logs import LOGGER

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from prometheus_client import CollectorRegistry

CONNECTIONS = 32
SILENCE = 5  # seconds


class PartyMetrics(logging.Handler):
    """Counts what it is told; on a registry of its own."""

    def __init__(self, registry: CollectorRegistry, role: str, now: Callable[[], float] = time.time) -> None:
        from prometheus_client import Counter, Gauge, Info

        super().__init__(logging.DEBUG)
        self._now = now
        self._asked: float | None = None
        Info("verifl_party", "What kind of party this process is.", registry=registry).info({"role": role})
        self._round = Gauge("verifl_round", "The round that was asked about last.", registry=registry)
        self._rounds = Counter("verifl_rounds", "Rounds that ended, by how.", ["outcome"], registry=registry)
        self._stage = Gauge("verifl_stage", "1 for the stage that is asked about.", ["stage"], registry=registry)
        self._awaited = Gauge("verifl_awaited_parties", "Parties that have not answered.", registry=registry)
        waiting = Gauge("verifl_waiting_seconds", "How long it has been asked for what is asked.", registry=registry)
        waiting.set_function(self._waited)
        self._answers = Counter("verifl_answers", "Answers given or taken, by kind.", ["kind"], registry=registry)
        self._bytes = Counter("verifl_answer_bytes", "Bytes of these answers.", registry=registry)
        self._refusals = Counter("verifl_refusals", "What was refused, by check.", ["check"], registry=registry)
        self._dropouts = Counter("verifl_dropouts", "Rounds in which own training came to nothing.", registry=registry)
        self._success = Gauge(
            "verifl_last_success_timestamp_seconds", "When a round closed, or an answer was given.", registry=registry
        )
        self._looked = Gauge("verifl_last_look_timestamp_seconds", "When it looked last, unrefused.", registry=registry)

    def emit(self, record: logging.LogRecord) -> None:
        """Count one record."""
        fields: Mapping[str, Any] = getattr(record, "fields", {})
        count = _COUNTED.get(fields.get("event", ""))
        if count is not None:
            count(self, fields)

    def _waited(self) -> float:
        return 0.0 if self._asked is None else self._now() - self._asked

    def _count_asks(self, fields: Mapping[str, Any]) -> None:
        self._round.set(fields["round"])
        self._stage.clear()
        self._stage.labels(fields["stage"]).set(1)
        self._awaited.set(len(fields["parties"]))
        self._asked = self._now()

    def _count_taken(self, fields: Mapping[str, Any]) -> None:
        self._count_answer(fields)
        self._awaited.set(fields["awaited"])

    def _count_answered(self, fields: Mapping[str, Any]) -> None:
        self._count_answer(fields)
        if fields["round"]:  # a checkpoint is observed in none
            self._round.set(fields["round"])
        self._success.set(self._now())

    def _count_answer(self, fields: Mapping[str, Any]) -> None:
        self._answers.labels(fields["kind"]).inc()
        self._bytes.inc(fields["bytes"])

    def _count_refused(self, fields: Mapping[str, Any]) -> None:
        self._refusals.labels(fields["check"]).inc()

    def _count_dropped(self, _: Mapping[str, Any]) -> None:
        self._dropouts.inc()

    def _count_looked(self, _: Mapping[str, Any]) -> None:
        self._looked.set(self._now())

    def _count_round(self, fields: Mapping[str, Any]) -> None:
        self._asked = None
        self._awaited.set(0)
        self._stage.clear()
        closed = fields["aborted"] is None
        self._rounds.labels("closed" if closed else "aborted").inc()
        if closed:
            self._success.set(self._now())


_COUNTED: dict[str, Callable[[PartyMetrics, Mapping[str, Any]], None]] = {
    "asks": PartyMetrics._count_asks,
    "taken": PartyMetrics._count_taken,
    "answered": PartyMetrics._count_answered,
    "refused": PartyMetrics._count_refused,
    "refuses": PartyMetrics._count_refused,
    "dropped-out": PartyMetrics._count_dropped,
    "looked": PartyMetrics._count_looked,
    "round": PartyMetrics._count_round,
}


def _bound(server: WSGIServer) -> None:
    """At most CONNECTIONS at a time, each as long as it says something every SILENCE seconds; further ones are closed.
    What goes wrong with one is nobody's concern. So whoever reaches the port takes neither threads nor files from the
    party."""
    free = threading.Semaphore(CONNECTIONS)

    class Handler(server.RequestHandlerClass):  # type: ignore[name-defined,misc]  # a class that is a value
        timeout = SILENCE

        def __init__(self, *arguments: Any) -> None:
            try:
                super().__init__(*arguments)
            finally:
                free.release()

    server.socket.listen(CONNECTIONS)  # room for who comes at once: of more than five some would wait for seconds
    server.RequestHandlerClass = Handler
    server.verify_request = lambda *_: free.acquire(blocking=False)  # type: ignore[method-assign]  # of this one server
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # it would print a traceback


@contextmanager
def metrics_served(role: str, address: str, port: int | None) -> Iterator[None]:
    """Answer GET at http://address:port/metrics during the block; nowhere without a port.

    Raises Misuse where the port is taken, or prometheus-client is not installed.
    """
    if port is None:
        yield
        return
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ModuleNotFoundError:
        raise Misuse(f"metrics: this needs prometheus-client: {install_hint('metrics')}") from None
    registry = CollectorRegistry()
    handler = PartyMetrics(registry, role)
    try:
        server, thread = start_http_server(port, address, registry)
        _bound(server)
    except OSError as error:
        raise Misuse(f"metrics: {address}:{port}: {error.strerror}; choose another port") from None
    before = LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.DEBUG)  # of what it counts there is more than anybody wants to read
    try:
        yield
    finally:
        LOGGER.setLevel(before)
        LOGGER.removeHandler(handler)
        server.shutdown()
        server.server_close()
        thread.join()
