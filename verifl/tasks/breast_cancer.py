"""Breast cancer (Wisconsin, diagnostic): 569 biopsies, 30 features, benign or malignant, split among hospitals."""

from __future__ import annotations

import numpy as np
from torch import nn

from verifl.tasks.classification import ClassificationTask, Recipe


def breast_cancer(clients: int = 8, seed: int = 1) -> ClassificationTask:
    """A two-layer network over standardised features, `clients` hospitals with different shares of malignant cases.

    Features are standardised with the statistics of the whole data set, as consortia agree on reference ranges before
    they train.
    """
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    return ClassificationTask(
        features,
        np.asarray(labels, dtype=np.int64),
        [f"hospital-{number}" for number in range(1, clients + 1)],
        _network,
        Recipe(epochs=2, batch_size=16, learning_rate=0.05),
        seed,
    )


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
