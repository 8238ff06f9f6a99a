"""Running statistics, buffers that forward passes measure and no optimiser trains: where they surprise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.policy import StepRule
from protocols.registry import one_of
from protocols.steps.registry import SERVER_RULES, server_rule, step_constants
from verifl.training.patterns import matches

if TYPE_CHECKING:
    from torch import nn

    from verifl.training.tensors import TensorLayout

MEASURED = ("*running_mean", "*running_var")
_SHOWN = 3


@dataclass(frozen=True)
class Statistics:
    """local: running statistics that stay with each client. travelling: float buffers that travel."""

    local: tuple[str, ...]
    travelling: tuple[str, ...]


def find_statistics(model: nn.Module, layout: TensorLayout) -> Statistics:
    """Those of a model, by first name."""
    from torch import nn

    from verifl.training.module_state import state_of
    from verifl.training.tensors import local_names

    state = state_of(model)
    return Statistics(
        tuple(name for name in local_names(state, layout) if matches(name, MEASURED)),
        tuple(spec.name for spec in layout.specs if not isinstance(state[spec.name], nn.Parameter)),
    )


def statistics_warnings(found: Statistics, step: StepRule) -> list[str]:
    """What will not be as one expects under the policy's server step, a sentence each, with what to do."""
    warnings, rate = [], step_constants(step).fastest.learning_rate
    averaging = one_of(rule.name for rule in SERVER_RULES if rule.averages)
    if found.local:
        warnings.append(
            f"running statistics stay with each client: {some(found.local)}; the global model is evaluated and saved "
            "with those of model(), which no data has touched; let them travel (no trainable_only, no exclude), or use "
            "a normalisation without any (GroupNorm, LayerNorm)"
        )
    if found.travelling and not server_rule(step.rule).averages:
        warnings.append(
            f"server.rule {step.rule} steps buffers like weights: {some(found.travelling)}; they move by about "
            f"{rate:g} a round, whatever the clients measured; use rule {averaging}, or a normalisation without "
            "running statistics (GroupNorm, LayerNorm)"
        )
    elif found.travelling and rate > 1:
        warnings.append(
            f"server.learning_rate {rate:g} takes buffers beyond what the clients measured: "
            f"{some(found.travelling)}; use 1, or a normalisation without running statistics (GroupNorm, LayerNorm)"
        )
    return warnings


def some(names: Sequence[str]) -> str:
    """Up to three names, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
