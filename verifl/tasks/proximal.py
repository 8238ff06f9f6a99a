"""FedProx (Li et al. 2020): a term for the loss of a client's own loop that keeps its model near the global one.

It is the client's business alone: nobody can see whether it is there, and the server step is any of the rules.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from proofs.errors import Misuse


class Proximal:
    """mu/2 ||w - w_global||^2 over the parameters that are trained, made at the beginning of `train`:

        proximal = Proximal(model, mu=0.01)
        ...
        loss = criterion(model(features), labels) + proximal()

    mu: at least 0 and finite; Misuse otherwise, and for a model in which nothing is trained. It keeps one copy of these
    parameters.
    """

    def __init__(self, model: nn.Module, mu: float) -> None:
        if not (math.isfinite(mu) and mu >= 0):
            raise Misuse(f"Proximal: expected mu of at least 0, found {mu}")
        self._mu = mu
        self._trained = [each for each in model.parameters() if each.requires_grad]
        if not self._trained:
            raise Misuse("Proximal: no parameter of the model requires a gradient")
        self._start = [each.detach().clone() for each in self._trained]

    def __call__(self) -> Tensor:
        """The term, a scalar on the device of the first parameter, at the model's present parameters."""
        device = self._trained[0].device
        pairs = zip(self._trained, self._start, strict=True)
        squares = [(now - then).square().sum().to(device) for now, then in pairs]
        return self._mu / 2 * torch.stack(squares).sum()
