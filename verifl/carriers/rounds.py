"""The choreography of a run, whoever carries its questions: rounds, until as many as wanted have closed.

It is written down as generators. They yield where nothing can be done before somebody answers or time passes; a carrier
that has its answers at once never yields. Whatever is done is on the disk before the next thing is: all of it can be
dropped at any point, and a new one on the same directories goes on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from proofs.errors import Rejected
from protocols.reasons import CONTINUED
from protocols.rounds.conductor import Due, Stage
from protocols.rounds.ledger import Ledger
from protocols.steps.doubles import Doubles
from verifl.agents.clock import Clock
from verifl.agents.server import ServerAgent
from verifl.carriers.ending import describe_ending, due_ending, require_metric, why_stopped
from verifl.carriers.spending import spent
from verifl.carriers.turns import closed_and_aborted
from verifl.progress import Progress, RoundSummary
from verifl.storage.history import MetricsFile
from verifl.strategies.stopping import StoppingConfig

_SETTLING = (Stage.SIGN, Stage.COSIGN)


@dataclass(frozen=True)
class Awaited:
    """What a run waits for: answers of `parties` to what is asked in `stage`. until: seconds of the clock's `monotonic`
    at which it is to be looked at again, even if nobody has answered."""

    stage: Stage
    parties: tuple[str, ...]
    until: float


@dataclass(frozen=True)
class RunTerms:
    """wanted: how many rounds are to close. max_aborts: how many may be aborted before somebody has to look. changes:
    the rotations and revocations to be logged now, between rounds, by what the log says; logged ones may be among them.
    stopping: when to stop before; None for never. close: whether the federation is closed, so that another may go on
    from it: true, behind the last of them; "now", once no round is open, however many have closed.
    """

    wanted: int
    max_aborts: int
    changes: Callable[[Ledger], Sequence[bytes]]
    stopping: StoppingConfig | None = None
    close: bool | Literal["now"] = False

    @property
    def least(self) -> int:
        """How many rounds are to close before this run may end."""
        return 0 if self.close == "now" else self.wanted


@dataclass(frozen=True)
class Measures:
    """What is told of the rounds. evaluate: the metrics of a model, float64 (d,), after the round of this number."""

    file: MetricsFile
    evaluate: Callable[[Doubles, int], dict[str, float]]
    progress: Progress


class Rounds(ABC):
    """The rounds of one coordinator. initial, summaries: of the initial model, and of the rounds that have ended.
    ended: in one line, why the federation was closed before as many rounds as wanted had; None if it was not. stopped:
    in one line, why no more rounds were run, although there could have been; None if it was not for that."""

    def __init__(self, server: ServerAgent, terms: RunTerms, measures: Measures, clock: Clock) -> None:
        self._server, self._terms, self._measures, self._clock = server, terms, measures, clock
        self.initial = RoundSummary.initial({})
        self.summaries: list[RoundSummary] = []
        self.ended: str | None = None
        self.stopped: str | None = None

    # ---- what a carrier does ----

    @abstractmethod
    def carry(self, due: Due) -> Iterator[Awaited]:
        """Have what is due asked and answered, and the server proceed."""

    @abstractmethod
    def resumed(self) -> None:
        """`summaries` has the rounds that had ended before this run; it goes on behind them."""

    @abstractmethod
    def begins(self) -> None:
        """The first round of this run is about to begin, and all that a resumption needs is on the disk."""

    @abstractmethod
    def concluded(self, summary: RoundSummary, may_repeat: bool) -> None:
        """A round of this run has ended, and is reported. may_repeat: another may be played in its place."""

    # ---- rounds ----

    def play(self, initial: Doubles) -> Iterator[Awaited]:
        """Genesis, then rounds until as many as wanted have closed; what has been done already is not repeated.

        Raises Rejected("rounds") where too many were aborted, Misuse where the metric to stop by is none of those that
        there are, and as the server does.
        """
        self.initial = self._initial(initial)
        require_metric(self._terms.stopping, self.initial.metrics)
        if self._server.begin():
            yield from self._settle()
            self._tell_resumed()
        else:
            yield from self._carry_all()
        self.summaries = self._past()
        self.resumed()
        yield from self._go_on()
        yield from self.change()
        yield from self._conclude()

    def _go_on(self) -> Iterator[Awaited]:
        """Rounds, until as many as wanted have closed, or so many were aborted that nobody should go on unasked."""
        before, wanted = len(self.summaries), self._terms.wanted
        while self._closed() < self._terms.least or self._has_to_end():
            yield from self.change()
            yield from self._give_up(self.summaries[before:])
            if self.ended is not None or self._stops():
                return
            if self._aborted_since(before) > self._terms.max_aborts:
                found = f"{closed_and_aborted(self.summaries)}, the last of them for {self.summaries[-1].aborted}"
                raise Rejected("rounds", f"{wanted} to close", found)
            if len(self.summaries) == before:
                self.begins()
            yield from self._round()
            self.concluded(self.summaries[-1], self._aborted_since(before) <= self._terms.max_aborts)

    def _round(self) -> Iterator[Awaited]:
        """One round of spec 8, from the round keys to its end, or the rest of it."""
        started, first = self._clock.monotonic(), self._server.ledger.ended
        while self._server.ledger.ended == first:
            if self._server.ledger.current is None:
                self._server.open_round()
            yield from self._carry_all()  # comes back without an end where the membership changed before the round open
        metrics = self._measures.evaluate(self._server.model(), self._server.ledger.rounds)
        summary = self._server.summary(first, self._closed(), metrics, self._clock.monotonic() - started)
        self.summaries.append(summary)
        self._measures.file.append(summary)
        self._measures.progress.round_ended(summary, self._terms.wanted)
        if told := self.spent():
            self._measures.progress.note(told)

    def _stops(self) -> bool:
        """Whether the metric to stop by says so, behind a round that closed; tell it. One that was aborted may have to
        be repeated first, so that the log ends lawfully."""
        rule = self._terms.stopping
        if rule is None or not self.summaries or self.summaries[-1].aborted is not None:
            return False
        self.stopped = why_stopped(rule, self.summaries, self._terms.wanted)
        if self.stopped is not None:
            self._measures.progress.note(self.stopped)
        return self.stopped is not None

    def _has_to_end(self) -> bool:
        """Whether the federation is to be closed, and a round is open, or was aborted, that has to end before."""
        return self._terms.close and self._server.ledger.closed is None and CONTINUED not in self._server.endings()

    def _conclude(self) -> Iterator[Awaited]:
        """Close the federation, where it is to be closed."""
        if self._terms.close and self._server.ledger.closed is None:
            self._server.end(CONTINUED)
            yield from self._settle()
            self._measures.progress.note(describe_ending(CONTINUED, self.summaries, self._terms.wanted))

    def _closed(self) -> int:
        return sum(each.aborted is None for each in self.summaries)

    def _aborted_since(self, before: int) -> int:
        return sum(each.aborted is not None for each in self.summaries[before:])

    def _give_up(self, played: Sequence[RoundSummary]) -> Iterator[Awaited]:
        """Close the federation where the rounds of this run show that none is to be expected any more; tell it where
        it is closed."""
        reason = self._server.ledger.closed
        if reason is None:
            reason = due_ending(self._server, played)
            if reason is None:
                return
            self._server.end(reason)
            yield from self._settle()
        self.ended = describe_ending(reason, self.summaries, self._terms.wanted)
        self._measures.progress.note(self.ended)

    def change(self) -> Iterator[Awaited]:
        """Log the rotations and revocations that are due, between rounds; who is revoked takes no part from then on. A
        carrier may do it while it collects round keys, too, and the round is then opened again."""
        if self._server.ledger.current is not None:
            return
        for entry in self._terms.changes(self._server.ledger):
            self._server.change(entry)
        yield from self._settle()

    def spent(self) -> str | None:
        """What of the privacy budget is spent, in one line; None without one."""
        return spent(self._server.pinned, self._server.ledger)

    # ---- what was ----

    def _initial(self, model: Doubles) -> RoundSummary:
        """Of the initial model, before anybody has said anything: evaluate() may be wrong."""
        measured = self._measures.file.measured().get(0)
        return RoundSummary.initial(self._measures.evaluate(model, 0) if measured is None else measured[0])

    def _past(self) -> list[RoundSummary]:
        """The rounds that have ended; one whose line in the metrics is missing is told now."""
        measures, known = self._measures, self._measures.file.measured()
        past = self._server.past(measures.file, self._evaluated)
        measures.file.rewrite([self.initial, *past])
        if 0 not in known and self.initial.metrics:
            measures.progress.measured(self.initial)
        for summary in past:
            if summary.round not in known:
                measures.progress.round_ended(summary, self._terms.wanted)
        return past

    def _evaluated(self, number: int, model: bytes) -> dict[str, float]:
        return self._measures.evaluate(self._server.model_of(model), number)

    def _tell_resumed(self) -> None:
        ledger = self._server.ledger
        where = f"in round {ledger.rounds}" if ledger.current else f"after round {ledger.rounds}"
        self._measures.progress.note(f"resumed {where}, at {self._server.size} log entries")

    # ---- one stage after the other ----

    def _carry_all(self) -> Iterator[Awaited]:
        """Everything that is due."""
        while self._server.due.stage is not Stage.IDLE:
            yield from self.carry(self._server.due)

    def _settle(self) -> Iterator[Awaited]:
        """What is logged cosigned and published."""
        while self._server.due.stage in _SETTLING:
            yield from self.carry(self._server.due)
