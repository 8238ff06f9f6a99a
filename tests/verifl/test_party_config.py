"""A party's file: one key for each option of its command, which the command line overrides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from proofs.errors import Misuse
from verifl.commands import client, coordinator, trustee
from verifl.commands.root import invoke
from verifl.party_config import ROLES, MetricsTable, PartyConfig, read_party_config

COMMANDS: dict[str, click.Command] = {
    "coordinator": coordinator.run,
    "trustee": trustee.run,
    "client": client.run,
}
ON_THE_COMMAND_LINE_ALONE = {"config_file", "once", "changes"}


def values(role: str, file: Path, *more: str) -> dict[str, Any]:
    """The parameters of a command that is told to read this file."""
    return COMMANDS[role].make_context("run", ["--config", str(file), *more]).params


def template(role: str, folder: Path, uncommented: bool = False) -> Path:
    assert invoke(["init", str(folder), "--role", role]) == 0
    file = folder / f"{role}.toml"
    if uncommented:
        text = file.read_text()
        file.write_text(re.sub(r"^# (\[|[a-z_]+ = )", r"\1", text, flags=re.M))
    return file


@pytest.mark.parametrize("role", ROLES)
def test_each_option_has_a_key_and_each_key_is_an_option(role: str, tmp_path: Path) -> None:
    """The template names every option of the command, and the file says nothing that the command does not take."""
    file = template(role, tmp_path, uncommented=True)
    options = {parameter.name for parameter in COMMANDS[role].params if parameter.name} - ON_THE_COMMAND_LINE_ALONE
    told = read_party_config(file, role, options)
    assert set(told) == options
    assert values(role, file)["metrics_port"] == told["metrics_port"]


@pytest.mark.parametrize("role", ROLES)
def test_the_template_holds_as_it_is(role: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = values(role, template(role, tmp_path))
    assert found["state"] == tmp_path / "state"
    assert found["policy_file"] == tmp_path / "policy.cbor"
    assert (found["log_format"], found["log_level"], found["metrics_port"]) == ("json", "info", None)
    assert f"{role} run --config" in capsys.readouterr().out
    assert invoke(["init", str(tmp_path), "--role", role]) == 2  # nothing is overwritten


def test_options_override_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "trustee.toml"
    file.write_text(
        'role = "trustee"\npublic = "meeting"\nstate = "/var/lib/own"\npolicy = "../policy.cbor"\npoll = 7.5\n'
        '[metrics]\nport = 9999\n[logs]\nlevel = "debug"\n'
    )
    found = values("trustee", file, "--poll", "2", "--log-level", "error", "--state", "elsewhere")
    assert Path(found["public"]) == tmp_path / "meeting"
    assert found["policy_file"] == tmp_path / "../policy.cbor"
    assert (found["state"], found["poll"], found["log_level"]) == (Path("elsewhere"), 2.0, "error")
    assert (found["metrics_port"], found["metrics_address"], found["keys"]) == (9999, "127.0.0.1", ())


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ('role = "trustee"\nstaet = "x"\n', "unknown key 'staet'; did you mean 'state'?"),
        ('role = "trustee"\n[metrics]\nprot = 1\n', "unknown key 'metrics.prot'; did you mean 'port'?"),
        ('role = "client"\n', "role: expected 'trustee' for this command, found 'client'"),
        ('state = "x"\n', "role: missing"),
        ('role = "trustee"\npoll = 0\n', "poll: expected"),
        ('role = "trustee"\npoll = "often"\n', "poll: expected"),
        ('role = "trustee"\ntraining = "config.toml"\n', "training: a trustee has no such thing; remove it"),
        ('[task]\nfile = "task.py"\n', "is a training configuration"),
        ("role = \n", "not valid TOML"),
        ('role = "trustee"\nstate = "a\\u0000b"\n', "state: expected printable characters on one line"),
        ('role = "trustee"\npassphrase_file = "a\\nb"\n', "passphrase_file: expected printable characters on one line"),
        ('role = "trustee"\nkeys = ["a", "b\\u001b[2J"]\n', "keys.1: expected printable characters on one line"),
        (
            'role = "trustee"\ntoken_file = "~nobody-here/token"\n',
            "token_file: ~nobody-here/token: could not determine",
        ),
        (f"a = {'[' * 100_000}", "not valid TOML: arrays or tables in one another too deep"),
        (f"#{'x' * (1 << 20)}", "expected a TOML file of at most 1048576 bytes"),
    ],
)
def test_what_is_wrong_is_one_line_before_any_work(
    text: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trustee.toml"
    file.write_text(text)
    places = ["--public", str(tmp_path), "--state", str(tmp_path / "state"), "--policy", str(tmp_path / "none")]
    assert invoke(["trustee", "run", "--config", str(file), *places]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"verifl: {file}: ")
    assert hint in error
    assert error.count("\n") == 1
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("key", sorted(PartyConfig.model_fields))
@pytest.mark.parametrize(
    "value", ["7", "-1", "9" * 40, "nan", "true", "[1]", "{a = 1}", "2020-01-01", '"\\u0000"', '""']
)
def test_a_value_of_any_type_is_one_line(
    key: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a key is given: either it is refused as that key's, or what else is missing is told."""
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "trustee.toml"
    said = {"role": '"trustee"', "public": '"public"', "state": '"own"', "policy": '"none"', key: value}
    file.write_text("".join(f"{name} = {each}\n" for name, each in said.items()))
    assert invoke(["trustee", "run", "--config", str(file)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("verifl: ")
    assert error.rstrip("\n").isprintable()
    assert not (tmp_path / "own").exists()


def test_a_device_without_end_is_no_file_of_a_party(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["trustee", "run", "--config", "/dev/zero"]) == 2
    assert "/dev/zero: expected a TOML file of at most" in capsys.readouterr().err


def test_a_file_that_is_not_there_says_what_writes_one(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"`verifl init DIR --role client` writes an example"):
        read_party_config(tmp_path / "client.toml", "client", [])


def test_the_tables_say_what_the_options_say() -> None:
    """Both have the same bounds and choices: a value that the file takes the command takes."""
    for command in COMMANDS.values():
        for parameter in command.params:
            if isinstance(parameter.type, click.Choice) and parameter.name in PartyConfig.model_fields:
                annotation = str(PartyConfig.model_fields[parameter.name].annotation)
                assert all(repr(choice) in annotation for choice in parameter.type.choices)
    port = MetricsTable.model_fields["port"].metadata
    option = next(each for each in trustee.run.params if each.name == "metrics_port")
    assert isinstance(option.type, click.IntRange)
    assert (port[0].ge, port[1].le) == (option.type.min, option.type.max)
