"""Linear estimators of scikit-learn as tasks: what they learn travels, how they learn stays theirs.

The model is a module of `coef_` and `intercept_`, in double precision, as scikit-learn has them, so that the global
model is the plain mean of the clients' estimators as far as nothing is clipped. See `verifl.sklearn`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from proofs.errors import Misuse

LabelledRows = tuple[NDArray[Any], NDArray[Any]]  # features (n, features), targets (n,)
Estimator = Any  # of scikit-learn, which has no types

_LEARNT = ("coef_", "intercept_")
_CLASSES = "classes_"


class LinearModule(nn.Module):
    """coef_ and intercept_ of an estimator, float64, zero at first, as scikit-learn's begin. `classes_` is a buffer
    that stays, where classes are numbers."""

    def __init__(self, features: int, classes: NDArray[Any] | None) -> None:
        """classes: ascending; None for a regression."""
        super().__init__()
        rows = () if classes is None else (1 if len(classes) == 2 else len(classes),)
        self.coef_ = nn.Parameter(torch.zeros(*rows, features, dtype=torch.float64))
        self.intercept_ = nn.Parameter(torch.zeros(*(rows or (1,)), dtype=torch.float64))
        if classes is not None and classes.dtype.kind in "iub":
            self.register_buffer(_CLASSES, torch.from_numpy(classes.astype(np.int64)))


class EstimatorTask:
    """A `Task` whose clients fit a linear estimator: LogisticRegression, SGDClassifier, SGDRegressor, Perceptron, and
    others that go on from a `coef_` by `partial_fit` or by `warm_start`.

        def task():
            return EstimatorTask(
                SGDClassifier(loss="log_loss"), ["north", "south"], read_site, features=30, classes=[0, 1],
                held_out=read_public(), epochs=2,
            )

    estimator: unfitted, with its parameters; every turn fits a clone of it, from the global coefficients on. data: the
    features (n, `features`) and targets (n,) of a client, by its name. classes: all that there are, also those that a
    client has none of; None for a regression. held_out: what everybody may see, to evaluate on. epochs: calls of
    `partial_fit` in a turn; of one that fits by `warm_start` its own `max_iter` says how long.

    Randomness that the estimator takes from numpy (`random_state=None`) is seeded for each turn. Raises Misuse for an
    estimator that cannot go on from coefficients, and for what nothing can be learnt with or evaluated on.
    """

    def __init__(
        self,
        estimator: Estimator,
        clients: Sequence[str],
        data: Callable[[str], LabelledRows],
        *,
        features: int,
        held_out: LabelledRows,
        classes: Sequence[Any] | None = None,
        epochs: int = 1,
    ) -> None:
        self._estimator, self._names, self._read = estimator, tuple(clients), data
        self._features, self._held_out, self._epochs = features, held_out, epochs
        self._classes = None if classes is None else np.unique(np.asarray(classes))
        self._check()

    def clients(self) -> Sequence[str]:
        """See `Task.clients`."""
        return self._names

    def model(self) -> nn.Module:
        """Zeros: see `LinearModule`."""
        return LinearModule(self._features, self._classes)

    def data(self, client: str) -> LabelledRows:
        """See `Task.data`."""
        return self._read(client)

    def weight(self, client: str, data: LabelledRows) -> int:  # noqa: ARG002  all samples count alike
        """The number of samples."""
        return len(data[1])

    def train(self, model: nn.Module, client: str, data: LabelledRows) -> None:
        """Fit from the model's coefficients on; what they became is written back.

        Raises Misuse where the estimator made others than the model has: an estimator without `partial_fit` needs
        samples of every class.
        """
        estimator = self.estimator(model)
        if hasattr(estimator, "partial_fit"):
            told = {} if self._classes is None else {"classes": self._classes}
            for _ in range(self._epochs):
                estimator.partial_fit(*data, **told)
        else:
            estimator.fit(*data)
        for name in _LEARNT:
            _write(model, name, np.asarray(getattr(estimator, name)), client)

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """Accuracy in [0, 1] of a classifier, and its log loss if it has probabilities; R^2 of a regression."""
        estimator, (features, targets) = self.estimator(model), self._held_out
        if self._classes is None:
            return {"r2": float(estimator.score(features, targets))}
        found = {"accuracy": float(estimator.score(features, targets))}
        if hasattr(estimator, "predict_proba"):
            from sklearn.metrics import log_loss

            probable = estimator.predict_proba(features)
            found["loss"] = float(log_loss(targets, probable, labels=self._classes))
        return found

    def estimator(self, model: nn.Module) -> Estimator:
        """An estimator with the model's coefficients, as if it had been fitted."""
        from sklearn.base import clone

        made = clone(self._estimator)
        if not hasattr(made, "partial_fit"):
            made.set_params(warm_start=True)
        state = {name: getattr(model, name).detach().cpu().numpy().copy() for name in _LEARNT}
        return _fitted(made, state, self._classes)

    def _check(self) -> None:
        if _classifies("EstimatorTask", self._estimator) != (self._classes is not None):
            wanted = "classes" if self._classes is None else "no classes"
            raise Misuse(f"EstimatorTask: {type(self._estimator).__name__} needs {wanted}")
        if self._classes is not None and len(self._classes) < 2:
            raise Misuse(f"EstimatorTask: expected two classes or more, found {len(self._classes)}")
        for name, value in (("features", self._features), ("epochs", self._epochs)):
            if not isinstance(value, int | np.integer) or value < 1:
                raise Misuse(f"EstimatorTask: {name}: expected 1 or more, found {value!r}")
        found = [np.shape(each) for each in self._held_out] if isinstance(self._held_out, Sequence) else []
        if len(found) != 2 or len(found[0]) != 2 or found[0] != (*found[1], self._features) or not found[0][0]:
            expected = f"a pair of features (n, {self._features}) and targets (n,), n at least 1"
            told = " and ".join(map(str, found)) or type(self._held_out).__name__
            raise Misuse(f"EstimatorTask: held_out: expected {expected}, found {told}")


def _classifies(where: str, estimator: Estimator) -> bool:
    """Whether it is a classifier; raises Misuse for what cannot go on from coefficients."""
    from sklearn.base import BaseEstimator, is_classifier

    name = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator):
        found = f"the class {estimator.__name__}; call it" if isinstance(estimator, type) else f"a {name}"
        raise Misuse(f"{where}: expected an estimator of scikit-learn, found {found}")
    linear = any(each.__module__.startswith("sklearn.linear_model") for each in type(estimator).__mro__)
    goes_on = hasattr(estimator, "partial_fit") or "warm_start" in estimator.get_params()
    if not (linear and goes_on):
        raise Misuse(
            f"{where}: {name} cannot go on from a coef_; expected one of sklearn.linear_model with "
            "partial_fit or warm_start"
        )
    return bool(is_classifier(estimator))


def load_estimator(path: Path | str, estimator: Estimator, classes: Sequence[Any] | None = None) -> Estimator:
    """The model of an `EstimatorTask` in a file of `verifl run` or `verifl export`, as a fitted estimator.

    estimator: of the same kind, which is filled and returned: it predicts, and can be pickled as any other. classes:
    as the task had them, where they are no numbers; numbers are in the file. Raises Misuse for another file, an
    estimator of the other kind, or other classes.
    """
    from safetensors.numpy import load_file

    try:
        held = load_file(str(path))
    except SafetensorError as error:
        raise Misuse(f"{path}: expected a safetensors file: {error}") from None
    missing = [name for name in _LEARNT if name not in held]
    if missing:
        raise Misuse(f"{path}: has no {missing[0]!r}; expected the model of an EstimatorTask")
    classified = held["coef_"].ndim == 2
    if _classifies(str(path), estimator) != classified:
        wanted = "a classifier" if classified else "a regression"
        raise Misuse(f"{path}: expected {wanted}, as the file is of one, found {type(estimator).__name__}")
    known = held.get(_CLASSES) if classes is None else np.unique(np.asarray(classes))
    if known is None and classified:
        raise Misuse(f"{path}: says no classes, as they are no numbers; give classes=")
    if known is not None:
        _check_classes(path, held, known)
    return _fitted(estimator, held, known)


def _check_classes(path: Path | str, held: Mapping[str, NDArray[Any]], given: NDArray[Any]) -> None:
    rows = len(held["coef_"]) if held["coef_"].ndim == 2 else 0
    count = 2 if rows == 1 else rows
    inside = held.get(_CLASSES, given)
    if len(given) != count or not np.array_equal(inside, given):
        expected = f"{count} of them" if len(given) != count else f"{inside.tolist()}, as the file has them"
        raise Misuse(f"{path}: classes: expected {expected}, found {given.tolist()}")


def _fitted(estimator: Estimator, state: Mapping[str, NDArray[Any]], classes: NDArray[Any] | None) -> Estimator:
    """With what a fit leaves. The intercept of a regression is a number where nothing goes on by `partial_fit`."""
    for name in _LEARNT:
        setattr(estimator, name, state[name])
    if classes is None and not hasattr(estimator, "partial_fit"):
        estimator.intercept_ = float(state["intercept_"][0])
    estimator.n_features_in_ = state["coef_"].shape[-1]
    if classes is not None:
        estimator.classes_ = classes
    return estimator


def _write(model: nn.Module, name: str, values: NDArray[Any], client: str) -> None:
    parameter: nn.Parameter = getattr(model, name)
    made = values.reshape(1) if values.ndim == 0 else values
    if made.shape != tuple(parameter.shape):
        raise Misuse(
            f"client {client}: {name} has shape {made.shape} after fit, expected {tuple(parameter.shape)}; where a "
            "client has not samples of every class, only an estimator with partial_fit learns, such as SGDClassifier"
        )
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(made)))
