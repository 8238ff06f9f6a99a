"""Flower's own messages between a ServerApp and ClientApps of one process: nothing is lost but what a test loses."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

# As Flower sets it in each of its processes, so that they can make messages.
TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1

Delivery = Callable[[int, Message, Message], Message | None]
"""(node, question, reply) to what arrives of the reply; None for nothing."""


def everything(node: int, question: Message, reply: Message) -> Message | None:
    """Replies arrive as they were sent."""
    return reply


class DirectGrid(Grid):  # type: ignore[misc]  # Flower's types are known where it is installed
    """nodes: by id, what its ClientApp is given as the node's configuration."""

    def __init__(self, app: ClientApp, nodes: dict[int, dict[str, Any]], deliver: Delivery = everything) -> None:
        self.app, self.nodes, self.deliver = app, nodes, deliver
        self.run_config: dict[str, Any] = {}
        self.sent: list[Message] = []
        self.most_held = 0  # replies in one answer of pull_messages
        self._waiting: dict[str, tuple[int, Message]] = {}
        self._held: dict[str, tuple[Message, int]] = {}
        self._ids = itertools.count(1)

    def set_run(self, run: object) -> None:
        pass

    @property
    def run(self) -> Any:
        raise NotImplementedError

    def create_message(self, *arguments: Any, **named: Any) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            name = f"message-{next(self._ids)}"
            message.metadata.__dict__["_message_id"] = name
            self.sent.append(message)
            self._waiting[name] = (message.metadata.dst_node_id, message)
            ids.append(name)
        return ids

    def hold(self, question: Message, reply: Message, looks: int) -> None:
        """Let a reply come after so many looks in vain."""
        self._held[question.metadata.message_id] = (reply, looks)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        found = []
        for name in list(message_ids):
            if name in self._held:
                reply, looks = self._held.pop(name)
                if looks:
                    self._held[name] = (reply, looks - 1)
                else:
                    found.append(reply)
            if name in self._waiting:
                node, message = self._waiting.pop(name)
                context = Context(1, node, self.nodes[node], RecordDict(), self.run_config)
                content = RecordDict(dict(message.content.items()))
                again = Message(content, dst_node_id=node, message_type=message.metadata.message_type)
                again.metadata.__dict__["_message_id"] = name
                reply = self.deliver(node, message, self.app(again, context))
                found += [reply] if reply is not None else []
        self.most_held = max(self.most_held, len(found))
        return found

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))
