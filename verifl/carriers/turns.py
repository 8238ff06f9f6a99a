"""What is seen of clients' turns, and what becomes of a round in which turns fail.

Whatever a client's own code raises concerns that client: it drops out of the round, as one that is silent would, and
the round goes on with the others. What only all clients can be guilty of together is a mistake of the task.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from proofs.errors import Misuse, Rejected
from protocols.reasons import DIFFERENCING, TOO_FEW_SUBMISSIONS
from verifl.agents.client import TrainedTurn, ZeroTurn
from verifl.formatting import counted
from verifl.progress import RoundSummary
from verifl.tasks.causes import let_go
from verifl.tasks.user_code import ClientFailed
from verifl.training.update_watch import UpdateWatch

_LOGGER = logging.getLogger(__name__)
_WANTING = (TOO_FEW_SUBMISSIONS, DIFFERENCING)  # aborts for want of clients
_NAMED = 3  # failures in one message; the log of the run has all


def _let_it(zero: ZeroTurn) -> None:
    """Any client may send the update zero at any time."""


class Onlooker:
    """Sees how a client's turn goes, for the user of all of them: a `verifl.agents.client.TurnObserver`.

    sends_zero: what is done where its client would send the update zero. clipped: whether the update was longer than
    the clip norm; None where there is none of this turn.
    """

    def __init__(
        self, stage: Callable[[str], None], watch: UpdateWatch, sends_zero: Callable[[ZeroTurn], None] = _let_it
    ) -> None:
        self.stage, self._watch, self._sends_zero = stage, watch, sends_zero
        self.clipped: bool | None = None

    def trained(self, turn: TrainedTurn) -> None:
        """The turn counts towards what is told of the round's updates."""
        self._watch.add(turn.client, turn.before, turn.after, turn.update)
        self._watch.add_measured(turn.buffers)
        self.clipped = turn.update.clipped
        tell_length(turn, logging.DEBUG)

    def sends_zero(self, zero: ZeroTurn) -> None:
        """See `TurnObserver.sends_zero`."""
        self._sends_zero(zero)
        self.clipped = False


def tell_length(turn: TrainedTurn, level: int = logging.INFO) -> None:
    """How long a client's update was beside the clip norm: for its own log, and nobody else hears of it."""
    update = turn.update
    beside = f"its update is {update.norm:.4g} long, {update.used:.1%} of the clip norm {update.clip:.4g}"
    if update.clipped:
        beside = (
            f"its update is {update.norm:.4g} long, scaled back to {update.kept:.1%}, the clip norm {update.clip:.4g}"
        )
    fields = {
        "event": "trained",
        "client": turn.client,
        "round": turn.round,
        "norm": update.norm if math.isfinite(update.norm) else None,
        "clip_norm": update.clip,
        "used": update.used,
        "kept": update.kept,
    }
    _LOGGER.log(level, "%s, round %d: %s", turn.client, turn.round, beside, extra={"fields": fields})


def tell_spending(client: str, spent: tuple[int, int] | None) -> None:
    """That a separate client's failures cost its budget, and how it can stop that. spent: see `ClientAgent.spent`."""
    if spent is None:
        return
    closed, most = spent
    _LOGGER.error(
        "%s: its training came to nothing, and a round with its update zero costs its privacy budget all the same: by "
        "its receipts it is in %d of at most %d closed cohorts; stop this client until its task is put right: who is "
        "absent spends nothing, though everybody sees that it is",
        client,
        closed,
        most,
        extra={"fields": {"event": "spending", "client": client, "closed": closed, "most": most}},
    )


class Dropouts:
    """Who dropped out of the rounds that this process runs.

    Under a policy with noise nobody does, but sends the update zero; yet not before somebody else has submitted: where
    the turns of all come to nothing, nobody's privacy is spent on it. sent_zero: who has in this round. zeros: of all
    rounds, by client how many.
    """

    def __init__(self, min_cohort: int) -> None:
        self._min_cohort = min_cohort
        self._number, self._failures = 0, list[ClientFailed]()
        self._put_off: list[ZeroTurn] = []
        self.sent_zero: list[str] = []
        self.zeros = Counter[str]()
        self._untold: list[ClientFailed] = []
        self._answered = False  # somebody has, or has said that it will not: what fails is a client's own
        self._short = False  # the round before ended for want of those who dropped out

    @contextmanager
    def turns(self, number: int, asked: int, answered: bool) -> Iterator[None]:
        """The turns of a round's clients, of whom `asked` are asked now; `answered`: others have submitted already.

        Raises Misuse, the first failure, where all clients are asked and the turns of all fail: the task is wrong.
        """
        self._number, self._failures, self._untold = number, [], []
        self._put_off, self.sent_zero = [], []
        self._answered = answered
        try:
            yield
            self._require_any(asked)
        finally:
            self._tell()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One client's turn. Where it fails the client drops out of the round.

        It is told who, and why, as soon as it is clear that not all do.
        """
        try:
            yield
            self._go_on()
        except ClientFailed as failure:
            if any(zero.failure is failure for zero in self._put_off):
                return
            self._failures.append(failure)
            self._untold.append(failure)
            self._answered |= failure.abstained
        if self._answered:
            self._tell()

    def sends_zero(self, zero: ZeroTurn) -> None:
        """A client is about to; raises its failure where nobody has submitted yet."""
        if not self._answered:
            self._put_off.append(zero)
            raise zero.failure
        self.sent_zero.append(zero.failure.client)
        self.zeros[zero.failure.client] += 1

    def put_off(self) -> list[ZeroTurn]:
        """Turns that came to nothing before anybody had submitted, once somebody has: their clients send zero now."""
        return list(self._put_off) if self._answered else []

    def _go_on(self) -> None:
        """Somebody has submitted, and others train: they may need the memory that failures hold."""
        self._answered = True
        for zero in self._put_off:
            let_go(zero.failure)

    def _tell(self) -> None:
        for failure in self._untold:
            _LOGGER.warning(
                "round %d: %s; it drops out of this round",
                self._number,
                failure,
                extra={"fields": {"event": "dropout", "client": failure.client, "round": self._number}},
            )
            let_go(failure)  # others train now, and may need the memory
        self._untold = []

    def _require_any(self, asked: int) -> None:
        if self._answered or not asked:
            return
        self._untold = []  # one error says it
        first = [*self._failures, *(zero.failure for zero in self._put_off)][0]
        every = f"; the turns of all {asked} clients failed in round {self._number}" if asked > 1 else ""
        spent = ", which has cost nobody privacy" if self._put_off else ""
        raise Misuse(f"{first}{every}{spent}") from first

    def judge(self, summary: RoundSummary, may_repeat: bool) -> None:
        """A round that was aborted because clients dropped out is repeated once, if it may be; if they do so again,
        somebody has to look: raises Rejected, with the reason of the abort for a check, and what to do."""
        if summary.aborted not in _WANTING or not self._failures:
            self._short = False
        elif self._short or not may_repeat:
            raise Rejected(summary.aborted or "", self._expected(summary), self._found(summary))
        else:
            self._short = True
            _LOGGER.warning(
                "round %d: aborted, %s, for %d submitted, expected %s; it is repeated once",
                summary.round,
                summary.aborted,
                len(summary.submitted),
                self._expected(summary),
                extra={"fields": {"event": "repeated", "round": summary.round}},
            )

    def _expected(self, summary: RoundSummary) -> str:
        if summary.aborted == TOO_FEW_SUBMISSIONS:
            return f"{self._min_cohort} or more"
        asked = len(summary.submitted) + len(summary.failed)
        return f"all {asked} of the cohort before, or {self._min_cohort} or more once {self._min_cohort} have left it"

    def _found(self, summary: RoundSummary) -> str:
        more = len(self._failures) - _NAMED
        told = "; ".join(map(str, self._failures[:_NAMED])) + (f"; and {more} more" if more > 0 else "")
        again = ", after the same in the one before" if self._short else ""
        return (
            f"{len(summary.submitted)} in round {summary.round}{again}: {told}; put right what failed and "
            "resume, or have a client that is gone for good revoked"
        )


def closed_and_aborted(summaries: Sequence[RoundSummary]) -> str:
    """`2 rounds closed` or `2 rounds closed, 1 aborted`."""
    aborted = sum(each.aborted is not None for each in summaries)
    closed = len(summaries) - aborted
    return f"{counted(closed, 'round')} closed" + (f", {aborted} aborted" if aborted else "")
