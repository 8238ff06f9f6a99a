"""Opacus makes each client's training differentially private in the client's own records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from opacus import PrivacyEngine
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

Samples = tuple[Tensor, Tensor]  # features (n, 8), labels (n,)
BANKS = ["bank-1", "bank-2", "bank-3"]
DELTA = 1e-5


class Private:
    """Three banks, each with its own noise and its own ledger of what it spent."""

    def clients(self) -> Sequence[str]:
        """The banks."""
        return BANKS

    def model(self) -> nn.Module:
        """Without batch normalisation, which mixes the records of a batch."""
        return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 2))

    def data(self, client: str) -> Samples:
        """400 records."""
        number = BANKS.index(client)
        return _records(number, 0.2 * number, 400)

    def train(self, model: nn.Module, client: str, data: Samples, state: dict[str, Any]) -> None:
        """One pass of DP-SGD. The ledger is the bank's own: verifl stores it with the bank, and gives it back."""
        loader = DataLoader(TensorDataset(*data), batch_size=50)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        model.train()
        engine = PrivacyEngine(accountant="rdp")
        engine.accountant.load_state_dict(state.get("ledger", engine.accountant.state_dict()))
        private, optimizer, loader = engine.make_private(
            module=model, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0
        )
        device = next(model.parameters()).device
        for features, labels in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(private(features.to(device)), labels.to(device)).backward()
            optimizer.step()
        state["ledger"] = engine.accountant.state_dict()
        print(f"{client} has spent epsilon {engine.get_epsilon(DELTA):.3f} at delta {DELTA}")

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Accuracy and cross-entropy on records that everybody may see."""
        device = next(model.parameters()).device
        features, labels = (each.to(device) for each in _records(99, 0.2, 400))
        model.eval()
        with torch.no_grad():
            scores = model(features)
        accuracy = (scores.argmax(dim=1) == labels).double().mean()
        return {"accuracy": float(accuracy), "loss": float(nn.functional.cross_entropy(scores, labels))}


def _records(seed: int, shift: float, count: int) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 8, generator=generator) + shift
    return features, (features[:, 0] + features[:, 1] * features[:, 2] > 0).long()


def task() -> Private:
    """verifl calls this."""
    return Private()
