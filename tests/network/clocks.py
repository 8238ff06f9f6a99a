"""Each machine's own idea of the time."""

from __future__ import annotations

from dataclasses import dataclass

from tests.network.scheduler import Scheduler

EPOCH = 1_700_000_000.0  # POSIX seconds at which histories begin


@dataclass
class MachineClock:
    """A clock that is `ahead` by so many seconds, behind where that is negative. What is monotonic is right."""

    scheduler: Scheduler
    ahead: float = 0.0

    def wall(self) -> float:
        """POSIX seconds, as this machine has them."""
        return EPOCH + self.scheduler.now + self.ahead

    def seconds(self) -> int:
        """The same, whole."""
        return int(self.wall())

    def monotonic(self) -> float:
        """Seconds since some time, which nobody can set."""
        return self.scheduler.now
