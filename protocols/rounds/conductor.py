"""The choreography of rounds, without IO: whom the coordinator asks for what next, and what it does then (spec 8.4).

    while (due := conductor.due).stage is not Stage.IDLE:
        for party in due.parties:                                    # one after another, or all at once
            store(conductor.take(party, ask(party, due.question)))   # may raise: then it has not answered
        store(conductor.proceed())                                   # without those who have not answered

Who carries questions and answers decides how long to wait for them, and stores what it is handed, in this order: the
blobs of a Publication, its entries, its note. Before it proceeds from SIGN everything that it was handed is durable.

    stage             question      whom                          then
    GENESIS                                                       entry 0
    IDLE                                                          nothing, before `open_round`, `change` or `end`
    KEYS              OfferKey      trustees in force, not barred  RoundOpen
    SUBMISSIONS       Submit        clients the round is open to  verdicts
    ACKNOWLEDGEMENTS  Acknowledge   trustees with a key           CohortClosed, or RoundAborted
    RELEASES          ReleaseShare  Q                             Aggregate, or RoundAborted
    MODEL                                                         RoundClosed
    SIGN                                                          a checkpoint of the log is signed
    COSIGN            Observe       trustees in force             it is published

SIGN and COSIGN come before a stage that shows somebody what is not published yet. Nothing here outlives the process but
what the coordinator has: the stage follows from the log, and where a round was collecting everybody is asked again who
is not in the log; they answer with the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse, Rejected
from protocols.envelopes import Entry
from protocols.messages import RoundKey
from protocols.pinned import PinnedPolicy
from protocols.rounds.closing import enough_submitted
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import (
    NOTHING,
    Acknowledge,
    Acknowledgement,
    Answer,
    Cosignature,
    Observe,
    OfferKey,
    Publication,
    Question,
    ReleasePackage,
    ReleaseShare,
    RoundKeyOffer,
    SubmissionPackage,
    Submit,
)
from protocols.rounds.ledger import CurrentRound, asked_clients
from protocols.rounds.phases import Phase, phase_of


class Stage(Enum):
    """What a coordinator is at."""

    GENESIS = "genesis"
    IDLE = "nothing"
    KEYS = "round keys"
    SUBMISSIONS = "submissions"
    ACKNOWLEDGEMENTS = "acknowledgements"
    RELEASES = "releases"
    MODEL = "the next model"
    SIGN = "a checkpoint to sign"
    COSIGN = "cosignatures"


# The stages of each phase of the log, in order. The last of them ends the phase, by an entry, and the log then says
# which one follows; whoever starts begins with the first.
STAGES: dict[Phase, tuple[Stage, ...]] = {
    Phase.EMPTY: (Stage.GENESIS,),
    Phase.BETWEEN: (Stage.IDLE, Stage.KEYS),
    Phase.KEYED: (Stage.IDLE, Stage.KEYS),
    Phase.COLLECTING: (Stage.SUBMISSIONS, Stage.ACKNOWLEDGEMENTS),
    Phase.RELEASING: (Stage.RELEASES,),
    Phase.OPENED: (Stage.MODEL,),
    Phase.OVER: (Stage.IDLE,),
}

# The stage in which an answer is welcome.
ANSWERED_IN: dict[type[Answer], Stage] = {
    Cosignature: Stage.COSIGN,
    RoundKeyOffer: Stage.KEYS,
    SubmissionPackage: Stage.SUBMISSIONS,
    Acknowledgement: Stage.ACKNOWLEDGEMENTS,
    ReleasePackage: Stage.RELEASES,
}


@dataclass(frozen=True)
class Due:
    """What is due. question: None where nobody is asked. parties: whom it is put to, without who has answered."""

    stage: Stage
    question: Question | None = None
    parties: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundEnd:
    """A round that has ended. last: the round just before the entry that ended it. asked: the clients that it was open
    to. aborted: the reason, or None."""

    last: CurrentRound
    asked: tuple[str, ...]
    aborted: str | None


class Conductor:
    """Conducts the rounds of one coordinator; initial: the policy's initial model, float64 (d,). approvals:
    those that the policy demands, for entry 0.

    Answers come in any order, late, twice or never. Whatever is refused changes nothing.
    """

    def __init__(
        self, pinned: PinnedPolicy, coordinator: Coordinator, initial: NDArray[np.float64], approvals: bytes = b""
    ) -> None:
        self._approvals = approvals
        self._pinned, self._coordinator, self._initial = pinned, coordinator, initial
        self._found = coordinator.size  # trustees may have seen all of it: it is published before anything else
        self._answered: set[str] = set()  # who has, in this stage
        self._keys: list[Entry] = []
        self._proposal: Observe | None = None
        self._cosignatures: dict[str, bytes] = {}
        self._where, self._position = self._place(), 0
        self._ended: RoundEnd | None = None

    @property
    def due(self) -> Due:
        """What is due now: the same until an answer is taken or the coordinator proceeds."""
        stage = self._stage()
        if stage is Stage.COSIGN:
            return Due(stage, self._proposal, self._without(self._trustees(), self._cosignatures))
        ledger, note = self._coordinator.ledger, self._coordinator.note
        if stage is Stage.KEYS:
            asked = self._without(self._trustees(), ledger.barred)
            again = set() if self._can_draw else {key.envelope.signer for key in self._keys if _value_of(key) is None}
            return Due(stage, OfferKey(ledger.next_round, note), self._without(asked, self._answered - again))
        if ledger.current is None or stage not in _ASKED:
            return Due(stage)
        question, asked_of = _ASKED[stage]
        parties, said = asked_of(self, ledger.current)
        return Due(stage, question(ledger.current.number, note), self._without(parties, {*said, *self._answered}))

    @property
    def enough(self) -> bool:
        """Whether the round goes on without those who have not answered: t trustees, min_cohort clients, have; where
        clients are drawn, more than f trustees gave a value."""
        stage, policy, current = self._stage(), self._pinned.policy, self._coordinator.ledger.current
        if stage is Stage.COSIGN:
            return len(self._cosignatures) >= policy.threshold
        if stage is Stage.KEYS:
            return len(self._keys) >= policy.threshold and self._can_draw
        if current is None:
            return True
        if stage is Stage.SUBMISSIONS:
            return enough_submitted(self._pinned, current)
        if stage is Stage.ACKNOWLEDGEMENTS:
            return len(current.acks) >= policy.threshold
        return stage is not Stage.RELEASES or len(self._coordinator.valid_releases()) >= policy.threshold

    @property
    def ended(self) -> RoundEnd:
        """The last round that ended under this conductor; Misuse for none."""
        if self._ended is None:
            raise Misuse("ended: no round has ended yet")
        return self._ended

    def take(self, party: str, answer: Answer) -> Publication:
        """What a party answered, to be stored; nothing for bytes that are in the log.

        Raises Malformed or Rejected for an answer that is not to what is asked now ("order"), and what the coordinator
        refuses; then the party has not answered. One that came too early can be handed in again.
        """
        stage, wanted = self._stage(), ANSWERED_IN[type(answer)]
        if isinstance(answer, Cosignature):
            return self._take_cosignature(stage, party, answer)
        if stage is not wanted:
            if self._coordinator.logged(answer.entry):
                return NOTHING
            raise Rejected("order", f"an answer for {stage.value}", f"{wanted.value}, of {party}")
        publication = self._receive(answer)
        self._answered.add(party)
        return publication

    def proceed(self) -> Publication:
        """Do what is due once everybody has answered who will; what is to be stored of it.

        Raises Rejected where it cannot be done yet, and then the same is still due: fewer than t cosignatures
        ("checkpoint-quorum") or round keys ("round-keys"), too few values to draw clients by ("draw"), or
        acknowledgements that have to be waited for ("quorum-wait"). Misuse where nothing is due.
        """
        stage, before = self._stage(), self._coordinator.ledger
        publication = _DO[stage](self)
        if before.current is not None and self._coordinator.ledger.current is None:
            self._ended = RoundEnd(before.current, asked_clients(self._pinned, before), publication.aborted)
        return publication

    def open_round(self) -> None:
        """Between rounds: the keys of the next one are due. Misuse at any other time, and once the log is closed."""
        if self._stage() is not Stage.IDLE or self._coordinator.ledger.closed is not None:
            raise Misuse(f"open_round: {self._stage().value} comes first")
        self._go_on()

    def change(self, entry: bytes) -> Publication:
        """A rotation or revocation, as `Coordinator.receive_change`; then it is published.

        Also while round keys are collected, of which nothing is in the log yet: what was offered is forgotten, as the
        trustees may be others now, and the round is to be opened again.
        """
        publication = self._coordinator.receive_change(entry)
        if publication.entries:
            self._position, self._answered, self._keys = 0, set(), []
        return publication

    def end(self, reason: str) -> Publication:
        """Between rounds: close the federation, as `Coordinator.close_federation`; then that is published."""
        return self._coordinator.close_federation(reason)

    # ---- where it is ----

    def _stage(self) -> Stage:
        if self._place() != self._where:  # the log went on: by `proceed`, or by somebody else's hand
            self._where, self._position, self._answered, self._keys = self._place(), 0, set(), []
        stages = STAGES[self._where[1]]
        stage = stages[self._position]
        if self._proposal is not None and self._proposal.size > self._coordinator.published:
            return Stage.COSIGN
        return Stage.SIGN if self._coordinator.published < self._shown_by(stage) else stage

    def _place(self) -> tuple[int, Phase]:
        ledger = self._coordinator.ledger
        return ledger.rounds, phase_of(ledger)

    def _shown_by(self, stage: Stage) -> int:
        """How many entries must be published before this stage."""
        current = self._coordinator.ledger.current
        if stage in (Stage.IDLE, Stage.KEYS):
            return self._coordinator.size
        if current is None or stage not in _ASKED:
            return self._found
        last = current.index
        if stage is Stage.ACKNOWLEDGEMENTS and current.submissions:
            last = current.submissions[-1].index
        if stage is Stage.RELEASES and current.cohort is not None:
            last = current.cohort.index
        return max(self._found, last + 1)

    @property
    def _can_draw(self) -> bool:
        """Whether the keys that were offered, each of which was admitted, give values enough to draw clients by."""
        policy, ledger = self._pinned.policy, self._coordinator.ledger
        given = sum(_value_of(key) is not None for key in self._keys)
        return policy.per_round is None or ledger.retry_of is not None or given > policy.corrupt

    def _go_on(self) -> None:
        """The next stage of this phase of the log."""
        self._position, self._answered, self._keys = self._position + 1, set(), []

    def _trustees(self) -> list[str]:
        return [member.id for member in self._coordinator.ledger.membership.trustees(self._pinned.policy)]

    @staticmethod
    def _without(parties: Iterable[str], answered: Iterable[str]) -> tuple[str, ...]:
        known = set(answered)
        return tuple(party for party in parties if party not in known)

    def _submitting(self, current: CurrentRound) -> tuple[Iterable[str], Iterable[str]]:
        asked = asked_clients(self._pinned, self._coordinator.ledger)
        return asked, (each.message.client for each in current.submissions)

    def _acknowledging(self, current: CurrentRound) -> tuple[Iterable[str], Iterable[str]]:
        return (key.trustee for key in current.keys), (ack.trustee for ack in current.acks)

    def _releasing(self, current: CurrentRound) -> tuple[Iterable[str], Iterable[str]]:
        asked = current.cohort.message.trustees if current.cohort else ()
        return asked, (each.message.trustee for each in current.releases)

    # ---- what is answered ----

    def _take_cosignature(self, stage: Stage, party: str, answer: Cosignature) -> Publication:
        if stage is not Stage.COSIGN or self._proposal is None:
            raise Rejected("order", f"an answer for {stage.value}", f"a cosignature of {party}")
        trustee = self._coordinator.cosigner(self._proposal.note, answer.line)
        if trustee is None:
            raise Rejected("cosignature", f"a trustee's under {self._proposal.size} entries", f"none, of {party}")
        self._cosignatures[trustee] = answer.line
        return NOTHING

    def _receive(self, answer: RoundKeyOffer | SubmissionPackage | Acknowledgement | ReleasePackage) -> Publication:
        match answer:
            case RoundKeyOffer():
                self._offer(answer.opened)
                return NOTHING
            case SubmissionPackage():
                return self._coordinator.receive(answer)
            case Acknowledgement():
                return self._coordinator.receive_ack(answer)
            case ReleasePackage():
                return self._coordinator.receive_release(answer)

    def _offer(self, entry: Entry) -> None:
        """One more round key, or one with a value in the place of one of the same trustee that had lost it."""
        if any(entry.data == key.data for key in self._keys):
            return
        signer, gives = entry.envelope.signer, _value_of(entry) is not None
        others = [key for key in self._keys if not gives or key.envelope.signer != signer or _value_of(key) is not None]
        self._keys = [*others, self._coordinator.admitted_key(others, entry)]

    # ---- what is done ----

    def _nothing(self) -> Publication:
        raise Misuse("proceed: nothing is due")

    def _genesis(self) -> Publication:
        return self._coordinator.genesis(self._initial, self._approvals)

    def _sign(self) -> Publication:
        self._proposal = Observe(self._coordinator.checkpoint(), self._coordinator.size)
        self._cosignatures = {}
        return NOTHING

    def _publish(self) -> Publication:
        if self._proposal is None:
            raise Misuse("proceed: sign a checkpoint first")
        note = self._coordinator.cosigned(self._proposal.note, self._cosignatures.values())
        self._proposal = None
        return Publication((), note=note)

    def _open(self) -> Publication:
        return self._coordinator.open_with(self._keys)

    def _judge(self) -> Publication:
        self._coordinator.verdicts()
        self._go_on()
        return NOTHING

    def _close_cohort(self) -> Publication:
        wait = self._coordinator.quorum_wait()
        if wait:
            expected = f"{self._pinned.policy.threshold} acknowledgements, or {wait} seconds more"
            raise Rejected("quorum-wait", expected, "fewer")
        return self._coordinator.close_cohort()

    def _open_sum(self) -> Publication:
        return self._coordinator.aggregate()

    def _close_round(self) -> Publication:
        return self._coordinator.close_round()


def _value_of(key: Entry) -> bytes | None:
    """What a round key gives to the draw."""
    return key.message.draw if isinstance(key.message, RoundKey) else None


_Asked = Callable[[Conductor, CurrentRound], tuple[Iterable[str], Iterable[str]]]  # (who is asked, who has answered)
_ASKED: dict[Stage, tuple[type[Submit | Acknowledge | ReleaseShare], _Asked]] = {
    Stage.SUBMISSIONS: (Submit, Conductor._submitting),
    Stage.ACKNOWLEDGEMENTS: (Acknowledge, Conductor._acknowledging),
    Stage.RELEASES: (ReleaseShare, Conductor._releasing),
}
_DO: dict[Stage, Callable[[Conductor], Publication]] = {
    Stage.GENESIS: Conductor._genesis,
    Stage.IDLE: Conductor._nothing,
    Stage.KEYS: Conductor._open,
    Stage.SUBMISSIONS: Conductor._judge,
    Stage.ACKNOWLEDGEMENTS: Conductor._close_cohort,
    Stage.RELEASES: Conductor._open_sum,
    Stage.MODEL: Conductor._close_round,
    Stage.SIGN: Conductor._sign,
    Stage.COSIGN: Conductor._publish,
}
