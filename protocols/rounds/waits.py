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
    key. quorum: how long acknowledgements are waited for, from when the last submission was shown, before `no-quorum`.
    """

    clock: Callable[[], int]
    secrets: int = 7 * DAY
    quorum: int = 60 * 60
