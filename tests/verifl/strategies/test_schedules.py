"""Schedules of learning rates: the numbers that a policy gets, the same ones on every machine."""

from __future__ import annotations

import decimal
import itertools
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.steps.registry import SERVER_RULES, step_constants
from protocols.steps.rule import spelled
from verifl.config import Config, parse_config, read_config
from verifl.planning.plan import make_plan
from verifl.strategies.schedules import ScheduleConfig, scheduled
from verifl.tasks.breast_cancer import breast_cancer


def rates(rounds: int, rate: float = 1.0, **fields: object) -> tuple[float, ...]:
    return scheduled(rate, ScheduleConfig.model_validate(fields), rounds)


def test_each_kind_by_hand() -> None:
    assert rates(3, 0.5) == (0.5, 0.5, 0.5)
    assert rates(5, 0.5, warm_up=3) == (0.125, 0.25, 0.375, 0.5, 0.5)
    assert rates(7, kind="step", every=2, factor=0.5) == (1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125)
    assert rates(4, kind="step", every=1, factor=0.1) == (1.0, 0.1, 0.1 * 0.1, 0.1 * 0.1 * 0.1)
    assert rates(5, kind="cosine", least=0.5) == (
        1.0,
        rates(5, kind="cosine", least=0.5)[1],
        0.75,
        1.5 - rates(5, kind="cosine", least=0.5)[1],
        0.5,
    )
    assert rates(1, kind="cosine") == (1.0,)


@pytest.mark.parametrize("count", [2, 3, 10, 97, 1000])
def test_a_cosine_is_the_nearest_double(count: int) -> None:
    """To what the mathematical library says, which errs by a unit in the last place."""
    found = rates(count, kind="cosine", least=0.25)
    expected = [0.25 + 0.75 * (1 + math.cos(math.pi * i / (count - 1))) / 2 for i in range(count)]
    assert all(math.isclose(one, other, rel_tol=1e-15) for one, other in zip(found, expected, strict=True))
    assert (found[0], found[-1]) == (1.0, 0.25)


def test_a_cosine_does_not_depend_on_the_thread() -> None:
    expected = rates(50, kind="cosine")
    with decimal.localcontext() as context:
        context.prec = 5
        assert rates(50, kind="cosine") == expected


def test_the_longest_schedule_ends_where_it_should() -> None:
    found = rates(65_536, kind="cosine", least=0.5)
    assert len(found) == 65_536
    assert found[-1] == 0.5
    assert all(one >= other for one, other in itertools.pairwise(found))


def test_a_warm_up_that_never_ends_is_refused() -> None:
    with pytest.raises(Misuse, match=r"server.schedule.warm_up: expected fewer than the 3 rounds .*, found 3"):
        rates(3, warm_up=3)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "cosine", "every": 3}, "`every` belongs to kind step, found kind cosine"),
        ({"kind": "step", "least": 0.1}, "`least` belongs to kind cosine, found kind step"),
        ({"factor": 0.1}, "`factor` belongs to kind step, found kind constant"),
        ({"kind": "linear"}, "server.schedule.kind: expected 'constant', 'step' or 'cosine', found 'linear'"),
        ({"kind": "cosine", "least": 0.0}, "server.schedule.least: expected greater than 0, found 0.0"),
    ],
)
def test_mistakes_are_named(fields: Mapping[str, object], said: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        Config.of(server={"schedule": fields})
    assert said in str(excinfo.value)


def test_a_policy_has_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        '[task]\nname = "breast-cancer"\n[federation]\nrounds = 4\n[server]\nlearning_rate = 0.5\n'
        'schedule = { kind = "step", every = 2, factor = 0.5, warm_up = 1 }\n'
    )
    config = read_config(path)
    policy = make_plan(breast_cancer(), config).policy
    assert policy.step == spelled(SERVER_RULES.find("fedavg"), rates=(0.25, 0.5, 0.5, 0.25))
    assert step_constants(policy.step).in_round(9).learning_rate == 0.25
    assert parse_config(tomllib.loads(str(config)), "again") == config


def test_a_schedule_that_ends_in_nothing_is_refused() -> None:
    config = Config.of(federation={"rounds": 40}, server={"schedule": {"kind": "step", "every": 1, "factor": 0.1}})
    message = r"step-floor.*found fedavg with learning_rate 1e-39 in round 40; .*have the schedule fall less or later"
    with pytest.raises(Misuse, match=message):
        make_plan(breast_cancer(), config)
