"""What a message promises holds, and a command that it names works as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from torch import nn

from auditor import audit
from proofs.machine.command_line import command_name
from protocols.key_files import write_key
from tests.verifl.failing import Line, withhold
from tests.verifl.office import Office, key_of, public
from verifl.commands import root as cli
from verifl.commands.demonstration import Demonstration
from verifl.config import Config, UpdateConfig

JSON = ["--format", "json"]
PROMISE = "interrupted or killed at any time, it goes on with --resume"


def command_line(folder: Path, more: str = "", rounds: int = 1) -> list[str]:
    """A run by the command."""
    (folder / "task.py").write_text("from tests.verifl.failing import Line as task\n", encoding="utf-8")
    (folder / "config.toml").write_text(
        f'[task]\nfile = "task.py"\n[federation]\nrounds = {rounds}\n[limits]\nmax_aborts = 0\n'
        f"[trustees]\ncount = 2\ncorrupt = 0\nthreshold = 2\n[update]\nencryption_proof = false\n{more}",
        encoding="utf-8",
    )
    return ["run", str(folder / "config.toml"), "--out", str(folder / "out"), "--device", "cpu"]


def hinted(text: str, **values: str) -> list[str]:
    """The arguments of the command of ours that a message names, between backticks or behind a colon; values: what to
    put for a word in capitals."""
    (found,) = re.findall(r"`([^`]+)`", text) or re.findall(r"^(?:next|then): (.+)$", text, re.MULTILINE)
    command, *arguments = shlex.split(found)
    assert command in ("verifl", command_name("verifl"))
    return [values.get(word, word) for word in arguments]


def test_a_run_that_may_be_killed_says_so_before_its_first_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command_line(tmp_path)
    assert cli.invoke(arguments) == 0
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line == PROMISE or line.startswith("round 0")] == [
        next(line for line in said if line.startswith("round 0, the initial model")),
        PROMISE,
    ]
    assert cli.invoke([*arguments, "--resume"]) == 0
    assert PROMISE not in capsys.readouterr().err  # all is done


def test_a_resumption_is_not_promised_to_a_run_that_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command_line(tmp_path)
    assert cli.invoke(arguments) == 0
    capsys.readouterr()
    assert cli.invoke(arguments) == 2  # there is a run
    refused = [capsys.readouterr().err]
    command_line(tmp_path, "clip_norm = 0.5\n")
    assert cli.invoke([*arguments, "--resume"]) == 2  # it began with another configuration
    refused.append(capsys.readouterr().err)
    assert "signed for clip_norm 1, fraction_bits 12, found clip_norm 0.5" in refused[-1]
    (tmp_path / "task.py").write_text("1 / 0\n", encoding="utf-8")
    assert cli.invoke([*arguments, "--resume"]) == 2  # the task does not load
    refused.append(capsys.readouterr().err)
    command_line(tmp_path)
    shutil.rmtree(tmp_path / "out" / "state" / "trustees" / "trustee-1" / "store")
    assert cli.invoke([*arguments, "--resume"]) == 2  # a trustee remembers less than it said
    refused.append(capsys.readouterr().err)
    assert "this state is older" in refused[-1]
    assert not any(PROMISE in each or "nothing is lost" in each for each in refused)


def test_nothing_is_promised_before_evaluate_has_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command_line(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Line, "evaluate", lambda task, model: 1 / 0)
        assert cli.invoke(arguments) == 2
    said = capsys.readouterr().err
    assert "evaluate() failed: ZeroDivisionError" in said
    assert PROMISE not in said
    assert "--resume" not in said
    assert said.endswith(
        f"; nobody had submitted anything, so {tmp_path / 'out'} is left as it was; correct task or configuration\n"
    )
    assert cli.invoke(arguments) == 0  # the same command, corrected


def test_a_run_that_ends_by_its_clients_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command_line(tmp_path)
    monkeypatch.setattr(Line, "data", lambda task, client: {"a": 0.1, "b": 0.1}[client])
    assert cli.invoke(arguments) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("verifl: too-few-submissions: expected 3 or more, found 2 in round 1: client c: ")
    assert "client c: data() failed: KeyError: 'c' (at " in said
    assert "; nothing is lost: once that is put right, `" in said
    assert said.endswith("` goes on from there")
    monkeypatch.undo()
    assert hinted(said)[-3:] == ["--device", "cpu", "--resume"]
    assert cli.invoke(hinted(said)) == 0


def test_a_mistake_in_a_later_round_is_to_be_put_right_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(self: Line, model: nn.Module, client: str, data: float) -> None:
        if client == "d":
            model.register_buffer("more", model.bias.detach().clone())

    arguments = command_line(tmp_path)
    monkeypatch.setattr(Line, "train", train)
    assert cli.invoke(arguments) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "client d: train() changed the architecture of the model: 'more'" in said
    assert "; nothing is lost: once that is put right, `" in said
    monkeypatch.undo()
    assert cli.invoke(hinted(said)) == 0


def test_a_federation_that_ends_early_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    withhold(monkeypatch, 1)
    arguments = command_line(tmp_path)
    assert [cli.invoke(arguments), cli.invoke([*arguments, "--resume"])] == [1, 1]
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_a_demonstration_that_ends_early_is_status_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The audit accepts what there is."""
    withhold(monkeypatch, 2)
    configured = Demonstration.config

    def impatient(chosen: Demonstration) -> Config:
        config = configured(chosen)
        limits = config.limits.model_copy(update={"max_aborts": 0})
        return config.model_copy(update={"limits": limits, "update": UpdateConfig(encryption_proof=False)})

    monkeypatch.setattr(Demonstration, "config", impatient)
    assert cli.invoke(["demo", "--out", str(tmp_path / "out"), "--rounds", "3", "--device", "cpu", *JSON]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["ended"].startswith("federation closed after 1 of 3 rounds: more opened rounds were aborted")
    assert (document["audit"]["accepted"], len(document["rounds"])) == (True, 2)


def test_misbehaviour_begins_with_a_run_and_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = command_line(tmp_path)
    assert cli.invoke(arguments) == 0
    capsys.readouterr()
    assert cli.invoke([*arguments, "--inject", "dropout"]) == 2
    refused = "holds a run already, and misbehaviour begins with a run; choose another --out"
    assert capsys.readouterr().err == f"verifl: {tmp_path / 'out'}: {refused}\n"


def test_a_run_with_misbehaviour_is_not_said_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a liar keeps is not what it said: a resumption would end in the middle of that."""
    arguments = command_line(tmp_path, rounds=2)
    assert cli.invoke([*arguments, "--inject", "late:d"]) == 0
    refused = "parties misbehaved in this run (--inject), and it cannot go on; choose another --out"
    for more in ([], ["--resume"]):
        capsys.readouterr()
        assert cli.invoke([*arguments, *more]) == 2
        assert capsys.readouterr().err == f"verifl: {tmp_path / 'out'}: {refused}\n"


def test_what_an_audit_says_of_a_killed_run_puts_it_right(tmp_path: Path) -> None:
    arguments, out = command_line(tmp_path), tmp_path / "out"
    assert cli.invoke(arguments) == 0
    (out / "transcript" / "checkpoint.tmp").touch()  # as a kill leaves it
    report = audit(out / "transcript", out / "policy.cbor")
    (finding,) = report.check("I1").findings
    assert cli.invoke(hinted(finding.found, CONFIG=str(tmp_path / "config.toml"), DIR=str(out))) == 0
    assert audit(out / "transcript", out / "policy.cbor").accepted


def test_what_init_says_to_do_next_works_in_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my study"
    assert cli.invoke(["init", str(folder)]) == 0
    said = capsys.readouterr().out
    following, last = (line for line in said.splitlines() if line.startswith(("next: ", "then: ")))
    planned = subprocess.run(["sh", "-c", following.removeprefix("next: ")], capture_output=True, text=True, check=True)
    assert planned.stdout.startswith("Plan of federation 'my-federation'\n")
    config = folder / "config.toml"
    text = re.sub(r"(?m)^rounds = \d+", "rounds = 1", config.read_text(encoding="utf-8"))
    config.write_text(text, encoding="utf-8")
    assert cli.invoke(hinted(last)) == 0


def test_what_the_issuer_is_told_to_do_next_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my study"
    assert cli.invoke(["roster", "init", str(folder)]) == 0
    added = hinted(capsys.readouterr().out, NAME="x", PUBLICKEY=public("x"))
    assert cli.invoke(added) == 0
    capsys.readouterr()
    document = folder / "roster.toml"
    assert cli.invoke(["roster", "show", str(document)]) == 0
    lacking = next(line for line in capsys.readouterr().out.splitlines() if "`" in line)
    values = {"ORIGIN": "fl.example.org/mine", "PUBLICKEY": public("coordinator"), "FILE": str(document)}
    assert cli.invoke(hinted(lacking, **values)) == 0
    capsys.readouterr()
    assert cli.invoke(["roster", "show", str(document)]) == 0
    assert "fl.example.org/mine" in capsys.readouterr().out


def test_a_complete_roster_says_how_to_sign_it(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    Path(office.path("policy.cbor")).unlink()
    assert cli.invoke(["roster", "show", office.path("roster.toml")]) == 0
    arguments = hinted(capsys.readouterr().out, CONFIG=office.path("config.toml"), KEY=office.key("issuer"))
    assert cli.invoke([*arguments, "--out", office.path("policy.cbor")]) == 0


def test_a_key_that_others_can_read_is_put_right_by_the_command_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my key.pem"
    write_key(path, key_of("x"))
    path.chmod(0o640)
    assert cli.invoke(["keys", "show", str(path)]) == 2
    (command,) = re.findall(r"run `(chmod [^`]+)`", capsys.readouterr().err)
    subprocess.run(["sh", "-c", command], check=True)
    assert cli.invoke(["keys", "show", str(path)]) == 0
