"""Logistic regression over the breast-cancer data, by scikit-learn's SGDClassifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from verifl.tasks.estimators import EstimatorTask
from verifl.tasks.partition import dirichlet_split


def breast_cancer_logistic(clients: int = 8, seed: int = 1) -> EstimatorTask:
    """The data and hospitals of `breast_cancer`, their split by label included; an estimator of 31 coefficients."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import SGDClassifier

    features, labels = load_breast_cancer(return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    generator = np.random.default_rng(seed)
    held_out, training = np.split(generator.permutation(len(labels)), [len(labels) // 5])
    names = [f"hospital-{number}" for number in range(1, clients + 1)]
    parts = dirichlet_split(labels[training], clients, 1.0, 16, generator)
    sites = {name: training[part] for name, part in zip(names, parts, strict=True)}

    def samples(client: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        return features[sites[client]], labels[sites[client]]

    return EstimatorTask(
        SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.01),
        names,
        samples,
        features=30,
        classes=[0, 1],
        held_out=(features[held_out], labels[held_out]),
        epochs=2,
    )
