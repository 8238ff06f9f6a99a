"""`--inject` on the command line: what it prints, and its exit status."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor import audit
from verifl.adversaries.registry import KINDS
from verifl.commands import root as cli

TASK = """
import torch

class Mine:
    def clients(self): return ["w", "x", "y", "z"]
    def model(self): return torch.nn.Linear(2, 1)
    def data(self, client): return None
    def train(self, model, client, data): model.bias.data.add_(0.1)
    def evaluate(self, model): return {}

def task():
    return Mine()
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "task.py").write_text(TASK, encoding="utf-8")
    path = tmp_path / "config.toml"
    path.write_text('[federation]\nrounds = 2\n[task]\nfile = "task.py"\n', encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["run", "demo"])
def test_the_list(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert cli.invoke([command, "--inject", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("[")[0].split()[0] for line in lines] == list(KINDS)


def test_an_unknown_kind_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.invoke(["run", "nowhere.toml", "--out", str(tmp_path / "out"), "--inject", "duplicat"]) == 2
    assert "did you mean duplicate?" in capsys.readouterr().err


def test_a_liar_that_is_caught_does_not_end_the_run(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli.invoke(["run", str(config), "--out", str(out), "--inject", "bad-proof:x"]) == 0
    captured = capsys.readouterr()
    assert "injected in round 2: bad-proof (x)" in captured.err
    assert "x excluded: invalid-proof (linear-relation)" in " ".join(captured.err.split())
    assert audit(out / "transcript", out / "policy.cbor").accepted


def test_honest_trustees_end_the_run_of_a_server_that_forks(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli.invoke(["run", str(config), "--out", str(out), "--inject", "server-forks-log"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("verifl: trustee-3, trustee-4, trustee-5 refused to cosign: fork: expected ")
    assert last.endswith(f"what the server publishes alone is in {out / 'forged'}")
    assert audit(out / "transcript", out / "policy.cbor").accepted
    assert not audit(out / "forged", out / "policy.cbor").accepted


@pytest.mark.parametrize("limits", ["", "min_cohort = 3\nper_round = 4\n"])
def test_a_lie_about_draws_needs_clients_that_are_left_out(
    capsys: pytest.CaptureFixture[str], config: Path, tmp_path: Path, limits: str
) -> None:
    config.write_text(config.read_text(encoding="utf-8") + f"[limits]\n{limits}", encoding="utf-8")
    out = tmp_path / "out"
    assert cli.invoke(["run", str(config), "--out", str(out), "--inject", "other-draw"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "other-draw needs clients that are drawn for each round (limits.per_round), not all of them" in said


def test_a_trustee_that_cheats_over_its_noise_is_named(config: Path, tmp_path: Path) -> None:
    """The round goes on, as the noise of the others is enough; a client's kind of lie is a trustee's, too."""
    trustees = "[trustees]\ncount = 3\nthreshold = 2\ncorrupt = 0\n"
    privacy = '[privacy]\nepsilon = 8.0\ndelta = 1e-5\nby = "trustees"\n'
    task = config.with_name("task.py")
    task.write_text(task.read_text(encoding="utf-8").replace("Linear(2, 1)", "Linear(30, 1)"), encoding="utf-8")
    config.write_text(config.read_text(encoding="utf-8") + trustees + privacy, encoding="utf-8")
    out = tmp_path / "run"
    assert cli.invoke(["run", str(config), "--out", str(out), "--inject", "no-noise:trustee-2"]) == 0
    report = audit(out / "transcript", out / "policy.cbor")
    assert report.accepted
    (verdicts,) = (result for result in report.checks if result.id == "I7")
    assert [note.split(",")[0] for note in verdicts.notes] == ["trustee-2 is named: invalid-proof in round 2"]
