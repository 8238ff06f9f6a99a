"""Replies are pulled by threads of their own: whoever sends slowly, or never ends, keeps nobody else waiting.

Flower tells of a reply before its arrays are there, and then waits for them: as long as some come now and then, for
more than an hour. And it decodes what a node has sent before anybody can look at it.
"""

from __future__ import annotations

from threading import Thread

from flwr.app import Message
from flwr.serverapp import Grid
from google.protobuf.message import DecodeError

from proofs.errors import Malformed

_AT_ONCE = 5.0  # seconds, for which a reply is waited for, before others are pulled beside it
_SHOWN = 200  # characters of what Flower says of a node's bytes
# What Flower's decoding raises for bytes that are none of its messages; a failed connection is something else.
_UNREADABLE = (
    ArithmeticError, AssertionError, AttributeError, DecodeError, LookupError, MemoryError, RecursionError, TypeError,
    ValueError,
)  # fmt: skip


class _Pull:
    """One reply on its way, or the answer that there is none yet."""

    def __init__(self, grid: Grid, name: str) -> None:
        self.name = name
        self._found: list[Message] = []
        self._error: Exception | None = None
        self._thread = Thread(target=self._pull, args=(grid,), name=f"pull {name}", daemon=True)
        self._thread.start()

    def _pull(self, grid: Grid) -> None:
        try:
            self._found = list(grid.pull_messages([self.name]))
        except Exception as error:  # noqa: BLE001  raised again in the thread that takes what was found
            self._error = error

    def ended(self, patience: float) -> bool:
        """Whether it has ended, at the latest after so many seconds."""
        self._thread.join(patience)
        return not self._thread.is_alive()

    def found(self) -> list[Message]:
        """What came. Raises Malformed for what is no message of Flower's, and what else pulling raised."""
        if isinstance(self._error, _UNREADABLE):
            why = f"{type(self._error).__name__}: {ascii(str(self._error))[1:-1]}"
            raise Malformed("reply", "a message of Flower", why[:_SHOWN]) from None
        if self._error is not None:
            raise self._error
        return self._found


class Puller:
    """Pulls replies of a grid, of each node one at a time."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._running: dict[int, _Pull] = {}  # by node

    def pull(self, node: int, name: str) -> list[Message]:
        """The reply of a node to the message of this id; none while there is none, or it has not arrived yet.

        Raises Malformed where it is no message of Flower's: it will not come again.
        """
        pull = self._running.get(node)
        if pull is not None and pull.name != name and pull.ended(0.0):
            pull = None  # nobody waits for that one any more
        patience = _AT_ONCE if pull is None else 0.0
        if pull is None:
            pull = self._running[node] = _Pull(self._grid, name)
        if pull.name != name or not pull.ended(patience):
            return []
        del self._running[node]
        return pull.found()
