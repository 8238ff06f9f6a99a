"""How long a party waits, in seconds of its own clock (spec 8.9, 8.10).

Clocks differ and can be set. So no verifier's rule depends on one: what a party does by its clock is to erase what only
it has, or to hold back its own signature. Nobody else can see that it did. The clock comes from the edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

DAY = 24 * 60 * 60


@dataclass(frozen=True)
class Waits:
    """A trustee's, or a coordinator's; the federation agrees on them as on who is asked when, outside the policy.

    clock: its own, in POSIX seconds. secrets: how long a trustee keeps a round's key and shares from when it made the
    key; a round that takes longer is lost. quorum: how long acknowledgements are waited for, from when the last
    submission was shown, before `no-quorum`.
    """

    clock: Callable[[], int]
    secrets: int = 3 * DAY
    quorum: int = 60 * 60


class ShownSince:
    """Since when the newest submissions of a round are known to be published, by one process's clock."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock, self._shown = clock, (0, 0, 0)  # (round, submissions, since when all of these are published)

    def seconds(self, number: int, submissions: int) -> int:
        """How long it is that so many submissions of a round are published; to be asked as soon as they are."""
        now = self._clock()
        if self._shown[:2] != (number, submissions) or self._shown[2] > now:  # new, or by a clock that was ahead
            self._shown = (number, submissions, now)
        return now - self._shown[2]
