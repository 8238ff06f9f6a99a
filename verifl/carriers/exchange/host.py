"""The coordinator's host: it asks by proposals, takes what is in the inboxes, and waits as long as it is told to.

Killed at any point it goes on from what is on disk. An answer's file goes only once the log has it for good, and until
then it is taken again; what has been asked is asked again, in the same bytes.

    while (awaited := host.advance()) is not None:
        <until an answer may have come, at the latest until awaited.until>
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

from proofs.errors import Malformed, Rejected
from protocols.rounds.answers import Received, answer_kind
from protocols.rounds.conductor import ANSWERED_IN, Due, Stage
from protocols.steps.doubles import Doubles
from verifl.agents.clock import Clock
from verifl.agents.server import ServerAgent
from verifl.carriers.exchange.inbox import Letter, Letterbox
from verifl.carriers.exchange.public import Noticeboard
from verifl.carriers.exchange.stopping import Stop
from verifl.carriers.exchange.versions import VersionsSeen
from verifl.carriers.rounds import Awaited, Measures, Rounds, RunTerms
from verifl.config import DeadlinesConfig
from verifl.progress import RoundSummary

_LOGGER = logging.getLogger(__name__)
_COLLECTING = (Stage.KEYS, Stage.SUBMISSIONS, Stage.ACKNOWLEDGEMENTS, Stage.RELEASES)  # of a round, in order
NO_WAY_ON = ("checkpoint-quorum", "round-keys", "draw")  # without t trustees nothing can be published, nor drawn
_NOT_YET = (*NO_WAY_ON, "quorum-wait")  # why the conductor does not go on
_ADVICE = (
    "start whoever is missing and run the same command again, or hand in the revocation of one that is gone for good "
    "(verifl roster revoke, then --change FILE)"
)
_DRAW_ADVICE = (
    "trustees that replaced their key draw by the one before, once more: have them start with both, and run the same "
    "command again; if those keys are gone for good, nobody can be drawn any more: close the federation, by "
    'federation.close = "now"'
)


class CoordinatorHost(Rounds):
    """Runs the rounds of one coordinator where parties meet. Its surroundings are handed to it: it neither sleeps nor
    asks the machine for the time."""

    def __init__(
        self,
        server: ServerAgent,
        terms: RunTerms,
        board: Noticeboard,
        inbox: Letterbox,
        deadlines: DeadlinesConfig,
        measures: Measures,
        clock: Clock,
        initial: Doubles,
    ) -> None:
        """initial: the policy's initial model, float64 (d,)."""
        super().__init__(server, terms, measures, clock)
        self._board, self._inbox, self._deadlines = board, inbox, deadlines
        self._proposed, self._versions = b"", VersionsSeen()
        self._course = self._attended(initial)
        self._dismissed = False  # nobody else will answer what is asked now

    def advance(self) -> Awaited | None:
        """Do all that can be done now, and say what is waited for; None once `wanted` rounds have closed, or no more is
        to be expected: `ended` then says why.

        Raises as `Rounds.play`, and Rejected("round-keys") or ("checkpoint-quorum") where fewer than t trustees have
        answered for as long as `give_up` says, ("draw") where too few of them gave a value to draw by; it is then of no
        further use: another host on the same disk goes on.
        """
        return next(self._course, None)

    def dismiss(self) -> None:
        """Whoever carries questions knows that nobody else will answer this one: where it is enough, it goes on."""
        self._dismissed = True

    def run(self, stop: Stop) -> None:
        """Advance until there is nothing more to do. Raises Stopped where it was asked to stop."""
        while (awaited := self.advance()) is not None:
            left = awaited.until - self._clock.monotonic()
            stop.pause(max(0.0, min(left, self._deadlines.poll)))

    def _attended(self, initial: Doubles) -> Iterator[Awaited]:
        self._board.create()
        self._inbox.create()
        yield from self.play(initial)
        self._board.withdraw()

    def resumed(self) -> None:
        """See `Rounds.resumed`; clients take their receipts from the log."""

    def begins(self) -> None:
        """See `Rounds.begins`."""
        self._measures.progress.note("stopped or killed at any time, the same command goes on")

    def concluded(self, summary: RoundSummary, may_repeat: bool) -> None:
        """See `Rounds.concluded`."""

    # ---- one stage after the other ----

    def carry(self, due: Due) -> Iterator[Awaited]:
        """See `Rounds.carry`: one question, until it is answered as far as it will be."""
        if due.question is None:
            self._proceed(due.stage)
            return
        began, since = self._clock.monotonic(), self._clock.wall()
        self._dismissed = False
        self._inbox.reconsider()
        _LOGGER.info(
            "asks for %s: %d parties", due.stage.value, len(due.parties),
            extra={"fields": {
                "event": "asks", "stage": due.stage.value, "round": self._server.ledger.next_round,
                "parties": list(due.parties),
            }},
        )  # fmt: skip
        while True:
            if due.stage is Stage.KEYS and self._terms.changes(self._server.ledger):
                yield from self.change()
                return
            self._collect()
            self._propose(int(since), int(since + self._patience(due.stage)))
            left = self._left(due.stage, began)
            if left <= 0:
                refusal = self._proceed(due.stage)
                if refusal is None:
                    return
                self._check_outlook(refusal, since)
            again = left if left > 0 else self._deadlines.poll
            yield Awaited(due.stage, self._server.due.parties, self._clock.monotonic() + again)

    def _left(self, stage: Stage, began: float) -> float:
        """Seconds for which those who have not answered are still waited for."""
        if not self._server.due.parties or (self._dismissed and self._server.enough):
            return 0.0
        patience = self._patience(stage) if self._server.enough else self._deadlines.give_up
        return began + patience - self._clock.monotonic()

    def _patience(self, stage: Stage) -> float:
        return self._deadlines.clients if stage is Stage.SUBMISSIONS else self._deadlines.trustees

    def _proceed(self, stage: Stage) -> Rejected | None:
        """Have the coordinator go on; why it is too early for that, and then nothing has changed."""
        try:
            self._server.proceed()
        except Rejected as error:
            if error.check not in _NOT_YET:
                raise
            return error
        if stage in (Stage.SIGN, Stage.COSIGN):  # what was taken before is durable now
            self._inbox.settle()
        return None

    def _check_outlook(self, refusal: Rejected, asked_at: float) -> None:
        """Fewer than t trustees say anything, or too few give a value to draw by, and the wait is over: no entry may
        take note of that, so somebody has to look."""
        if refusal.check not in NO_WAY_ON:
            return
        since = datetime.fromtimestamp(asked_at, UTC).isoformat(sep=" ", timespec="seconds")
        silent = ", ".join(self._server.due.parties)
        barred = self._server.ledger.barred if refusal.check == "round-keys" else ()
        also = f"; barred until a round closes: {', '.join(barred)}" if barred else ""
        found = f"{refusal.found}; asked since {since} and silent: {silent}{also}; {_ADVICE}"
        if refusal.check == "draw":
            found = f"{refusal.found}; asked since {since} and without a value: {silent}; {_DRAW_ADVICE}"
        raise Rejected(refusal.check, refusal.expected, found)

    def _propose(self, since: int, until: int) -> None:
        proposal, bundles = self._server.proposal(since, until)
        if proposal != self._proposed:
            self._board.propose(proposal, bundles)
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
        self._versions.note(letter.party, received.software)
        kind, size = answer_kind(received.answer)
        awaited = len(self._server.due.parties)
        fields = {"event": "taken", "party": letter.party, "kind": kind, "bytes": size, "awaited": awaited}
        _LOGGER.debug("takes %s of %s", kind, letter.party, extra={"fields": fields})

    def _is_early(self, received: Received, stage: Stage, wanted: Stage) -> bool:
        """Whether such an answer may be asked for later in this round."""
        if received.round != self._server.ledger.next_round or wanted not in _COLLECTING:
            return False
        return stage not in _COLLECTING or _COLLECTING.index(wanted) > _COLLECTING.index(stage)
