"""Models with values that nothing but a file can have brought."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def filled(model: nn.Module, seed: int = 7, only: str = "") -> nn.Module:
    """The same model, every float tensor whose name holds `only` drawn anew: as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if tensor.is_floating_point() and only in name:
                tensor.copy_(0.1 + 0.1 * torch.rand(tensor.shape, generator=generator))
    return model


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names that only one has, or whose values are not the same."""
    return [name for name in {*one, *other} if name not in one or name not in other or not one[name].equal(other[name])]
