"""Estimators of scikit-learn: the global model is the mean of theirs, and the file is one of scikit-learn's again."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import ElasticNet, LogisticRegression, Perceptron, Ridge, SGDClassifier, SGDRegressor
from sklearn.naive_bayes import GaussianNB

from auditor import audit
from proofs.errors import Misuse
from verifl import Config, Federation, FederationResult
from verifl.sklearn import EstimatorTask, load_estimator
from verifl.tasks.breast_cancer_logistic import breast_cancer_logistic
from verifl.tasks.seeding import seeded
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorFilter

NAMES = ["a", "b", "c"]
SGD = SGDClassifier(loss="log_loss", shuffle=False, learning_rate="constant", eta0=0.01)
KINDS = {
    "logistic": (LogisticRegression(max_iter=30), 2),
    "logistic-3": (LogisticRegression(max_iter=30), 3),
    "sgd": (SGD, 2),
    "sgd-3": (SGD, 3),
    "perceptron": (Perceptron(shuffle=False), 3),
    "elastic": (ElasticNet(alpha=0.01), 0),
    "regression": (SGDRegressor(shuffle=False, learning_rate="constant", eta0=0.01), 0),
}


def samples(name: str, classes: int) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Of features (60, 4), and what a fixed plane says of them."""
    generator = np.random.default_rng(ord(name))
    features = generator.normal(size=(60, 4))
    plane = np.random.default_rng(7).normal(size=(4, max(classes, 1)))
    if classes == 0:
        return features, (features @ plane)[:, 0] + 1
    scores = features @ plane
    return features, (scores[:, 0] > 0).astype(int) if classes == 2 else scores.argmax(axis=1)


def task_of(estimator: Any, classes: int, held: Sequence[Any] | None = None) -> EstimatorTask:
    names = None if classes == 0 else held or range(classes)
    return EstimatorTask(
        estimator, NAMES, lambda client: samples(client, classes), features=4, classes=names,
        held_out=samples("z", classes), epochs=2,
    )  # fmt: skip


def plain(estimator: Any, classes: int, rounds: int) -> dict[str, NDArray[np.float64]]:
    """Plain averaging by scikit-learn alone."""
    mean: dict[str, NDArray[np.float64]] = {}
    for _ in range(rounds):
        fitted = []
        for name in NAMES:
            one = clone(estimator)
            if mean:
                one.coef_, one.intercept_ = np.copy(mean["coef_"]), np.copy(mean["intercept_"])
            if hasattr(one, "partial_fit"):
                for _ in range(2):
                    one.partial_fit(*samples(name, classes), **({} if classes == 0 else {"classes": range(classes)}))
            else:
                one.set_params(warm_start=True).fit(*samples(name, classes))
            fitted.append(one)
        mean = {name: np.mean([getattr(one, name) for one in fitted], axis=0) for name in ("coef_", "intercept_")}
    return mean


@pytest.mark.parametrize("kind", KINDS)
def test_rounds_are_plain_averaging_of_the_estimators(kind: str) -> None:
    estimator, classes = KINDS[kind]
    training = LocalTraining(task_of(estimator, classes), TensorFilter(), "cpu", 1)
    model = training.initial()
    for number in (1, 2):
        model = np.mean([training.train(name, model, number)[1] for name in NAMES], axis=0)
    expected = plain(estimator, classes, 2)
    assert np.allclose(model, np.concatenate([expected[name].reshape(-1) for name in expected]), rtol=1e-12, atol=1e-12)
    assert set(training.evaluate(model)) <= {"accuracy", "loss", "r2"}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> FederationResult:
    config = Config.of(
        federation={"rounds": 2},
        update={"clip_norm": 16.0, "fraction_bits": 16},
        trustees={"count": 3, "corrupt": 1, "threshold": 3},
    )
    return Federation(task_of(SGD, 3), config, tmp_path_factory.mktemp("estimators") / "out").run()


def test_the_verified_model_is_plain_averaging_up_to_its_resolution(result: FederationResult) -> None:
    assert audit(result.transcript, result.policy).accepted
    found, expected = load_estimator(result.model, clone(SGD)), plain(SGD, 3, 2)
    for name in ("coef_", "intercept_"):
        assert np.abs(getattr(found, name) - expected[name]).max() < 2 * 2.0**-16


def test_scikit_learn_goes_on_with_the_file(result: FederationResult) -> None:
    """It predicts, is pickled, and learns further, with nothing of verifl's."""
    features, labels = samples("z", 3)
    found = load_estimator(result.model, clone(SGD))
    assert found.classes_.tolist() == [0, 1, 2]
    assert found.score(features, labels) == result.rounds[-1].metrics["accuracy"]
    again = pickle.loads(pickle.dumps(found))  # noqa: S301  written just now
    assert np.array_equal(again.predict_proba(features), found.predict_proba(features))
    assert again.partial_fit(features, labels).score(features, labels) >= 0


def test_a_client_without_a_class_takes_part_by_partial_fit_and_no_other_way() -> None:
    def few(client: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
        features, labels = samples(client, 3)
        return features[labels < 2], labels[labels < 2]

    for estimator in (SGD, LogisticRegression()):
        task = EstimatorTask(estimator, NAMES, few, features=4, classes=range(3), held_out=samples("z", 3))
        model = task.model()
        if hasattr(estimator, "partial_fit"):
            task.train(model, "a", few("a"))
            assert bool((model.coef_ != 0).any())
        else:
            with pytest.raises((Misuse, ValueError)):
                task.train(model, "a", few("a"))


def test_classes_that_are_no_numbers_are_given_again(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    names = np.array(["blue", "red"])
    features, labels = samples("a", 2)
    task = EstimatorTask(
        SGD, NAMES, lambda _: (features, names[labels]), features=4, classes=["red", "blue"],
        held_out=(features, names[labels]),
    )  # fmt: skip
    model = task.model()
    task.train(model, "a", (features, names[labels]))
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(Misuse, match="says no classes, as they are no numbers; give classes="):
        load_estimator(tmp_path / "model.safetensors", clone(SGD))
    found = load_estimator(tmp_path / "model.safetensors", clone(SGD), ["red", "blue"])
    assert found.score(features, names[labels]) == task.evaluate(model)["accuracy"] > 0.8


@pytest.mark.parametrize(
    ("estimator", "classes", "text"),
    [
        (SGD, None, "SGDClassifier needs classes"),
        (SGDRegressor(), [0, 1], "SGDRegressor needs no classes"),
        (SGD, [1], "expected two classes or more, found 1"),
        (object(), [0, 1], "expected an estimator of scikit-learn, found a object"),
        (SGDClassifier, [0, 1], "expected an estimator of scikit-learn, found the class SGDClassifier; call it"),
        (RandomForestClassifier(), [0, 1], "RandomForestClassifier cannot go on from a coef_"),
        (GaussianNB(), [0, 1], "GaussianNB cannot go on from a coef_"),
        (Ridge(), None, "Ridge cannot go on from a coef_"),
    ],
)
def test_what_is_no_linear_estimator_is_refused(estimator: Any, classes: Any, text: str) -> None:
    with pytest.raises(Misuse, match=text):
        EstimatorTask(
            estimator, NAMES, lambda _: samples("a", 2), features=4, classes=classes, held_out=samples("z", 2)
        )


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 0}, "epochs: expected 1 or more, found 0"),
        ({"features": 0}, "features: expected 1 or more, found 0"),
        ({"held_out": None}, r"held_out: expected a pair of features \(n, 4\) and targets .* found NoneType"),
        ({"features": 5}, r"held_out: expected a pair of features \(n, 5\) .* found \(\d+, 4\) and"),
        ({"held_out": (np.zeros((0, 4)), np.zeros(0))}, r"n at least 1, found \(0, 4\) and \(0,\)"),
        ({"held_out": (np.zeros((3, 4)), np.zeros(2))}, r"found \(3, 4\) and \(2,\)"),
    ],
)
def test_what_nothing_can_be_learnt_or_evaluated_with_is_refused_before_a_run(
    changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(Misuse, match=f"EstimatorTask: .*{text}"):
        EstimatorTask(
            SGD, NAMES, lambda _: samples("a", 2),
            **{"features": 4, "classes": [0, 1], "held_out": samples("z", 2), **changes},
        )  # fmt: skip


def test_a_file_is_read_into_what_it_is_of_alone(tmp_path: Path) -> None:
    """Whatever else would predict something, too, and nobody would know."""
    from safetensors.torch import save_file

    files = {}
    for name, estimator, classes in (("two", SGD, [3, 7]), ("real", SGDRegressor(), None)):
        held_out = samples("z", 2)
        model = EstimatorTask(estimator, NAMES, samples, features=4, classes=classes, held_out=held_out).model()
        files[name] = tmp_path / name
        save_file(model.state_dict(), files[name])
    assert load_estimator(files["two"], clone(SGD)).classes_.tolist() == [3, 7]
    assert load_estimator(files["two"], clone(SGD), [7, 3]).classes_.tolist() == [3, 7]
    assert load_estimator(files["real"], SGDRegressor()).predict(np.zeros((1, 4))).shape == (1,)
    for name, estimator, classes, text in (
        ("two", SGDRegressor(), None, "expected a classifier, as the file is of one, found SGDRegressor"),
        ("real", clone(SGD), [0, 1], "expected a regression, as the file is of one, found SGDClassifier"),
        ("two", SGDClassifier, None, "found the class SGDClassifier; call it"),
        ("two", clone(SGD), [3, 7, 9], r"classes: expected 2 of them, found \[3, 7, 9\]"),
        ("two", clone(SGD), [0, 1], r"classes: expected \[3, 7\], as the file has them, found \[0, 1\]"),
        ("real", SGDRegressor(), [0, 1], r"classes: expected 0 of them, found \[0, 1\]"),
    ):
        with pytest.raises(Misuse, match=text):
            load_estimator(files[name], estimator, classes)
    assert not hasattr(SGDClassifier, "coef_")


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({}, tmp_path / "model.safetensors")
    with pytest.raises(Misuse, match="has no 'coef_'; expected the model of an EstimatorTask"):
        load_estimator(tmp_path / "model.safetensors", clone(SGD))
    (tmp_path / "none").write_bytes(b"nothing")
    with pytest.raises(Misuse, match="expected a safetensors file"):
        load_estimator(tmp_path / "none", clone(SGD))


def test_the_built_in_one_learns_the_same_again() -> None:
    task = breast_cancer_logistic()
    models = []
    for _ in range(2):
        model = task.model()
        with seeded(1, "train 1 hospital-1"):
            task.train(model, "hospital-1", task.data("hospital-1"))
        models.append(model.coef_.detach().numpy())
    assert np.array_equal(*models)
