"""When a run stops by a metric, and which round was the best: by hand, and refused where names say nothing."""

from __future__ import annotations

from math import inf, nan

import pytest

from proofs.errors import Misuse
from verifl import Config
from verifl.strategies.stopping import Stalled, StoppingConfig, best_round, direction, stalled


def rule(**fields: object) -> StoppingConfig:
    return StoppingConfig.model_validate({"metric": "loss", "patience": 2, **fields})


def rounds(*values: float) -> list[tuple[int, float]]:
    return list(enumerate(values, 1))


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ({}, (), None),
        ({}, (3.0, 2.0, 1.0), None),
        ({}, (1.0, 1.0), None),
        ({}, (1.0, 1.0, 1.0), Stalled(1, 1.0)),
        ({}, (2.0, 3.0, 1.0, 1.5), None),
        ({}, (2.0, 3.0, 1.0, 1.5, 1.0), Stalled(3, 1.0)),
        ({"minimum_change": 0.5}, (2.0, 1.6, 1.5, 1.2), None),  # 1.5 is better than 2.0 by 0.5
        ({"minimum_change": 0.6}, (2.0, 1.6, 1.5), Stalled(1, 2.0)),
        ({"metric": "accuracy"}, (0.1, 0.5, 0.4, 0.5), Stalled(2, 0.5)),
        ({"mode": "max"}, (0.1, 0.5, 0.4, 0.5), Stalled(2, 0.5)),
        ({}, (nan, nan), Stalled(0, nan)),
        ({}, (nan, 1.0, nan, inf), Stalled(2, 1.0)),
        ({}, (inf, 1.0, 0.5), None),
    ],
)
def test_a_run_stops_once_a_metric_has_stalled(fields: object, values: tuple[float, ...], expected: object) -> None:
    assert repr(stalled(rule(**fields), rounds(*values))) == repr(expected)


def test_the_first_of_the_best_rounds_counts() -> None:
    assert best_round(rounds(2.0, nan, 1.0, 1.0), "min") == 3
    assert best_round(rounds(2.0, nan, 1.0, 2.0), "max") == 1
    assert best_round([(4, 0.5), (7, 0.25)], "min") == 7
    assert best_round(rounds(nan, nan), "min") is None


@pytest.mark.parametrize(
    ("name", "mode"), [("loss", "min"), ("val_loss", "min"), ("top-5-accuracy", "max"), ("AUC", "max")]
)
def test_usual_names_say_what_is_better(name: str, mode: str) -> None:
    assert direction(name, None, "") == mode
    assert direction(name, "max", "") == "max"


@pytest.mark.parametrize("name", ["lossless", "x", "loss_accuracy"])
def test_other_names_do_not(name: str) -> None:
    with pytest.raises(Misuse, match=r"its name does not say .*; say --mode"):
        direction(name, None, "--mode")
    with pytest.raises(Misuse, match=r"stopping\.metric: .*say stopping\.mode"):
        Config.of(stopping={"metric": name})
    assert Config.of(stopping={"metric": name, "mode": "min"}).stopping is not None


class Noised(Config):
    """A configuration that asks for noise."""

    privacy: str | None = "epsilon"


def test_with_noise_only_a_public_metric_may_decide_how_long_the_log_is() -> None:
    told = {"metric": "loss"}
    with pytest.raises(ValueError, match=r"stopping\.public_data: not declared, and with \[privacy\]"):
        Noised.model_validate({"task": {"file": "task.py"}, "stopping": told})
    assert Noised.model_validate({"task": {"file": "task.py"}, "stopping": {**told, "public_data": True}}).stopping
    assert Noised.model_validate({"task": {"file": "task.py", "public_data": True}, "stopping": told}).stopping
    assert Noised.model_validate({"task": {"name": "digits"}, "stopping": told}).stopping
    assert Noised.model_validate({"task": {"file": "task.py"}}).stopping is None
