"""The client in Flower: `ClientApp(mods=[verified])`.

A message brings a signed proposal. The client verifies the round and its model by the published log, has the
application train from that model, and answers with proof and ciphertext; asked again it gives the same bytes. Nothing
else leaves its machine: no metric, no count of examples, no text of an exception.
"""

from __future__ import annotations

import logging

from flwr.app import ArrayRecord, Context, Message, MessageType, RecordDict
from flwr.clientapp.typing import ClientAppCallable

from proofs.errors import Malformed, Misuse, Rejected
from protocols.key_files import passphrase_of
from protocols.locks import InUse
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.rounds.answers import encode_answer
from protocols.rounds.proposals import OF_CLIENTS, Proposal, open_proposal
from protocols.weights import WEIGHT_KINDS
from verifl.agents.client import ClientAgent, TrainedTurn, ZeroTurn
from verifl.carriers.exchange.keeping import ClientKeeper
from verifl.carriers.exchange.models import ModelKeeper
from verifl.carriers.exchange.participant import ProposedLog, evidence_of
from verifl.carriers.exchange.public import Glance
from verifl.carriers.exchange.seat import Seat, taken_seat
from verifl.carriers.flower.app_training import EXAMPLES, AppTraining, Trainer, flower_layout, own_tensors, whole_model
from verifl.carriers.flower.messages import (
    ASKED,
    BUSY,
    DROPPED_OUT,
    MISCONFIGURED,
    REFUSED,
    Ask,
    refusal,
    reply,
    thanks,
)
from verifl.carriers.flower.node import EVALUATE, PUBLIC_DATA, Node, node_of
from verifl.carriers.flower.simulation import simulated_node
from verifl.carriers.turns import tell_length, tell_spending
from verifl.enrolment.policies import read_policy_file
from verifl.reports.logs import logged
from verifl.tasks.causes import explain
from verifl.tasks.user_code import ClientFailed, user_code

_LOGGER = logging.getLogger(__name__)


def verified(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer a verifl coordinator as the client that the node's configuration names.

    What is wrong is told in this node's log; the reply says no more than its kind, and the name of the check.
    """
    with logged("json", "info"):
        try:
            return _replied(message, context, call_next)
        except ClientFailed as error:
            fields = {"event": "dropped-out", "abstained": error.abstained}
            _LOGGER.warning("takes no part in this round: %s", error, extra={"fields": fields})
            return refusal(message, DROPPED_OUT, "takes no part in this round; this node's log says why")
        except InUse as error:
            _LOGGER.warning("is at work: %s", error)
            return refusal(message, BUSY, "is at work on an earlier question")
        except (Malformed, Rejected) as error:
            return refusal(message, REFUSED, f"refuses: {_tell_refusal('', error)}")
        except (Misuse, OSError) as error:
            return _cannot(message, str(error))
        except Exception as error:  # noqa: BLE001  Flower would send the words of whatever is raised to the coordinator
            return _cannot(message, explain(error))


def _cannot(message: Message, why: str) -> Message:
    _LOGGER.warning("cannot take part: %s", why)
    return refusal(message, MISCONFIGURED, "cannot take part; this node's log says why")


def _replied(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    if message.has_error():
        raise Rejected("question", "a message with content", f"one with the error {message.error.code}")
    node, ask = simulated_node(context) or node_of(context), Ask.of(message)
    if ask is None:
        return _plain(message, context, call_next, node)
    if _category(message) != MessageType.TRAIN:
        raise Rejected(
            "question", f"a message of {MessageType.TRAIN}", f"one of {message.metadata.message_type!a}"[:100]
        )
    place = ("client", node.public, node.state, node.policy, node.keys, passphrase_of(node.passphrase), node.access)
    with taken_seat(*place) as seat:
        if not ask.proposal:
            training = AppTraining(flower_layout(seat.pinned.policy), _untrained, node.seed, {})
            _keep(seat, node, _agent(seat, training), Glance(seat.public))
            return thanks(message)
        return reply(message, _answer(seat, node, ask, _trainer(message, context, call_next, ask.key)))


def _plain(message: Message, context: Context, call_next: ClientAppCallable, node: Node) -> Message:
    """What no coordinator of verifl asks: an update or a metric in the clear."""
    if _category(message) == MessageType.EVALUATE and node.evaluates:
        _check_clear(PinnedPolicy.open(read_policy_file(node.policy)).policy, node, "metrics of evaluate()")
        with user_code("evaluate() failed"):
            return call_next(message, context)
    allowed = f"; {EVALUATE}=true in the node's configuration allows metrics" if not node.evaluates else ""
    raise Rejected("plain", f"a question of verifl{allowed}", f"a plain {message.metadata.message_type!a}"[:100])


def _check_clear(policy: Policy, node: Node, what: str) -> None:
    """Raise Rejected("noise") where `what`, which follows from the client's data, would leave its machine without noise
    under a policy that has noise: the epsilon of 10.1 in the specification is of all that is seen."""
    if policy.noise is not None and not node.public_data:
        expected = f"nothing of private data but under noise; {PUBLIC_DATA}=true in the node's configuration allows it"
        raise Rejected("noise", expected, what)


def _category(message: Message) -> str:
    return str(message.metadata.message_type).partition(".")[0]


def _answer(seat: Seat, node: Node, ask: Ask, trainer: Trainer) -> bytes:
    """What the client says to a proposal."""
    proposal, layout = open_proposal(seat.pinned, ask.proposal), flower_layout(seat.pinned.policy)
    _check_asked(proposal, seat.party.name)
    if WEIGHT_KINDS.find(seat.pinned.policy.weights.kind).weighs:
        _check_clear(seat.pinned.policy, node, f"weights by {EXAMPLES!r}")
    agent = _agent(seat, AppTraining(layout, trainer, node.seed, own_tensors(node.initial, layout)))
    glance = Glance(seat.public)
    _keep(seat, node, agent, glance)
    package = agent.answer(proposal.asked(), ProposedLog(glance, seat.pinned, proposal), _Told(agent))
    answer = encode_answer(package)
    fields = {
        "event": "answered",
        "question": proposal.question,
        "round": proposal.round,
        "kind": "submission",
        "bytes": len(answer),
    }
    _LOGGER.info("%s answers: round %d", agent.name, proposal.round, extra={"fields": fields})
    return answer


def _agent(seat: Seat, training: AppTraining) -> ClientAgent:
    return ClientAgent.open(seat.pinned, seat.party, training, evidence_of(seat.public, seat.pinned, seat.party))


def _check_asked(proposal: Proposal, name: str) -> None:
    if proposal.question not in OF_CLIENTS:
        raise Rejected("question", " or ".join(OF_CLIENTS), proposal.question)
    if name not in proposal.parties:
        raise Rejected("asked", f"a question to {name}", f"one to {len(proposal.parties)} others")


def _keep(seat: Seat, node: Node, agent: ClientAgent, glance: Glance) -> None:
    """Receipts of rounds that have ended, and the newest model; what does not hold is told, and hinders no answer."""
    models: ModelKeeper | None = None
    if node.initial.is_file():
        training, _ = whole_model(node.initial, seat.pinned)
        models = ModelKeeper(seat.public, seat.pinned, training, seat.party.directory.model, _LOGGER.info)
    try:
        ClientKeeper(seat.pinned, agent, models).look(glance.reader)
    except (Malformed, Rejected) as error:
        _tell_refusal(f"{agent.name} keeps nothing new: ", error)


def _untrained(arrays: ArrayRecord) -> tuple[ArrayRecord, None]:
    return arrays, None


def _trainer(message: Message, context: Context, call_next: ClientAppCallable, key: str) -> Trainer:
    """The application's own function, which sees the message it would have without verifl."""

    def train(arrays: ArrayRecord) -> tuple[ArrayRecord, float | None]:
        content = {name: record for name, record in message.content.items() if name != ASKED}
        message.content = RecordDict({**content, key: arrays})
        answer = call_next(message, context)
        if answer.has_error():
            raise ValueError(f"the application answered with an error: {answer.error.reason}")
        records = list(answer.content.array_records.values())
        if len(records) != 1:
            raise ValueError(f"the application answered with {len(records)} ArrayRecords, expected one, the model")
        return records[0], _examples(answer)

    return train


def _examples(answer: Message) -> float | None:
    """The metric EXAMPLES of an application's answer, if it has one that is a number."""
    found = [record[EXAMPLES] for record in answer.content.metric_records.values() if EXAMPLES in record]
    return float(found[0]) if found and isinstance(found[0], int | float) else None


class _Told:
    """A turn as this node's log has it; see `TurnObserver`. It says how long the update was, and no value."""

    def __init__(self, agent: ClientAgent) -> None:
        self._agent = agent

    def stage(self, text: str) -> None:
        """See `TurnObserver.stage`."""
        _LOGGER.info("%s", text, extra={"fields": {"event": "stage"}})

    def trained(self, turn: TrainedTurn) -> None:
        """See `TurnObserver.trained`."""
        tell_length(turn)

    def sends_zero(self, zero: ZeroTurn) -> None:
        """See `TurnObserver.sends_zero`."""
        tell_spending(zero.failure.client, self._agent.spent)


def _tell_refusal(before: str, error: Malformed | Rejected) -> str:
    """The name of the check, which this node's log has, too."""
    check = error.check if isinstance(error, Rejected) else "malformed"
    _LOGGER.warning("%srefuses: %s", before, error, extra={"fields": {"event": "refuses", "check": check}})
    return check
