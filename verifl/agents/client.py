"""A client by itself: its key, its directory, its data. It answers a round's invitation, whoever carries it."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from proofs.randomness import Randomness
from protocols.log.writer import DiskWatch
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy, UpdateRule, WeightRule
from protocols.receipts import Receipt
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.client_holdings import HOLDINGS
from protocols.rounds.evidence import NO_EVIDENCE, Evidence
from protocols.rounds.exchange import Question, SubmissionPackage, Submit
from protocols.steps.doubles import Doubles
from protocols.weights import NO_WEIGHT, WEIGHT_KINDS, lightest
from verifl.agents.accepting import accept_round
from verifl.agents.party import Party, PublicLog, check_store, newest_state
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.receipts import accepted_rounds, keep_receipt, kept_receipts, receipt_file
from verifl.storage.stores import DirectoryStore, unobserved
from verifl.strategies.weights import beyond, mapped
from verifl.tasks.user_code import ClientFailed, whole_turn
from verifl.tasks.weighing import check_measured
from verifl.training import own_tensors
from verifl.training.own_tensors import Kept, LocalState
from verifl.training.tensors import TensorLayout
from verifl.training.update import EncodedUpdate, clip_norm, encode_update

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedTurn:
    """What training made of a client's model, for whoever runs it to look at; nothing of it leaves the machine.

    before, after: float64 (d,). buffers: names of float buffers that stay with the client, and that were changed.
    """

    client: str
    round: int
    before: Doubles
    after: Doubles
    update: EncodedUpdate
    buffers: tuple[str, ...]


@dataclass(frozen=True)
class ZeroTurn:
    """A turn that came to nothing under a policy with noise: why, and by what weight its update zero counts."""

    failure: ClientFailed
    weight: int | None

    def update(self, policy: Policy) -> EncodedUpdate:
        """What is submitted; it is logged that it is zero, and why."""
        _LOGGER.warning(
            "%s sends the update zero, as under this policy it may not be missing: %s",
            self.failure.client,
            self.failure.reason,
            extra={"fields": {"event": "update-zero", "client": self.failure.client}},
        )
        return EncodedUpdate(np.zeros(policy.dimension, dtype=np.int64), 0.0, clip_norm(policy.update), self.weight)


class Training(Protocol):
    """What a client trains by; see `verifl.training.local_training.LocalTraining`."""

    layout: TensorLayout

    def restore(self, client: str, kept: Kept) -> None:
        """Take up what the client keeps for itself."""
        ...

    def train(self, client: str, model: Doubles, round_number: int) -> tuple[Doubles, Doubles]:
        """The model before and after training, float64 (d,) each."""
        ...

    def measured(self, client: str) -> float | None:
        """What the data of the client's turn weigh, as the task says; None where it does not say."""
        ...

    def kept(self, client: str) -> Kept:
        """What training left for the client's next turn."""
        ...

    def forget(self, client: str) -> None:
        """Let go of it, once it is kept elsewhere."""
        ...

    def changed_buffers(self, client: str) -> tuple[str, ...]:
        """Names of float buffers among it."""
        ...


@runtime_checkable
class TrainsAhead(Protocol):
    """A `Training` whose turns can be begun before they are asked for; see `verifl.training.workers`."""

    def restore(self, client: str, kept: Kept) -> None:
        """Take up what the client keeps for itself."""
        ...

    def begin(self, client: str, model: Doubles, number: int) -> None:
        """Have a client's turn made."""
        ...


class TurnObserver(Protocol):
    """Is told how a client's turn goes, by its agent, for whoever runs it."""

    def stage(self, text: str) -> None:
        """What is done now, in a few words."""
        ...

    def trained(self, turn: TrainedTurn) -> None:
        """The client has trained, and has an update."""
        ...

    def sends_zero(self, zero: ZeroTurn) -> None:
        """Its training came to nothing, so that it is about to submit the update zero. What this raises ends the turn:
        the client has then said nothing, and keeps what it had."""
        ...


class _Nobody:
    """Watches nothing."""

    def stage(self, text: str) -> None:
        """Nothing is told."""

    def trained(self, turn: TrainedTurn) -> None:
        """Nothing is told."""

    def sends_zero(self, zero: ZeroTurn) -> None:
        """Nothing is told."""


UNWATCHED = _Nobody()


class ClientAgent:
    """One client of one federation, on its own machine or not.

    training: the task's, which may serve other clients too: between turns it keeps nothing of this one. watch: see
    `DirectoryStore`.
    """

    def __init__(
        self,
        pinned: PinnedPolicy,
        client: Client,
        directory: PartyDirectory,
        training: Training,
        watch: DiskWatch = unobserved,
    ) -> None:
        self._pinned, self._client, self._directory = pinned, client, directory
        self._training, self._watch = training, watch

    @classmethod
    def open(
        cls,
        pinned: PinnedPolicy,
        party: Party,
        training: Training,
        evidence: Evidence = NO_EVIDENCE,
        rand: Randomness = os.urandom,
        watch: DiskWatch = unobserved,
    ) -> ClientAgent:
        """On the state in its directory; evidence: what the published log has of it.

        Raises Misuse where the state is older than that, damaged, or somebody else's, or without its key in force.
        """
        check_store(party.directory.store, HOLDINGS)
        check_store(party.directory.training, own_tensors.HOLDINGS)
        store, (key, *successors) = DirectoryStore(party.directory.store, watch), party.keys
        with newest_state(party.directory):
            client = Client(pinned, key, party.name, store, get_engine("native"), rand, successors, evidence)
        return cls(pinned, client, party.directory, training, watch)

    @property
    def name(self) -> str:
        """Its id in the policy."""
        return self._client.name

    @property
    def spent(self) -> tuple[int, int] | None:
        """How many closed cohorts it is in by its receipts, and how many the policy allows; None without a budget, and
        where it adds noise alone."""
        budget = self._pinned.budget
        if budget is None or self._adds_noise:
            return None
        return accepted_rounds(self._directory, self._pinned), budget.rounds(self.name)

    def answer(
        self, question: Question, log: PublicLog, observer: TurnObserver = UNWATCHED, zero: ZeroTurn | None = None
    ) -> SubmissionPackage:
        """Verify the round; then train, commit, prove, encrypt and share, unless it has answered: then the same bytes.

        zero: what its training in this round came to, where `observer` ended the turn for it: it does not train again.
        Raises Malformed or Rejected, as `protocols.rounds.client` does, for what it is shown, Rejected("budget") where
        by its receipts it is in as many closed cohorts as the policy allows, ClientFailed where its training comes to
        nothing: it has then said nothing, and keeps for itself what it had; or what `observer` raises.
        """
        if not isinstance(question, Submit):
            raise Misuse(f"{self.name}: a client answers no {type(question).__name__}")
        observer.stage(f"{self.name} {'draws noise' if self._adds_noise else 'trains'}")
        opened = accept_round(self._pinned, self._client, log)
        if opened.number != question.round:
            raise Rejected("round", str(question.round), str(opened.number))
        package = self._client.answered(opened)
        if package is None:
            update = noise_alone(self._pinned.policy) if self._adds_noise else self._turn(opened, observer, zero)
            observer.stage(f"{self.name} proves and encrypts")
            package = self._client.submit(opened, update.units, update.weight)
        return package

    def prepare(self, question: Question, log: PublicLog) -> None:
        """Begin to train, if that is done elsewhere and the round is not answered yet; raises as `answer`, which is to
        follow."""
        if not isinstance(question, Submit) or not isinstance(self._training, TrainsAhead) or self._adds_noise:
            return
        opened = accept_round(self._pinned, self._client, log)
        if opened.number == question.round and self._client.answered(opened) is None:
            local = self._local()
            self._training.restore(self.name, local.before(opened.number))
            self._training.begin(self.name, opened.model, opened.number)

    def keep_receipt(self, number: int, receipt: Receipt) -> None:
        """Keep its receipt of a round that has ended, unless it has one; raises Malformed or Rejected for one that does
        not hold, or is not its own."""
        keep_receipt(self._directory, self._pinned, self.name, number, receipt)

    def has_receipt(self, number: int) -> bool:
        """Whether it keeps a receipt of this round."""
        return receipt_file(self._directory, number).exists()

    @property
    def _adds_noise(self) -> bool:
        """Whether it is a trustee, which adds noise and trains nothing."""
        return self.name in self._pinned.noise_trustees

    def _turn(self, opened: OpenRound, observer: TurnObserver, zero: ZeroTurn | None) -> EncodedUpdate:
        self._check_budget()
        return self._train(opened, observer) if zero is None else _sent(zero, self._pinned.policy, observer)

    def _check_budget(self) -> None:
        """It does not count on being asked no more: what it keeps of former rounds says how much it has spent."""
        budget = self._pinned.budget
        if budget is not None and len(kept_receipts(self._directory)) >= budget.rounds(self.name):
            budget.check(self.name, accepted_rounds(self._directory, self._pinned))

    def _train(self, opened: OpenRound, observer: TurnObserver) -> EncodedUpdate:
        again = self._client.weight_on(opened)
        return train_turn(self._training, self._pinned.policy, self._local(), self.name, opened, observer, again)

    def _local(self) -> LocalState:
        local = LocalState(DirectoryStore(self._directory.training, self._watch))
        local.discard_after(self._client.last_answered)  # of turns that were killed before they had an answer
        return local


def noise_alone(policy: Policy) -> EncodedUpdate:
    """What a trustee submits that adds noise: no update, of no weight."""
    return EncodedUpdate(np.zeros(policy.dimension, dtype=np.int64), 0.0, clip_norm(policy.update), NO_WEIGHT)


def train_turn(
    training: Training,
    policy: Policy,
    local: LocalState,
    client: str,
    opened: OpenRound,
    observer: TurnObserver,
    again: int | None = None,
) -> EncodedUpdate:
    """Train, and keep what the client keeps for itself, as of this round; raises ClientFailed where that comes to
    nothing, and then the client keeps what it had. `training` itself keeps nothing of it.

    Under a policy with noise it then has the update zero, whatever ended its turn but a KeyboardInterrupt and its own
    disk: whether it takes part may not depend on its data, or that would be published without noise (spec 10.1).
    again: the weight that it has to state, whatever its data weigh now; see `Client.weight_on`.
    """
    try:
        return _trained(training, policy, local, client, opened, observer, again)
    except ClientFailed as error:
        if policy.noise is None:
            raise
        weight = _weight_nevertheless(training, policy.weights, client) if again is None else again
        return _sent(ZeroTurn(error, weight), policy, observer)
    finally:
        training.forget(client)


def _sent(zero: ZeroTurn, policy: Policy, observer: TurnObserver) -> EncodedUpdate:
    observer.sends_zero(zero)
    return zero.update(policy)


def _trained(
    training: Training,
    policy: Policy,
    local: LocalState,
    client: str,
    opened: OpenRound,
    observer: TurnObserver,
    again: int | None,
) -> EncodedUpdate:
    number = opened.number
    had = local.before(number)
    with nullcontext() if policy.noise is None else whole_turn(client):
        training.restore(client, had)
        before, after = training.train(client, opened.model, number)
        weight = _weight(training, policy.weights, client) if again is None else again
        update = _encode(training, policy.update, client, before, after, weight)
        turn = TrainedTurn(client, number, before, after, update, training.changed_buffers(client))
        left = training.kept(client)
    local.after(number, left)
    observer.trained(turn)
    return update


def _weight_nevertheless(training: Training, rule: WeightRule, client: str) -> int | None:
    """What its data weigh, where they were weighed before its turn ended: another weight would tell that it failed.
    Else the lightest."""
    try:
        with whole_turn(client):
            return _weight(training, rule, client)
    except ClientFailed:
        return lightest(rule)


def _weight(training: Training, rule: WeightRule, client: str) -> int | None:
    """By what this turn's update is weighed, where clients have weights."""
    if not WEIGHT_KINDS.find(rule.kind).weighs:
        return None
    measured = training.measured(client)
    if measured is None:
        raise ClientFailed(client, f"the policy has {rule.kind} weights, and nothing says what its data weigh")
    if measured == 0:
        raise ClientFailed(client, "abstains: its data weigh 0", abstained=True)
    check_measured(client, measured)
    if beyond(measured, rule):
        _LOGGER.warning(
            "%s weighs %d, the largest weight, though its data weigh %g: they count for no more",
            client,
            rule.largest,
            measured,
            extra={"fields": {"event": "weight-capped", "client": client}},
        )
    return mapped(measured, rule)


def _encode(
    training: Training, rule: UpdateRule, client: str, before: Doubles, after: Doubles, weight: int | None
) -> EncodedUpdate:
    owner = f"client {client}"
    try:
        return encode_update(before, after, training.layout, rule, owner, weight)
    except Misuse as error:
        raise ClientFailed(client, str(error).removeprefix(f"{owner}: "), text=str(error)) from error
