"""How long a party waits, in seconds of its own clock (spec 8.9, 8.10).

Clocks differ and can be set. So no verifier's rule depends on one: what a party does by its clock is to erase what only
it has, or to hold back its own signature. Nobody else can see that it did.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

DAY = 24 * 60 * 60


def system_clock() -> int:
    """POSIX seconds, as the machine has them."""
    return int(time.time())


@dataclass(frozen=True)
class Waits:
    """A trustee's, or a coordinator's; the federation agrees on them as on who is asked when, outside the policy.

    clock: its own, in seconds. secrets: how long a trustee keeps a round's key and shares from when it made the key.
    quorum: how long acknowledgements are waited for, from when the last submission was shown, before `no-quorum`.
    """

    clock: Callable[[], int] = system_clock
    secrets: int = 7 * DAY
    quorum: int = 60 * 60


WAITS = Waits()
# In one process parties take turns: whoever has not answered in its own will not, and a round takes as long as all of
# its clients train, one after another.
ONE_PROCESS = Waits(secrets=30 * DAY, quorum=0)
