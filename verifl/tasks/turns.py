"""What a task's train() may want to know of its turn."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """Given to a `train` that takes a `turn`.

    round: its number in the log, from 1; rounds that were aborted count. rounds: how many the configuration runs, None
    where nobody says. seed: that of the configuration. device: on which the model is.
    """

    round: int
    rounds: int | None
    seed: int
    device: str


def takes(train: Callable[..., object], name: str) -> bool:
    """Whether a task's train() has a parameter of this name."""
    try:
        parameter = inspect.signature(train).parameters.get(name)
    except (TypeError, ValueError):  # of a callable that has no signature
        return False
    return parameter is not None and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
