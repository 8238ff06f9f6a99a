"""Your task: a model, each client's data, local training, evaluation. This example runs as it is; replace the parts.

Four workshops predict the strain of a part from four measurements. Nothing here is special to verifl: `train` is an
ordinary PyTorch loop that changes the model in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Samples = tuple[Tensor, Tensor]  # features (n, 4), targets (n, 1)


class MyTask:
    """What verifl needs to know: five methods, and `weight` if the configuration's [weights] asks for it."""

    def clients(self) -> Sequence[str]:
        """Names of the clients: a-z, 0-9, '.', '_', '-'."""
        return ["workshop-1", "workshop-2", "workshop-3", "workshop-4"]

    def model(self) -> nn.Module:
        """A freshly initialised model."""
        return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def data(self, client: str) -> Samples:
        """The private data of one client: read your files here."""
        number = self.clients().index(client)
        return _samples(seed=number, shift=0.3 * number, count=100)

    def weight(self, client: str, data: Samples) -> int:
        """How much the client's data count in the mean: the number of samples."""
        del client
        return len(data[0])

    def train(self, model: nn.Module, client: str, data: Samples) -> None:
        """Your training loop. The model is on the device of its parameters.

        With a fourth argument `state`, a dict, a client keeps what you put there from round to round. With a line
        `processes = 2` in the class it runs in two processes at once, for DistributedDataParallel.
        """
        del client  # every workshop trains the same way
        device = next(model.parameters()).device
        features, targets = data[0].to(device), data[1].to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        model.train()
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(features), targets).backward()
            optimizer.step()

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Metrics of the global model, on data that everybody may see."""
        device = next(model.parameters()).device
        features, targets = _samples(seed=99, shift=0.45, count=400)
        model.eval()
        with torch.no_grad():
            error = nn.functional.mse_loss(model(features.to(device)), targets.to(device))
        return {"loss": float(error)}


def task() -> MyTask:
    """verifl calls this."""
    return MyTask()


def _samples(seed: int, shift: float, count: int) -> Samples:
    """Made-up measurements, shifted a little from workshop to workshop."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 4, generator=generator) + shift
    targets = torch.sin(features[:, :1]) + 0.5 * features[:, 1:2] * features[:, 2:3]
    return features, targets + 0.05 * torch.randn(count, 1, generator=generator)
