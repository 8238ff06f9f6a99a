"""What the built-in tasks share: a labelled data set, split unevenly, and a plain PyTorch training loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from verifl.tasks.partition import dirichlet_split

Labelled = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Recipe:
    """Local training: epochs over the client's data with SGD and momentum."""

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9


class ClassificationTask:
    """A `Task` over features (n, ...) float32 and labels (n,): a fifth is held out for evaluation, the rest is split
    among the clients by label (Dirichlet), the same split for the same seed."""

    def __init__(
        self,
        features: NDArray[np.float64],
        labels: NDArray[np.int64],
        names: Sequence[str],
        build: Callable[[], nn.Module],
        recipe: Recipe,
        seed: int,
        concentration: float = 1.0,
    ) -> None:
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(labels))
        held_out, training = np.split(order, [len(labels) // 5])
        self._features = torch.from_numpy(features.astype(np.float32))
        self._labels = torch.from_numpy(labels.astype(np.int64))
        self._held_out = torch.from_numpy(held_out)
        parts = dirichlet_split(labels[training], len(names), concentration, 16, generator)
        self._parts = {name: torch.from_numpy(training[part]) for name, part in zip(names, parts, strict=True)}
        self._build = build
        self._recipe = recipe

    def clients(self) -> Sequence[str]:
        """The sites, in order."""
        return tuple(self._parts)

    def model(self) -> nn.Module:
        """The task's network with PyTorch's default initialisation."""
        return self._build()

    def data(self, client: str) -> Labelled:
        """The features and labels of one site."""
        part = self._parts[client]
        return self._features[part], self._labels[part]

    def weight(self, client: str, data: Labelled) -> int:  # noqa: ARG002  all samples count alike
        """The number of samples."""
        return len(data[1])

    def train(self, model: nn.Module, client: str, data: Labelled) -> None:  # noqa: ARG002  the loop is the same for all
        """Cross-entropy, SGD with momentum, `epochs` passes in shuffled batches."""
        features, labels = (tensor.to(_device(model)) for tensor in data)
        recipe = self._recipe
        optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=recipe.momentum)
        model.train()
        for _ in range(recipe.epochs):
            for batch in torch.randperm(len(labels)).split(recipe.batch_size):
                if len(batch) < 2:
                    continue  # a batch statistic of one sample is undefined
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(features[batch]), labels[batch]).backward()
                optimizer.step()

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Accuracy in [0, 1] and mean cross-entropy on the held-out fifth."""
        features = self._features[self._held_out].to(_device(model))
        labels = self._labels[self._held_out].to(_device(model))
        model.eval()
        with torch.no_grad():
            scores = model(features)
        accuracy = (scores.argmax(dim=1) == labels).double().mean()
        return {"accuracy": float(accuracy), "loss": float(nn.functional.cross_entropy(scores, labels))}


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
