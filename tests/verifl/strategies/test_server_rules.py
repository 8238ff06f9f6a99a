"""Rules of the server step in configurations and policies: one that is registered needs no change here, one that is
not is refused by name."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.policy import StepRule
from protocols.registry import one_of
from protocols.steps.registry import SERVER_RULES
from protocols.steps.rule import NUMBERS, spelled
from tests.server_rules import SECOND_ADAMAX, FedAdaMax, registered
from tests.simulator import Setting, make_policy
from verifl.commands import root as cli
from verifl.commands.scaffold import EXAMPLE, write_templates
from verifl.config import Config
from verifl.planning.plan import make_plan
from verifl.strategies.rules import ServerConfig, step_rule
from verifl.tasks.breast_cancer import breast_cancer

REPOSITORY = Path(__file__).parents[3]
CONFIGURATION = '[task]\nname = "breast-cancer"\n[server]\nrule = "fedadamax"\n'


def test_a_registered_rule_is_planned() -> None:
    with registered(FedAdaMax(), SECOND_ADAMAX):
        plan = make_plan(breast_cancer(), Config.of(server={"rule": "fedadamax", "beta1": 0.5}))
        assert not plan.failed
        assert plan.policy.step == spelled(FedAdaMax(), beta1=0.5)


def test_a_plan_refuses_a_rule_that_is_not_registered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(CONFIGURATION)
    assert cli.invoke(["plan", str(path)]) == 2
    said = capsys.readouterr()
    assert (
        said.err
        == f"verifl: {path}: server.rule: expected {one_of(map(repr, SERVER_RULES.names))}, found 'fedadamax'\n"
    )
    assert said.out == ""


def test_a_policy_with_a_rule_that_is_not_registered_is_shown_as_unsound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with registered(FedAdaMax(), SECOND_ADAMAX):
        data, _ = make_policy(Setting(step=spelled(FedAdaMax())))
    path = tmp_path / "policy.cbor"
    path.write_bytes(data)
    assert cli.invoke(["policy", "show", str(path)]) == 1
    shown = capsys.readouterr().out
    assert f"expected the server rule {one_of(SERVER_RULES.names)}, found 'fedadamax'" in shown


@pytest.mark.parametrize("name", SERVER_RULES.names)
def test_every_rule_is_configured_with_its_own_constants(name: str) -> None:
    rule = SERVER_RULES.find(name)
    own = {each.name: each.default for each in rule.constants}
    assert step_rule(ServerConfig(rule=name), 5) == step_rule(ServerConfig(rule=name, **own), 5) == spelled(rule)
    for other in set(NUMBERS) - own.keys():
        with pytest.raises(ValueError, match=f"`{other}` belongs to rule .*, found rule {name}"):
            ServerConfig(rule=name, **{other: 0.5})
        with pytest.raises(Misuse, match=f"{name} has no {other}"):
            spelled(rule, **{other: 0.5})


def test_every_constant_is_in_policy_configuration_and_some_rule() -> None:
    assert {"rule", *NUMBERS, "schedule"} == set(ServerConfig.model_fields)
    assert {"rule", "learning_rates", *NUMBERS[1:]} == {field.name for field in fields(StepRule)}
    assert {each.name for rule in SERVER_RULES for each in rule.constants} == set(NUMBERS)


@pytest.mark.parametrize("name", SERVER_RULES.names)
def test_every_rule_is_specified_and_in_the_example(name: str, tmp_path: Path) -> None:
    """The specification says what it computes, what it keeps and its floor and ceiling."""
    section = (REPOSITORY / "docs/spec/4-policy-and-parameters.md").read_text(encoding="utf-8").partition("## 4.5")[2]
    assert f"\n`{name}` (" in section
    assert f"`{name}` keeps" in section
    assert f"\n| `{name}` |" in section
    example, _ = write_templates(tmp_path, EXAMPLE)
    assert f'"{name}"' in example.read_text(encoding="utf-8")


def test_nothing_but_its_own_file_tells_one_rule_from_another() -> None:
    """No other source names a rule, but for the default of a configuration."""
    own = {inspect.getsourcefile(type(rule)) for rule in SERVER_RULES}
    for package in ("protocols", "verifl", "auditor"):
        for path in (REPOSITORY / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8").replace('rule: str = "fedavg"', "")
            assert str(path) in own or not any(f'"{name}"' in text for name in SERVER_RULES.names), path
