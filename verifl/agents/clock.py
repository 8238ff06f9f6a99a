"""The time in cosignatures: never earlier than one that was published, whatever the machine's clock does."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol

from protocols.log.checkpoint import parse_note
from protocols.rounds.waits import DAY, Waits

_LOGGER = logging.getLogger(__name__)
_TIMESTAMP = 8


def seconds() -> int:
    """POSIX seconds, as the machine has them."""
    return int(time.time())


class Clock(Protocol):
    """What a party knows of the time. Its surroundings hand it one."""

    def monotonic(self) -> float:
        """Seconds since some moment, which never go back: for durations."""
        ...

    def wall(self) -> float:
        """POSIX seconds, as people have set them."""
        ...


class MachineClock:
    """This machine's."""

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return time.monotonic()

    def wall(self) -> float:
        """See `Clock.wall`."""
        return time.time()


# In one process parties take turns: whoever has not answered in its own will not, and a round takes as long as all of
# its clients train, one after another.
ONE_PROCESS = Waits(seconds, secrets=30 * DAY, quorum=0)


class CosignatureClock:
    """POSIX seconds that never go backwards. No rule depends on them, but a statement "as of then" should not err."""

    def __init__(self, read: Callable[[], float] = time.time) -> None:
        self._read = read
        self._latest = 0
        self._warned = False

    def follow(self, note: bytes, trustee: str | None = None) -> None:
        """Take notice of the times in a published checkpoint's cosignatures; of one trustee alone where it is named, as
        the others may say anything."""
        _, *lines = parse_note(note).signatures
        cosignatures = [each for each in lines if trustee in (None, each.name)]
        times = [int.from_bytes(each.signature[:_TIMESTAMP], "big") for each in cosignatures]
        self._latest = max(self._latest, *times, 0)

    def now(self) -> int:
        """The clock's time, or the latest one that was used where the clock is behind it; that is logged once."""
        now = int(self._read())
        if now < self._latest and not self._warned:
            self._warned = True
            _LOGGER.warning(
                "the clock is %d s behind the last cosignature: set it; until it has caught up the later time is used",
                self._latest - now,
                extra={"fields": {"event": "clock-behind", "seconds": self._latest - now}},
            )
        self._latest = max(self._latest, now)
        return self._latest
