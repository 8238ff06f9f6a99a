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
from protocols.locks import InUse
from protocols.rounds.answers import encode_answer
from protocols.rounds.proposals import OF_CLIENTS, Proposal, open_proposal
from verifl.agents.client import ClientAgent, TrainedTurn
from verifl.carriers.exchange.participant import ProposedLog, evidence_of
from verifl.carriers.exchange.receipts import ReceiptKeeper
from verifl.carriers.exchange.seat import Seat, taken_seat
from verifl.carriers.flower.app_training import AppTraining, Trainer, flower_layout, own_tensors
from verifl.carriers.flower.messages import (
    ASKED,
    BUSY,
    DROPPED_OUT,
    MISCONFIGURED,
    REFUSED,
    Ask,
    refusal,
    reply,
)
from verifl.carriers.flower.node import EVALUATE, Node, node_of
from verifl.enrolment.keys import Passphrase, read_passphrase
from verifl.tasks.user_code import ClientFailed

_LOGGER = logging.getLogger(__name__)


def verified(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Answer a verifl coordinator as the client that the node's configuration names.

    What is wrong is told in this node's log; the reply says no more than its kind, and the name of the check.
    """
    try:
        node, ask = node_of(context), Ask.of(message)
        if ask is None:
            return _plain(message, context, call_next, node)
        return reply(message, _answer(node, ask, _trainer(message, context, call_next, ask.key)))
    except ClientFailed as error:
        _LOGGER.warning("takes no part in this round: %s", error)
        return refusal(message, DROPPED_OUT, "takes no part in this round; this node's log says why")
    except InUse as error:
        _LOGGER.warning("is at work: %s", error)
        return refusal(message, BUSY, "is at work on an earlier question")
    except Rejected as error:
        _LOGGER.warning("refuses: %s", error)
        return refusal(message, REFUSED, f"refuses: {error.check}")
    except Malformed as error:
        _LOGGER.warning("refuses: %s", error)
        return refusal(message, REFUSED, f"refuses: malformed: {error.where}")
    except (Misuse, OSError) as error:
        _LOGGER.error("cannot take part: %s", error)  # noqa: TRY400  one line, and no traceback
        return refusal(message, MISCONFIGURED, "cannot take part; this node's log says why")


def _plain(message: Message, context: Context, call_next: ClientAppCallable, node: Node) -> Message:
    """What no coordinator of verifl asks: an update or a metric in the clear."""
    kind = message.metadata.message_type
    if kind.partition(".")[0] == MessageType.EVALUATE and node.evaluates:
        return call_next(message, context)
    allowed = f"; {EVALUATE}=true in the node's configuration allows metrics" if not node.evaluates else ""
    raise Rejected("plain", f"a question of verifl{allowed}", f"a plain {kind!a}"[:100])


def _answer(node: Node, ask: Ask, trainer: Trainer) -> bytes:
    """What the client says to a proposal."""
    with taken_seat("client", node.public, node.state, node.policy, node.keys, _passphrase(node)) as seat:
        proposal = open_proposal(seat.pinned, ask.proposal)
        _check_asked(proposal, seat.party.name)
        layout = flower_layout(seat.pinned.policy)
        training = AppTraining(layout, trainer, node.seed, own_tensors(node.initial, layout))
        agent = ClientAgent.open(seat.pinned, seat.party, training, evidence_of(seat.public, seat.party.name))
        _keep_receipts(seat, agent)
        package = agent.answer(proposal.asked(), ProposedLog(seat.public, proposal), _Told(agent.name))
        _LOGGER.info("%s answers in round %d", agent.name, proposal.round)
        return encode_answer(package)


def _passphrase(node: Node) -> Passphrase | None:
    if node.passphrase is None:
        return None
    secret = read_passphrase(node.passphrase)
    return lambda _path: secret


def _check_asked(proposal: Proposal, name: str) -> None:
    if proposal.question not in OF_CLIENTS:
        raise Rejected("question", " or ".join(OF_CLIENTS), proposal.question)
    if name not in proposal.parties:
        raise Rejected("asked", f"a question to {name}", f"one to {len(proposal.parties)} others")


def _keep_receipts(seat: Seat, agent: ClientAgent) -> None:
    """Of rounds that ended since; one that does not hold is told, and hinders no answer."""
    try:
        ReceiptKeeper(seat.public, seat.pinned, agent).look()
    except (Malformed, Rejected) as error:
        _LOGGER.warning("%s refuses its receipt: %s", agent.name, error)


def _trainer(message: Message, context: Context, call_next: ClientAppCallable, key: str) -> Trainer:
    """The application's own function, which sees the message it would have without verifl."""

    def train(arrays: ArrayRecord) -> ArrayRecord:
        content = {name: record for name, record in message.content.items() if name != ASKED}
        message.content = RecordDict({**content, key: arrays})
        answer = call_next(message, context)
        if answer.has_error():
            raise ValueError(f"the application answered with an error: {answer.error.reason}")
        records = list(answer.content.array_records.values())
        if len(records) != 1:
            raise ValueError(f"the application answered with {len(records)} ArrayRecords, expected one, the model")
        return records[0]

    return train


class _Told:
    """A turn as this node's log has it; see `TurnObserver`. It says nothing of values."""

    def __init__(self, name: str) -> None:
        self._name = name

    def stage(self, text: str) -> None:
        """See `TurnObserver.stage`."""
        _LOGGER.info("%s", text)

    def trained(self, turn: TrainedTurn) -> None:
        """See `TurnObserver.trained`."""
        if turn.update.clipped:
            _LOGGER.info("%s: the update was longer than the clip norm, and was shortened", self._name)
