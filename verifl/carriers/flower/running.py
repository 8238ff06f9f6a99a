"""One run of a ServerApp: the host's rounds, with Flower's nodes asked while submissions are collected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from proofs.errors import Malformed, Misuse
from protocols.rounds.conductor import Stage
from protocols.steps.doubles import Doubles
from verifl.agents.clock import MachineClock
from verifl.agents.server import ServerAgent
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.flower.courier import Courier
from verifl.carriers.flower.messages import look
from verifl.carriers.flower.pulling import Puller
from verifl.carriers.rounds import Awaited
from verifl.config import DeadlinesConfig
from verifl.progress import RoundSummary
from verifl.tasks.user_code import user_code

_LOGGER = logging.getLogger(__name__)
_LEAVE = 60.0  # seconds for which clients are waited for that have nothing more to say
_GATHERING = 30.0  # seconds for which nodes are waited for, once the strategy's own minimum is there

EvaluateFn = Callable[[int, ArrayRecord], MetricRecord | None]


@dataclass(frozen=True)
class AppMeans:
    """What an application gives to `Strategy.start`. timeout: seconds, of its evaluations by clients."""

    train: ConfigRecord
    evaluate: ConfigRecord
    evaluate_fn: EvaluateFn | None
    timeout: float


class AppStrategy(Protocol):
    """What a run needs of `Verified`."""

    @property
    def least_nodes(self) -> int:
        """How many nodes the strategy waits for before it asks any."""
        ...

    def record(self, model: Doubles) -> ArrayRecord:
        """A model, float64 (d,), as the application's arrays."""
        ...

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy.configure_train`."""
        ...

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """See `Strategy.configure_evaluate`."""
        ...

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """See `Strategy.aggregate_evaluate`."""
        ...


class AppHost(CoordinatorHost):
    """Lets the application look at each model. evaluated: called with a round's number and model."""

    evaluated: Callable[[int, Doubles], None]

    def resumed(self) -> None:
        """See `Rounds.resumed`."""
        if not any(each.aborted is None for each in self.summaries):
            self.evaluated(0, self._server.model())

    def concluded(self, summary: RoundSummary, may_repeat: bool) -> None:  # noqa: ARG002
        """See `Rounds.concluded`."""
        if summary.aborted is None:
            self.evaluated(summary.round, self._server.model())


class AppRun:
    """From the first round that has not closed to the last that is wanted."""

    def __init__(
        self, host: AppHost, server: ServerAgent, seat: Seat, deadlines: DeadlinesConfig, grid: Grid,
        strategy: AppStrategy, means: AppMeans, look: Callable[[], None],
    ) -> None:  # fmt: skip
        """look: called at every turn; in a simulation the trustees' own."""
        self._host, self._server, self._seat, self._deadlines = host, server, seat, deadlines
        self._grid, self._strategy, self._means, self._clock = grid, strategy, means, MachineClock()
        self._puller, self._result = Puller(grid), Result()
        self._courier: tuple[int, Courier] | None = None  # of the round of this number
        self._gathering: float | None = None  # since when the strategy's own minimum of nodes is there
        self._look = look
        host.evaluated = self._evaluated

    def result(self) -> Result:
        """Run. Raises as `CoordinatorHost.advance`."""
        while (awaited := self._host.advance()) is not None:
            came = awaited.stage is Stage.SUBMISSIONS and self._collect()
            self._look()
            if not came:
                self._pause(awaited)
        self._take_leave()
        self._result.arrays = self._strategy.record(self._server.model())
        return self._result

    def _take_leave(self) -> None:
        """Have the clients take the last receipts and the last model from the log, as far as they do it soon."""
        self._replies([look(node) for node in sorted(self._grid.get_node_ids())], _LEAVE)

    def _replies(self, messages: Sequence[Message], timeout: float) -> list[Message]:
        """What nodes say to messages within so many seconds."""
        nodes = [each.metadata.dst_node_id for each in messages]
        names = list(self._grid.push_messages(messages)) if messages else []
        waiting = {node: name for node, name in zip(nodes, names, strict=True) if name}
        replies, until = list[Message](), self._clock.monotonic() + timeout
        while waiting and self._clock.monotonic() < until:
            time.sleep(self._deadlines.poll)
            for node, name in tuple(waiting.items()):
                try:
                    found = self._puller.pull(node, name)
                except Malformed as error:
                    _LOGGER.warning("refused what node %d sent: %s", node, error)
                    del waiting[node]
                    continue
                if found:
                    replies += found
                    del waiting[node]
        return replies

    def _pause(self, awaited: Awaited) -> None:
        left = awaited.until - self._clock.monotonic()
        time.sleep(max(0.0, min(left, self._deadlines.poll)))

    # ---- clients ----

    def _collect(self) -> bool:
        """Ask and take answers; whether any came."""
        courier = self._of_round()
        if courier.silent and not self._server.enough:
            courier.ask(self._messages(courier))
        came = list(courier.replies())
        if courier.asked and courier.silent and not came and self._server.enough:
            self._host.dismiss()
        return bool(came)

    def _of_round(self) -> Courier:
        ledger = self._server.ledger
        number = 0 if ledger.current is None else ledger.current.number
        if self._courier is None or self._courier[0] != number:
            public = self._seat.public
            of = (self._grid, self._puller, self._seat.pinned, number, ledger.membership)
            made = Courier(*of, public.proposal, public.put, self._clock)
            self._courier, self._gathering = (number, made), None
        return self._courier[1]

    def _messages(self, courier: Courier) -> Iterable[Message]:
        """Those of the strategy, once there are nodes enough; none while nobody is there who was not asked."""
        online, now = frozenset(self._grid.get_node_ids()), self._clock.monotonic()
        if len(online) < self._strategy.least_nodes or not online - courier.asked:
            return ()
        self._gathering = now if self._gathering is None else self._gathering
        if len(online) < self._seat.pinned.policy.min_cohort and now - self._gathering < _GATHERING:
            return ()
        current = self._server.ledger.current
        number = 0 if current is None else current.number
        arrays, config = self._strategy.record(self._server.model()), ConfigRecord(dict(self._means.train))
        return self._strategy.configure_train(number, arrays, config, self._grid)

    # ---- what the application is told ----

    def _evaluated(self, number: int, model: Doubles) -> None:
        """What the application says of a model after the round of this number, 0 for the initial one."""
        arrays, means = self._strategy.record(model), self._means
        if number:
            self._measure(number, arrays)
        if means.evaluate_fn is not None:
            said = means.evaluate_fn(number, arrays)
            if said is not None:
                self._result.evaluate_metrics_serverapp[number] = said
                _LOGGER.info("round %d: %s", number, dict(said))

    def _measure(self, number: int, arrays: ArrayRecord) -> None:
        """What clients say of a model, in the clear, where the application has them asked. What of it cannot be read
        keeps no round from going on."""
        config = ConfigRecord(dict(self._means.evaluate))
        messages = list(self._strategy.configure_evaluate(number, arrays, config, self._grid))
        if not messages:
            return
        replies = self._replies(messages, self._means.timeout)
        try:
            with user_code("aggregate_evaluate() failed"):
                measured = self._strategy.aggregate_evaluate(number, replies)
        except Misuse as error:
            _LOGGER.warning("round %d: no metrics of clients: %s", number, error)
            return
        if measured is not None:
            self._result.evaluate_metrics_clientapp[number] = measured


def nothing_measured(model: Doubles, number: int) -> dict[str, float]:  # noqa: ARG001
    """Metrics are the application's own; see `Measures`."""
    return {}
