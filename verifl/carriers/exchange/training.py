"""The task on one machine of many: prepared as the policy was signed for it, and trained for one client."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from protocols.policy import Policy
from protocols.rounds.exchange import Question, SubmissionPackage
from protocols.rounds.proposals import OF_CLIENTS
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model
from verifl.agents.client import ClientAgent, TrainedTurn, ZeroTurn
from verifl.agents.clock import Clock
from verifl.agents.party import PublicLog
from verifl.agents.summation import resolve_device
from verifl.carriers.exchange.keeping import ClientKeeper
from verifl.carriers.exchange.models import ModelKeeper
from verifl.carriers.exchange.participant import Participant, evidence_of
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.turns import tell_length, tell_spending
from verifl.config import Config
from verifl.enrolment.pins import check_initial, check_task
from verifl.enrolment.policies import TrainedModel, check_training
from verifl.progress import Progress
from verifl.strategies.weights import weighs
from verifl.tasks.base import Task
from verifl.tasks.loading import load_task
from verifl.tasks.user_code import ClientFailed
from verifl.training.initial_files import bare_model, started_from
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorFilter, tensor_filter

_LOGGER = logging.getLogger(__name__)


def prepared_training(
    config: Config, folder: Path, policy: Policy, device: str, initial_file: Path | None = None
) -> tuple[LocalTraining, Doubles]:
    """A configuration's training, and the initial model, float64 (d,); raises Misuse where it is not the policy's.

    initial_file: what came with the policy, to start from; without a task it is all there is of the model.
    """
    rule = tensor_filter(config)
    if initial_file is not None:
        check_initial(policy, initial_file)
    if config.task is None and initial_file is not None:
        names = [member.id for member in policy.roster]
        task: Task[Any] = bare_model(initial_file, policy.tensors, names)
        rule = TensorFilter(trainable_only=True, nonnegative=rule.nonnegative)
    else:
        check_task(policy, config, folder)
        task = load_task(config, folder)
        task = task if initial_file is None else started_from(task, initial_file)
    weighed = weighs(config.weights) and config.task is not None  # the coordinator of an application has no task
    seed, rounds = config.federation.seed, config.federation.rounds
    training = LocalTraining(task, rule, resolve_device(device), seed, weighed, rounds)
    initial, layout = training.initial(), training.layout
    check_training(policy, config, TrainedModel.of(layout.specs, layout.dimension, encode_model(initial)))
    return training, initial


def client_participant(seat: Seat, training: LocalTraining, progress: Progress, clock: Clock) -> Participant:
    """A client's part: it answers with what its training makes, and keeps its receipts and the newest model.

    Raises Misuse where its state is not its own, or older than what the log has of it.
    """
    public, pinned, own = seat.public, seat.pinned, seat.party.directory
    agent = ClientAgent.open(pinned, seat.party, training, evidence_of(public, pinned, seat.party))
    keeper = ClientKeeper(pinned, agent, ModelKeeper(public, pinned, training, own.model, progress.note))
    answer = ClientTurns(agent, progress).answer
    return Participant(public, pinned, agent.name, OF_CLIENTS, answer, lambda: None, clock, keeper.look)


class ClientTurns:
    """A client's turns, told to whoever runs it; of what its data made, how long its update was, and no value."""

    def __init__(self, agent: ClientAgent, progress: Progress) -> None:
        self._agent, self._progress = agent, progress
        self.stage = progress.stage
        self._clipped: bool | None = None

    def answer(self, question: Question, log: PublicLog) -> SubmissionPackage | None:
        """Its submission; None where its own training came to nothing: it drops out of the round."""
        self._clipped = None
        try:
            package = self._agent.answer(question, log, self)
        except ClientFailed as error:
            fields = {"event": "dropped-out", "abstained": error.abstained}
            _LOGGER.warning("%s takes no part in this round: %s", self._agent.name, error, extra={"fields": fields})
            return None
        size = len(package.entry) + sum(map(len, package.blobs.values()))
        self._progress.submitted(self._agent.name, size, self._clipped)
        return package

    def trained(self, turn: TrainedTurn) -> None:
        """See `TurnObserver`."""
        self._clipped = turn.update.clipped
        tell_length(turn)

    def sends_zero(self, zero: ZeroTurn) -> None:
        """See `TurnObserver`; nobody else here has seen a turn, so that it may be the task that is wrong."""
        self._clipped = False
        tell_spending(zero.failure.client, self._agent.spent)
