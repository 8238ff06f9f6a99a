"""A classifier of scikit-learn, trained by its own `partial_fit`: its coefficients travel as a torch module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from torch import nn

Samples = tuple[NDArray[np.float64], NDArray[np.int64]]  # features (n, 30), labels (n,) in {0, 1}
CLINICS = ["clinic-1", "clinic-2", "clinic-3"]


class PartialFit:
    """Logistic regression by stochastic gradient descent over the biopsies of three clinics."""

    def __init__(self) -> None:
        features, labels = load_breast_cancer(return_X_y=True)
        self._features, self._labels = (features - features.mean(axis=0)) / features.std(axis=0), labels

    def clients(self) -> Sequence[str]:
        """The clinics."""
        return CLINICS

    def model(self) -> nn.Module:
        """The coefficients and the intercept, in double precision as scikit-learn has them."""
        return nn.Linear(30, 1, dtype=torch.float64)

    def data(self, client: str) -> Samples:
        """Every fourth biopsy from the clinic's own on; the last fourth is for everybody."""
        return self._share(CLINICS.index(client))

    def train(self, model: nn.Linear, client: str, data: Samples) -> None:
        """Two passes of `partial_fit` from the global coefficients on; what they became is written back."""
        del client
        classifier = _classifier(model)
        for _ in range(2):
            classifier.partial_fit(*data, classes=np.array([0, 1]))
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(classifier.coef_))
            model.bias.copy_(torch.from_numpy(classifier.intercept_))

    def evaluate(self, model: nn.Linear) -> Mapping[str, float]:
        """Accuracy and logistic loss on the fourth that is for everybody."""
        features, labels = self._share(len(CLINICS))
        with torch.no_grad():
            scores = model(torch.from_numpy(features).to(model.weight)).cpu().squeeze(1)
        targets = torch.from_numpy(labels).double()
        loss = nn.functional.binary_cross_entropy_with_logits(scores, targets)
        return {"accuracy": float(((scores > 0) == (targets > 0)).double().mean()), "loss": float(loss)}

    def _share(self, number: int) -> Samples:
        return self._features[number::4], self._labels[number::4]


def _classifier(model: nn.Linear) -> SGDClassifier:
    """An SGDClassifier that goes on from the module's values. verifl seeds torch, and torch seeds the shuffling."""
    seed = int(torch.randint(2**31, ()))
    classifier = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.005, random_state=seed)
    classifier.coef_ = model.weight.detach().cpu().numpy().copy()
    classifier.intercept_ = model.bias.detach().cpu().numpy().copy()
    return classifier


def task() -> PartialFit:
    """verifl calls this."""
    return PartialFit()
