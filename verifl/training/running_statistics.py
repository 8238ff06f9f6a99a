"""What stays with each client of what the model is evaluated by: where that surprises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from verifl.training.tensors import TensorFilter, TensorLayout

_SHOWN = 3


def local_statistics(model: nn.Module, layout: TensorLayout) -> tuple[str, ...]:
    """The float tensors that modules of the model measure, by first name, and that do not travel."""
    from verifl.training.module_state import state_of
    from verifl.training.roles import roles_of
    from verifl.training.tensors import local_names

    state, measured = state_of(model), roles_of(model).measured
    names = local_names(state, layout)
    return tuple(name for name in names if id(state[name]) in measured and state[name].is_floating_point())


def personal_tensors(model: nn.Module, layout: TensorLayout, rule: TensorFilter) -> tuple[str, ...]:
    """The parameters that each client trains for itself and keeps, by first name: by `personal`, or by FedBN."""
    from verifl.training.module_state import state_of
    from verifl.training.roles import roles_of
    from verifl.training.tensors import local_names

    state, roles = state_of(model), roles_of(model)
    names = local_names(state, layout)
    return tuple(name for name in names if state[name].requires_grad and rule.keeps(name, state[name], roles))


def personal_warnings(personal: Sequence[str], finishes: bool) -> list[str]:
    """That the global model has none of what clients keep, in a sentence, with what to do."""
    if not personal or finishes:
        return []
    warning = (
        f"each client trains {some(personal)} for itself; the global model is evaluated and saved with those of "
        "model(), which nobody trained; let clients judge their own models, or give the task a finish(model) that "
        "trains them on data that everybody may see"
    )
    return [warning]


def statistics_warnings(local: Sequence[str], finishes: bool = False) -> list[str]:
    """What will not be as one expects, a sentence each, with what to do; nothing where the task finishes models."""
    if not local or finishes:
        return []
    warning = (
        f"running statistics stay with each client: {some(local)}; the global model is evaluated and saved with those "
        "of model(), which no data has touched; let them travel (no trainable_only, exclude or local), give the task a "
        "finish(model) that recomputes them, or use a normalisation without any (GroupNorm, LayerNorm)"
    )
    return [warning]


def some(names: Sequence[str]) -> str:
    """Up to three names, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
