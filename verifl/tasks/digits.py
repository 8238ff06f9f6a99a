"""Handwritten digits (UCI): 1797 images of 8 x 8 pixels, ten classes, split among sites."""

from __future__ import annotations

import numpy as np
from torch import nn

from verifl.tasks.classification import ClassificationTask, Recipe


def digits(clients: int = 8, seed: int = 1) -> ClassificationTask:
    """A small convolutional network with batch normalisation, whose running statistics travel with the weights."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return ClassificationTask(
        images.reshape(-1, 1, 8, 8) / 16.0,
        np.asarray(labels, dtype=np.int64),
        [f"site-{number}" for number in range(1, clients + 1)],
        _network,
        Recipe(epochs=2, batch_size=16, learning_rate=0.05),
        seed,
    )


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
