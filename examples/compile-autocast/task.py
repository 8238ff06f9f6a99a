"""A network compiled by `torch.compile`, its forward pass in bfloat16 by autocast, its parameters in float32."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

Samples = tuple[Tensor, Tensor]  # images (n, 1, 8, 8) in [0, 1], labels (n,)
SITES = ["site-1", "site-2", "site-3", "site-4"]

# The default backend needs a C++ compiler; without one, the traced graphs run as they are.
BACKEND = os.environ.get("EXAMPLE_BACKEND", "inductor" if shutil.which("g++") else "aot_eager")


class Digits:
    """Handwritten digits at four sites."""

    def __init__(self) -> None:
        images, labels = load_digits(return_X_y=True)
        self._images = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16
        self._labels = torch.tensor(labels)

    def clients(self) -> Sequence[str]:
        """The sites."""
        return SITES

    def model(self) -> nn.Module:
        """Compiled; its tensors are `_orig_mod....` in the policy, and without that prefix in model.safetensors."""
        network = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(128, 10),
        )
        return torch.compile(network, backend=BACKEND)

    def data(self, client: str) -> Samples:
        """Every fifth image from the site's own on; the last fifth is for everybody."""
        return self._share(SITES.index(client))

    def train(self, model: nn.Module, client: str, data: Samples) -> None:
        """One epoch in batches of one size, so that one graph is enough."""
        del client
        device = next(model.parameters()).device
        images, labels = data[0].to(device), data[1].to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model.train()
        for batch in torch.randperm(len(labels))[: len(labels) // 32 * 32].split(32):
            optimizer.zero_grad()
            with torch.autocast(device.type, dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Accuracy and cross-entropy on the fifth that is for everybody."""
        device = next(model.parameters()).device
        images, labels = (each.to(device) for each in self._share(len(SITES)))
        model.eval()
        with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16):
            scores = model(images).float()
        accuracy = (scores.argmax(dim=1) == labels).double().mean()
        return {"accuracy": float(accuracy), "loss": float(nn.functional.cross_entropy(scores, labels))}

    def _share(self, number: int) -> Samples:
        return self._images[number::5], self._labels[number::5]


def task() -> Digits:
    """verifl calls this."""
    return Digits()
