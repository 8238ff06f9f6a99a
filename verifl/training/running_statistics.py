"""Running statistics that stay with each client: where that surprises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from verifl.training.tensors import TensorLayout

_SHOWN = 3


def local_statistics(model: nn.Module, layout: TensorLayout) -> tuple[str, ...]:
    """The float tensors that modules of the model measure, by first name, and that do not travel."""
    from verifl.training.module_state import state_of
    from verifl.training.roles import roles_of
    from verifl.training.tensors import local_names

    state, measured = state_of(model), roles_of(model).measured
    names = local_names(state, layout)
    return tuple(name for name in names if id(state[name]) in measured and state[name].is_floating_point())


def statistics_warnings(local: Sequence[str]) -> list[str]:
    """What will not be as one expects, a sentence each, with what to do."""
    if not local:
        return []
    warning = (
        f"running statistics stay with each client: {some(local)}; the global model is evaluated and saved with those "
        "of model(), which no data has touched; let them travel (no trainable_only, no exclude), or use a "
        "normalisation without any (GroupNorm, LayerNorm)"
    )
    return [warning]


def some(names: Sequence[str]) -> str:
    """Up to three names, and how many more."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
