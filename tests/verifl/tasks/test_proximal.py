"""The proximal term of FedProx in a client's own loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from proofs.errors import Misuse
from verifl import Proximal


def test_the_term_and_its_gradient() -> None:
    """mu/2 of the squared distance; mu times the difference."""
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    proximal, start = Proximal(model, mu=0.5), model.weight.detach().clone()
    assert proximal().item() == 0.0
    with torch.no_grad():
        model.weight += 2.0
        model.bias += 7.0  # frozen: no part of it
    term = proximal()
    assert term.item() == pytest.approx(0.25 * 6 * 4.0)
    term.backward()
    assert torch.allclose(model.weight.grad, 0.5 * (model.weight.detach() - start))
    assert model.bias.grad is None


def test_more_of_it_stays_nearer_to_the_global_model() -> None:
    def moved(mu: float) -> float:
        torch.manual_seed(1)
        model = nn.Linear(3, 1)
        features, start, proximal = torch.randn(20, 3), model.weight.detach().clone(), Proximal(model, mu)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(50):
            optimizer.zero_grad()
            (model(features).square().mean() + proximal()).backward()
            optimizer.step()
        return float((model.weight.detach() - start).norm())

    assert moved(0.0) > 1.2 * moved(1.0) > 1.2 * 1.2 * moved(10.0)


@pytest.mark.parametrize("mu", [-0.1, math.nan, math.inf])
def test_what_is_no_strength_is_refused(mu: float) -> None:
    with pytest.raises(Misuse, match="Proximal: expected mu of at least 0"):
        Proximal(nn.Linear(1, 1), mu)


def test_a_frozen_model_is_refused() -> None:
    with pytest.raises(Misuse, match="no parameter of the model requires a gradient"):
        Proximal(nn.Linear(1, 1).requires_grad_(False), 0.1)
