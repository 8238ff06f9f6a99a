"""When a run stops before as many rounds as configured have closed, and which of its rounds was the best.

Both look at what `evaluate` said of each model, which is nobody's but the one's who runs the rounds: nothing of it is
in the log, and no auditor is asked to believe it. A run that stops does so behind a round that closed, where a log may
end at any time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from proofs.errors import Misuse
from verifl.tables import Finite, TomlTable

Mode = Literal["min", "max"]
Measured = Sequence[tuple[int, float]]  # (round, value), rounds ascending; a value may be NaN

_LESS = ("loss", "error", "mse", "mae", "rmse", "nll", "perplexity", "distance")
_MORE = ("accuracy", "auc", "f1", "dice", "iou", "precision", "recall", "r2", "score")


class StoppingConfig(TomlTable):
    """Stop once `metric`, of what evaluate() returns, has not become better for `patience` rounds that closed.

    mode: whether less ("min") or more ("max") is better; by the metric's name when absent, as `direction` knows it.
    minimum_change: a change of less than that is no improvement. public_data: evaluate() looks at no data but such as
    everybody may know.
    """

    metric: str = Field(min_length=1)
    mode: Mode | None = None
    patience: int = Field(default=5, ge=1, le=65_536)
    minimum_change: Finite = Field(default=0.0, ge=0)
    public_data: bool = False


@dataclass(frozen=True)
class Stalled:
    """The metric was best after `round`, `value`, and has not become better since."""

    round: int
    value: float


def direction(metric: str, mode: Mode | None, option: str) -> Mode:
    """Whether less or more of a metric is better: `mode`, or else by its name; raises Misuse where that says nothing.

    option: where a mode can be given, for the message.
    """
    if mode is not None:
        return mode
    words = metric.lower().replace("-", "_").split("_")
    less, more = any(word in _LESS for word in words), any(word in _MORE for word in words)
    if less == more:
        raise Misuse(f"{metric!r}: its name does not say whether less of it is better or more; say {option}")
    return "min" if less else "max"


def stalled(rule: StoppingConfig, measured: Measured) -> Stalled | None:
    """Whether a run is to stop behind these rounds, which closed; raises Misuse as `direction`."""
    mode = direction(rule.metric, rule.mode, 'stopping.mode = "min" or "max"')
    best, waited = Stalled(0, math.nan), 0
    for number, value in measured:
        if _is_better(mode, value, best.value, rule.minimum_change):
            best, waited = Stalled(number, value), 0
        else:
            waited += 1
    return best if waited >= rule.patience else None


def best_round(measured: Measured, mode: Mode) -> int | None:
    """The first of the rounds with the best value; None where no value is a number."""
    best = Stalled(0, math.nan)
    for number, value in measured:
        if _is_better(mode, value, best.value):
            best = Stalled(number, value)
    return None if math.isnan(best.value) else best.round


def _is_better(mode: Mode, value: float, best: float, change: float = 0.0) -> bool:
    """Whether a value is better than the best by at least `change`; a number is better than none."""
    if math.isnan(value) or math.isnan(best):
        return not math.isnan(value)
    gain = best - value if mode == "min" else value - best
    return gain > 0 and gain >= change
