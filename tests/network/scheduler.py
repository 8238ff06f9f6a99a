"""Simulated time: what is to happen when. Nothing here waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], None]


class Scheduler:
    """Events in order of time, then of when they were planned. An action may let time pass itself: `pass_time` runs
    what others do meanwhile."""

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Action]] = []
        self._order = count()

    def at(self, time: float, action: Action) -> None:
        """Plan an action."""
        heapq.heappush(self._events, (max(time, self.now), next(self._order), action))

    def after(self, seconds: float, action: Action) -> None:
        """Plan an action so many seconds from now."""
        self.at(self.now + seconds, action)

    def pass_time(self, seconds: float) -> None:
        """Everything that is planned for the next seconds; then it is so many seconds later, or more, where an action
        took longer."""
        self.run_until(self.now + seconds)

    def run_until(self, time: float, done: Callable[[], bool] = lambda: False) -> None:
        """Everything that is planned up to this time, or until it is done."""
        while self._events and self._events[0][0] <= time and not done():
            when, _, action = heapq.heappop(self._events)
            self.now = max(self.now, when)
            action()
        if not done():
            self.now = max(self.now, time)
