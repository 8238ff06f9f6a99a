"""Seven kinds of forest from 54 measurements: made-up data of the shape of the Covertype data set, so that nothing is
downloaded, from scikit-learn's make_classification. No default of verifl was chosen by it."""

from __future__ import annotations

import numpy as np
from torch import nn

from verifl.tasks.classification import ClassificationTask, Recipe


def task() -> ClassificationTask:
    """Ten districts, whose shares of each kind differ much."""
    from sklearn.datasets import make_classification

    features, labels = make_classification(
        n_samples=6000, n_features=54, n_informative=16, n_redundant=8, n_classes=7, n_clusters_per_class=2,
        class_sep=1.5, random_state=7,
    )  # fmt: skip
    districts = [f"district-{number}" for number in range(1, 11)]
    recipe = Recipe(epochs=1, batch_size=32, learning_rate=0.05)
    return ClassificationTask(features, np.asarray(labels, dtype=np.int64), districts, network, recipe, 1, 0.5)


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(54, 64), nn.ReLU(), nn.Linear(64, 7))
