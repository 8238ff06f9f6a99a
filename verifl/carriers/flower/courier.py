"""What goes to Flower's nodes and comes back, one reply in memory at a time.

A node answers a message once, or never: whatever is in the memory of a node that goes away is lost, and Flower says so
sooner or later, or not at all. So who has not answered is asked again; a client that has gives the same bytes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flwr.app import Message
from flwr.serverapp import Grid

from proofs.errors import Malformed, Rejected
from protocols.log.connection import LEAST_RATE
from protocols.membership import Membership
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import Received, answer_limit, check_submission_of, decode_answer
from verifl.agents.clock import Clock
from verifl.carriers.flower.messages import DROPPED_OUT, MISCONFIGURED, REFUSED, answered, question
from verifl.carriers.flower.pulling import Puller

_LOGGER = logging.getLogger(__name__)
# Seconds, after which a node that says nothing is asked again, beside those that its answer may take on a thin line;
# then after twice as many.
_SILENCE = 300.0
_PAUSE = 5.0  # seconds, after which a node whose reply was lost is asked again
_REFUSALS = 3  # of one node in a round, before it is not asked again
_SHOWN = 200  # characters of what a node says
_FAILS = (1, 2, 6, 7)  # Flower's codes for an application that cannot be loaded, raises, or is refused: it will again


@dataclass
class _Asked:
    """A node that is asked in this round. message: of the application's strategy. ids: of the messages that it may
    still answer. since: when the last went out, or the only one was lost. patience: seconds of silence before the next.
    done: it has answered, or will not."""

    message: Message
    since: float
    patience: float
    ids: list[str] = field(default_factory=list)
    refusals: int = 0
    done: bool = False

    def is_due(self, now: float) -> bool:
        """Whether it is to be asked (again)."""
        return not self.done and now - self.since >= (self.patience if self.ids else _PAUSE)


class Courier:
    """Of one round, by its number and who is in force in it. puller: of the grid's replies. proposal: gives what the
    coordinator asks now, as it is published. put: puts an answer into the inbox of a party."""

    def __init__(
        self,
        grid: Grid,
        puller: Puller,
        pinned: PinnedPolicy,
        number: int,
        membership: Membership,
        proposal: Callable[[], bytes | None],
        put: Callable[[str, bytes], None],
        clock: Clock,
    ) -> None:
        self._grid, self._puller, self._pinned = grid, puller, pinned
        self._number, self._membership = number, membership
        self._proposal, self._put, self._clock = proposal, put, clock
        clients = [member.id for member in pinned.policy.roster]
        self._clients, self._limit = frozenset(clients), max(answer_limit(pinned, each) for each in clients)
        self._patience = _SILENCE + self._limit / LEAST_RATE
        self._asked: dict[int, _Asked] = {}

    @property
    def asked(self) -> frozenset[int]:
        """The nodes that were asked."""
        return frozenset(self._asked)

    @property
    def silent(self) -> bool:
        """Whether nobody will answer any more."""
        return all(each.done for each in self._asked.values())

    def ask(self, messages: Iterable[Message]) -> None:
        """Ask the nodes of an application's messages, those that were not asked yet."""
        for message in messages:
            node = message.metadata.dst_node_id
            if node not in self._asked:
                self._asked[node] = _Asked(message, self._clock.monotonic() - _PAUSE, self._patience)
        self._ask_again()

    def replies(self) -> Iterator[str]:
        """Take what has come, one reply after the other: the names of clients whose answers are in their inboxes."""
        for node, asked in self._asked.items():
            for name in tuple(asked.ids):
                party = None if asked.done else self._pulled(node, asked, name)
                if party is not None:
                    yield party
        self._ask_again()

    def _pulled(self, node: int, asked: _Asked, name: str) -> str | None:
        """Of the reply to one message, where it is here: whose answer it has."""
        try:
            found = self._puller.pull(node, name)
        except Malformed as error:
            self._answered(asked, name)
            self._refused(node, asked, error)
            return None
        if not found:
            return None
        self._answered(asked, name)
        return self._take(node, asked, found.pop())

    def _answered(self, asked: _Asked, name: str) -> None:
        asked.ids.remove(name)
        if not asked.ids:
            asked.since = self._clock.monotonic()

    def _take(self, node: int, asked: _Asked, message: Message) -> str | None:
        if message.has_error():
            self._failed(node, asked, message)
            return None
        try:
            data = answered(message, self._limit)
            received = self._checked(decode_answer(data, self._limit))
        except (Malformed, Rejected) as error:
            self._refused(node, asked, error)
            return None
        self._put(received.party, data)
        asked.done = True
        told = {"event": "node-answered", "node": node, "party": received.party, "bytes": len(data)}
        _LOGGER.info("%s answers by node %d: %d bytes", received.party, node, len(data), extra={"fields": told})
        return received.party

    def _checked(self, received: Received) -> Received:
        """An answer of this round that a client signed: no node puts anything else into an inbox, where it would count
        as what the client sent."""
        check_submission_of(self._pinned, self._membership, self._clients, self._number, received)
        return received

    def _failed(self, node: int, asked: _Asked, message: Message) -> None:
        code, reason = message.error.code, ascii(message.error.reason)[1:-1][:_SHOWN]
        _LOGGER.warning("node %d: %s", node, reason, extra={"fields": {"event": "node-failed", "node": node}})
        if code == DROPPED_OUT:
            asked.done = True
        elif code in (REFUSED, MISCONFIGURED, *_FAILS):
            self._count(asked)

    def _refused(self, node: int, asked: _Asked, error: Malformed | Rejected) -> None:
        check = error.check if isinstance(error, Rejected) else "malformed"
        fields = {"event": "node-refused", "node": node, "check": check}
        _LOGGER.warning("refused what node %d sent: %s", node, error, extra={"fields": fields})
        self._count(asked)

    @staticmethod
    def _count(asked: _Asked) -> None:
        asked.refusals += 1
        asked.done = asked.refusals >= _REFUSALS

    def _ask_again(self) -> None:
        now = self._clock.monotonic()
        due = [(node, each) for node, each in self._asked.items() if each.is_due(now)]
        proposal = self._proposal() if due else None
        if proposal is None:
            return
        online = frozenset(self._grid.get_node_ids())
        going = [asked for node, asked in due if node in online]
        ids = list(self._grid.push_messages([question(each.message, proposal) for each in going])) if going else []
        for asked, name in zip(going, ids, strict=False):
            asked.patience *= 2 if asked.ids else 1
            asked.ids += [name] if name else []
            asked.since = now
