"""The coordinator's host: it asks by proposals, takes what is in the inboxes, and waits as long as it is told to.

Killed at any point it goes on from what is on disk. An answer's file goes only once the log has it for good, and until
then it is taken again; what has been asked is asked again, in the same bytes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from proofs.errors import Malformed, Rejected
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import Received
from protocols.rounds.conductor import ANSWERED_IN, Due, Stage
from verifl.agents.server import ServerAgent
from verifl.carriers.ending import describe_ending, due_ending
from verifl.carriers.exchange.inbox import Inbox, Letter
from verifl.carriers.exchange.public import PublicDirectory
from verifl.carriers.exchange.stopping import Stop
from verifl.config import DeadlinesConfig
from verifl.progress import Progress, RoundSummary
from verifl.storage.history import MetricsFile
from verifl.training.tensors import Vector

_LOGGER = logging.getLogger(__name__)
_COLLECTING = (Stage.KEYS, Stage.SUBMISSIONS, Stage.ACKNOWLEDGEMENTS, Stage.RELEASES)  # of a round, in order
_NOT_YET = ("checkpoint-quorum", "round-keys", "quorum-wait")  # why the conductor does not go on


@dataclass(frozen=True)
class Measures:
    """What is told of the rounds. evaluate: the metrics of a model, float64 (d,), after the round of this number."""

    file: MetricsFile
    evaluate: Callable[[Vector, int], dict[str, float]]
    progress: Progress


class CoordinatorHost:
    """Runs the rounds of one coordinator in a public directory."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        server: ServerAgent,
        public: PublicDirectory,
        inbox: Inbox,
        deadlines: DeadlinesConfig,
        measures: Measures,
        stop: Stop,
    ) -> None:
        self._pinned, self._server, self._public, self._inbox = pinned, server, public, inbox
        self._deadlines, self._measures, self._stop = deadlines, measures, stop
        self._proposed = b""

    def run(self, wanted: int, initial: Vector) -> tuple[list[RoundSummary], str | None]:
        """Rounds until `wanted` have closed, or no more is to be expected; why it ended early, else None.

        Raises Stopped where it was asked to stop, Rejected("rounds") where too many were aborted.
        """
        self._public.create()
        self._inbox.create()
        if self._server.begin():
            self._tell_resumed()
        self._play()
        summaries = self._past(initial)
        ended = self._go_on(summaries, wanted)
        self._public.withdraw()
        return summaries, ended

    # ---- rounds ----

    def _go_on(self, summaries: list[RoundSummary], wanted: int) -> str | None:
        before, limit = len(summaries), self._pinned.policy.max_aborts
        while _closed(summaries) < wanted:
            reason = self._server.ledger.closed or due_ending(self._server, summaries[before:])
            if reason is not None:
                return self._end(reason, summaries, wanted)
            aborted = [each.aborted for each in summaries[before:] if each.aborted is not None]
            if len(aborted) > limit:
                raise Rejected("rounds", f"{wanted} to close", f"{len(aborted)} aborted, the last for {aborted[-1]}")
            summaries.append(self._round(_closed(summaries)))
            self._measures.file.append(summaries[-1])
            self._measures.progress.round_ended(summaries[-1], wanted)
        return None

    def _end(self, reason: str, summaries: Sequence[RoundSummary], wanted: int) -> str:
        if self._server.ledger.closed is None:
            self._server.end(reason)
            self._play()
        ended = describe_ending(reason, summaries, wanted)
        self._measures.progress.note(ended)
        return ended

    def _round(self, closed: int) -> RoundSummary:
        started, first = time.perf_counter(), self._server.ledger.ended
        self._server.open_round()
        self._play()
        metrics = self._measures.evaluate(self._server.model(), self._server.ledger.rounds)
        return self._server.summary(first, closed, metrics, time.perf_counter() - started)

    def _past(self, initial: Vector) -> list[RoundSummary]:
        measured, evaluate = self._measures.file.measured().get(0), self._measures.evaluate
        first = RoundSummary.initial(evaluate(initial, 0) if measured is None else measured[0])
        past = self._server.past(
            self._measures.file, lambda number, model: evaluate(self._server.model_of(model), number)
        )
        self._measures.file.rewrite([first, *past])
        return past

    def _tell_resumed(self) -> None:
        ledger = self._server.ledger
        where = f"in round {ledger.rounds}" if ledger.current else f"after round {ledger.rounds}"
        self._measures.progress.note(f"resumed {where}, at {self._server.size} log entries")

    # ---- one stage after the other ----

    def _play(self) -> None:
        """Everything that is due."""
        while (due := self._server.due).stage is not Stage.IDLE:
            if due.question is None:
                self._proceed(due.stage)
            else:
                self._ask(due)

    def _ask(self, due: Due) -> None:
        """One question, until it is answered as far as it will be, and the coordinator went on."""
        stage, began = due.stage, time.monotonic()
        until = int(time.time() + self._patience(stage))
        self._inbox.reconsider()
        _LOGGER.info(
            "asks for %s: %d parties", stage.value, len(due.parties),
            extra={"fields": {"event": "asks", "stage": stage.value, "parties": list(due.parties)}},
        )  # fmt: skip
        while True:
            self._collect()
            self._propose(until)
            if self._is_over(stage, time.monotonic() - began) and self._proceed(stage):
                return
            self._stop.pause(self._deadlines.poll)

    def _is_over(self, stage: Stage, waited: float) -> bool:
        if not self._server.due.parties:
            return True
        return waited >= (self._patience(stage) if self._server.enough else self._deadlines.give_up)

    def _patience(self, stage: Stage) -> float:
        return self._deadlines.clients if stage is Stage.SUBMISSIONS else self._deadlines.trustees

    def _proceed(self, stage: Stage) -> bool:
        """Whether the coordinator went on; where it is too early for that, nothing has changed."""
        try:
            self._server.proceed()
        except Rejected as error:
            if error.check not in _NOT_YET:
                raise
            return False
        if stage in (Stage.SIGN, Stage.COSIGN):  # what was taken before is durable now
            self._inbox.settle()
        return True

    def _propose(self, until: int) -> None:
        if not self._server.due.parties:
            return
        proposal, bundles = self._server.proposal(until)
        if proposal != self._proposed:
            self._public.propose(proposal, bundles)
            self._proposed = proposal

    # ---- what is answered ----

    def _collect(self) -> None:
        """Take what is in the inboxes, one file in memory at a time."""
        for letter in self._inbox.letters():
            try:
                self._take(letter, self._inbox.read(letter))
            except (Malformed, Rejected) as error:
                self._inbox.refuse(letter, error)

    def _take(self, letter: Letter, received: Received) -> None:
        stage, wanted = self._server.due.stage, ANSWERED_IN[type(received.answer)]
        try:
            self._server.take(letter.party, received.answer)
        except Rejected as error:
            if stage is wanted or error.check != "order":
                raise
            if not self._is_early(received, stage, wanted):
                raise Rejected("late", error.expected, error.found) from None
            self._inbox.keep(letter)
            return
        self._inbox.take(letter)

    def _is_early(self, received: Received, stage: Stage, wanted: Stage) -> bool:
        """Whether such an answer may be asked for later in this round."""
        if received.round != self._server.ledger.next_round or wanted not in _COLLECTING:
            return False
        return stage not in _COLLECTING or _COLLECTING.index(wanted) > _COLLECTING.index(stage)


def _closed(summaries: Sequence[RoundSummary]) -> int:
    return sum(each.aborted is None for each in summaries)
