"""How much a client's data count, as its task says it: the one place where that is asked and looked at."""

from __future__ import annotations

import math
from reprlib import repr as shortened
from typing import Any

from proofs.errors import Misuse
from verifl.tasks.base import WeighingTask
from verifl.tasks.seeding import seeded
from verifl.tasks.user_code import ClientFailed, client_code


def weigh(task: WeighingTask[Any], client: str, data: Any, seed: int, number: int) -> float:
    """What the client's data weigh in round `number`: finite, 0 or more. Raises ClientFailed for anything else."""
    with seeded(seed, f"weight {number} {client}"), client_code(client, "weight"):
        measured = _number(task.weight(client, data))
    check_measured(client, measured)
    return measured


def check_measured(client: str, measured: float) -> None:
    """Raise ClientFailed for what no data weigh."""
    if not (math.isfinite(measured) and measured >= 0):
        raise ClientFailed(client, f"its data weigh {measured}, expected a finite number, 0 or more")


def _number(said: Any) -> float:
    try:
        if not isinstance(said, str | bytes | bytearray):
            return float(said)
    except (TypeError, ValueError, RuntimeError) as error:
        raise _no_number(said) from error
    raise _no_number(said)


def _no_number(said: object) -> Misuse:
    found = " ".join(shortened(said).split())
    return Misuse(f"it returned {found}, expected a number, such as how many samples it has")
