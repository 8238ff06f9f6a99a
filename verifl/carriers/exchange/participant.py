"""A trustee or client that reads the public directory, and answers there what it is asked by name."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from proofs.errors import Malformed, Rejected
from protocols.invitation import Invitation
from protocols.log.connection import Unreachable
from protocols.log.reader import TranscriptReader
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import answer_kind, encode_answer
from protocols.rounds.evidence import NO_EVIDENCE, Evidence
from protocols.rounds.exchange import Answer, Question
from protocols.rounds.proposals import OF_CLIENTS, Proposal, bundled_entries, open_proposal
from verifl.agents.clock import Clock
from verifl.agents.party import Party, PublicLog
from verifl.agents.published import PublishedLog, newest, steadily
from verifl.carriers.exchange.public import Glance, PublicView
from verifl.carriers.exchange.stopping import Stop
from verifl.carriers.exchange.versions import VersionsSeen

_LOGGER = logging.getLogger(__name__)
_AGAIN = 60.0  # seconds, after which an answer that has not arrived is sent again
_LONGEST = 60.0  # seconds between two tries to reach a web server, unless looks are further apart
_T = TypeVar("_T")


def evidence_of(public: PublicView, pinned: PinnedPolicy, party: Party) -> Evidence:
    """What the published log has of a party: for its agent to start with. Raises Malformed or Rejected for what is no
    log."""

    def look() -> Evidence:
        reader = public.reader()
        return NO_EVIDENCE if reader is None else PublishedLog(reader, pinned).said_by(party)

    try:
        return steadily(look, lambda: newest(public.reader()))
    except (Malformed, Rejected):
        public.distrust()
        raise


def reached(what: Callable[[], _T], stop: Stop, poll: float, once: bool = False) -> _T:
    """What `what` gives, as soon as the web server is reached; Stopped may come first. once: raise Unreachable instead
    of waiting."""
    outage = Outage()
    while True:
        try:
            found = what()
        except Unreachable as error:
            if once:
                raise
            stop.pause(outage.begun(error, poll))
        else:
            outage.ended()
            return found


class Outage:
    """A time in which a web server is not reached, or takes no answer: what is told of it, and how long to wait."""

    def __init__(self) -> None:
        self._said, self._pause = "", 0.0

    def begun(self, error: Unreachable, poll: float) -> float:
        """It was not reached: seconds to wait, longer each time."""
        said = f"{error.filename}: {error.strerror}"
        if said != self._said:
            _LOGGER.warning("%s; tries again", said, extra={"fields": {"event": "unreachable"}})
        self._said, self._pause = said, min(max(2 * self._pause, poll), max(poll, _LONGEST))
        return self._pause

    def ended(self) -> None:
        """It was reached."""
        if self._said:
            _LOGGER.info("the web server is reached again", extra={"fields": {"event": "reached"}})
        self._said, self._pause = "", 0.0


class ProposedLog:
    """The log as a proposal shows it: what is published, then what it names beside that."""

    def __init__(self, glance: Glance, pinned: PinnedPolicy, proposal: Proposal) -> None:
        self._glance, self._pinned, self._proposal = glance, pinned, proposal

    def entries(self, start: int, stop: int) -> Iterator[bytes]:
        """See `PublicLog`. Each step raises Rejected("entries") where less than that is there."""
        if start >= stop:
            return
        first = self._proposal.start if self._proposal.bundles else stop
        if start < first:
            reader, last = self._published(), min(stop, first)
            if reader.size < last:
                raise Rejected("entries", f"{last} published entries", str(reader.size))
            yield from reader.stream(start, last)
        if stop > first:
            yield from islice(
                bundled_entries(self._proposal, self._glance.public.bundle), max(0, start - first), stop - first
            )

    def invitation(self, since: int, known: int) -> Invitation:
        """See `PublicLog`."""
        return PublishedLog(self._published(), self._pinned).invitation(since, known)

    def blob(self, name: bytes, limit: int) -> bytes:
        """See `PublicLog`."""
        return self._glance.public.blob(name, limit)

    def _published(self) -> TranscriptReader:
        reader = self._glance.reader
        if reader is None:
            raise Rejected("entries", "a published checkpoint", "none")
        return reader


@dataclass(frozen=True)
class _Asked:
    """What tells one question from another, whoever else is asked."""

    question: str
    round: int
    note: bytes


class Participant:
    """questions: those for such a party, as proposals spell them. answer: what its agent says to one, by a log; None to
    say nothing to it, now and when it is asked again. tend: done at every look, asked or not. keep: shown the published
    log at every look, None for none.

    Nothing of it outlives the process: asked again, the agent gives the same bytes, which go to the same place.
    """

    def __init__(
        self,
        public: PublicView,
        pinned: PinnedPolicy,
        name: str,
        questions: Sequence[str],
        answer: Callable[[Question, PublicLog], Answer | None],
        tend: Callable[[], None],
        clock: Clock,
        keep: Callable[[TranscriptReader | None], None] | None = None,
    ) -> None:
        self._public, self._pinned, self._name, self._clock = public, pinned, name, clock
        self._questions, self._answer, self._tend, self._keep = questions, answer, tend, keep
        self._answered: tuple[_Asked, float] | None = None
        self._versions = VersionsSeen()
        self._complaint = ""
        self._passed_over = 0  # the last round in which it was told that it is not asked

    def look(self) -> bool:
        """Answer, if it is asked and has not just done so; whether it has. Tend to what has to be done in any case,
        whatever is published: or whoever shows nonsense kept a trustee's secrets alive.

        Raises Malformed or Rejected for what is published, Unreachable where nothing can be had or put there, and
        Misuse for its own mistake; it has then said nothing.
        """
        glance = Glance(self._public)
        try:
            try:
                answered = self._respond(glance)
            finally:
                self._tend()
                if self._keep is not None:
                    self._keep(glance.reader)
        except (Malformed, Rejected):
            self._public.distrust()
            raise
        _LOGGER.debug("%s has looked", self._name, extra={"fields": {"event": "looked"}})
        return answered

    def run(self, stop: Stop, poll: float, once: bool = False) -> None:
        """Look every `poll` seconds, until Stopped. What it refuses is logged once, and looked at again: what is
        published may be another thing by then. A web server that is not reached is tried again, after longer and longer
        pauses. once: look but once, and raise as `look`."""
        if once:
            self.look()
            return
        outage = Outage()
        while True:
            pause = poll
            try:
                self.look()
                outage.ended()
            except (Malformed, Rejected) as error:
                self._complain(error)
            except Unreachable as error:
                pause = outage.begun(error, poll)
            stop.pause(pause)

    def _respond(self, glance: Glance) -> bool:
        data = self._public.proposal()
        if data is None:
            return False
        proposal = open_proposal(self._pinned, data)
        self._versions.note(COORDINATOR, proposal.software)
        asked = _Asked(proposal.question, proposal.round, proposal.note)
        if self._name not in proposal.parties or proposal.question not in self._questions:
            self._pass_over(proposal)
            return False
        if self._has_answered(asked):
            return False
        answer = self._answer(proposal.asked(), ProposedLog(glance, self._pinned, proposal))
        if answer is None:
            self._answered = asked, math.inf
            return False
        self._public.put(self._name, encode_answer(answer))
        self._answered = asked, self._clock.monotonic()
        kind, size = answer_kind(answer)
        fields = {"event": "answered", "question": asked.question, "round": asked.round, "kind": kind, "bytes": size}
        what = f"{asked.question}, round {asked.round}"
        if not asked.round:  # where a checkpoint is to be observed
            what = asked.question
        _LOGGER.info("%s answers: %s", self._name, what, extra={"fields": fields})
        return True

    def _pass_over(self, proposal: Proposal) -> None:
        """Say once a round that others were drawn for it; of a client that was started again also where it has
        answered."""
        answered = self._answered is not None and self._answered[0].round == proposal.round
        drawn = proposal.question in OF_CLIENTS and proposal.question in self._questions
        if self._pinned.policy.per_round is None or not drawn or answered or self._passed_over == proposal.round:
            return
        self._passed_over = proposal.round
        fields = {"event": "not-asked", "round": proposal.round}
        _LOGGER.info(
            "%s is not asked in round %d: others are drawn, or it has answered",
            self._name, proposal.round, extra={"fields": fields},
        )  # fmt: skip

    def _has_answered(self, asked: _Asked) -> bool:
        if self._answered is None or self._answered[0] != asked:
            return False
        return self._clock.monotonic() - self._answered[1] < _AGAIN

    def _complain(self, error: Malformed | Rejected) -> None:
        if str(error) == self._complaint:
            return
        self._complaint = str(error)
        check = error.check if isinstance(error, Rejected) else "malformed"
        fields = {"event": "refuses", "check": check}
        _LOGGER.warning("%s refuses: %s", self._name, error, extra={"fields": fields})
