"""Breast cancer with features as they were measured: a batch normalisation, whose statistics travel, brings them to one
scale. Their variances reach 340,000, those of others are below 0.00001."""

from __future__ import annotations

import numpy as np
from torch import nn

from verifl.tasks.classification import ClassificationTask, Recipe


def task() -> ClassificationTask:
    """Eight hospitals."""
    from sklearn.datasets import load_breast_cancer

    features, labels = load_breast_cancer(return_X_y=True)
    hospitals = [f"hospital-{number}" for number in range(1, 9)]
    recipe = Recipe(epochs=2, batch_size=16, learning_rate=0.05)
    return ClassificationTask(features, np.asarray(labels, dtype=np.int64), hospitals, network, recipe, seed=1)


def network() -> nn.Module:
    return nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
