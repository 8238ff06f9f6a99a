"""A small residual network with batch normalisation on pixels from 0 to 255, as they come from a file: the digits of
scikit-learn, in three colours."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from verifl.tasks.classification import ClassificationTask, Recipe


def task() -> ClassificationTask:
    """Four sites."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    colours = np.array([1.0, 0.8, 0.6]).reshape(1, 3, 1, 1)
    pixels = np.rint(images.reshape(-1, 1, 8, 8) / 16 * 255 * colours)
    sites = [f"site-{number}" for number in range(1, 5)]
    recipe = Recipe(epochs=1, batch_size=32, learning_rate=0.05)
    return ClassificationTask(pixels, np.asarray(labels, dtype=np.int64), sites, Residual, recipe, seed=1)


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, images: Tensor) -> Tensor:
        return torch.relu(self.body(images) + self.shortcut(images))


class Residual(nn.Module):
    """A stem, three blocks, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            Block(8, 8, 1), Block(8, 16, 2), Block(16, 16, 2),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)
