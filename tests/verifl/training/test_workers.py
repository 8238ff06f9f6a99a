"""Clients trained in processes of their own: the same models as in one, each on its device; one that dies is told."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from auditor import audit
from proofs.errors import Misuse
from tests.required import needs
from tests.verifl.commands.test_cli import failing_line
from verifl.config import read_config
from verifl.federation import Federation, FederationResult
from verifl.tasks.loading import load_task
from verifl.tasks.user_code import ClientFailed
from verifl.training.own_tensors import NOTHING
from verifl.training.workers import Apart, trained_apart

CONFIG = """
[federation]
rounds = 2
[task]
file = "task.py"
[update]
clip_norm = 8.0
[trustees]
count = 3
corrupt = 1
threshold = 3
"""
TASK = """
import os, signal
import torch
from torch import nn
import verifl

torch.set_default_dtype(torch.float64)

class Mine:
    def clients(self): return ["a", "b", "c", "d", "e"]
    def model(self): return nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    def data(self, client): return torch.randn(8, 2)
    def train(self, model, client, data, state, turn):
        print("printed by", client)
        state["turns"] = state.get("turns", 0) + 1
        state["pid"] = os.getpid()
        if client == "e": raise verifl.Abstain("not today")
        if client == os.environ.get("FAILS"):
            with open(os.environ["FAILURES"], "a") as file: print(client, file=file)
            raise ValueError("no rows")
        if client == "d" and turn.round == 1 and os.environ.get("DIES"): os.kill(os.getpid(), signal.SIGKILL)
        model.train()
        model(data).sum().backward()
        with torch.no_grad():
            for each in model.parameters(): each -= 0.1 * state["turns"] * each.grad
    def evaluate(self, model): return {"sum": sum(float(each.sum()) for each in model.parameters())}

def task(): return Mine()
"""


def written(folder: Path) -> Path:
    (folder / "task.py").write_text(TASK, encoding="utf-8")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    return folder / "config.toml"


def run(config: Path, out: Path, devices: tuple[str, ...] = ()) -> FederationResult:
    settings = read_config(config)
    apart = Apart(devices, config.parent) if devices else None
    return Federation(load_task(settings, config.parent), settings, out, apart=apart).run()


@pytest.mark.parametrize("device", ["cuda:99", "nothing", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], device: str) -> None:
    arguments = ["run", str(written(tmp_path)), "--out", str(tmp_path / "out"), "--train-on", device]
    assert f"--train-on: expected a device of this machine, such as cpu or cuda:0, found '{device}'" in failing_line(
        capsys, arguments
    )
    assert not (tmp_path / "out").exists()


def test_parties_that_misbehave_train_where_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", str(written(tmp_path)), "--out", str(tmp_path / "out"), "--train-on", "cpu"]
    assert "--inject and --train-on" in failing_line(capsys, [*arguments, "--inject", "wrong-key"])


@pytest.fixture
def processes() -> None:
    """What starts torch anew in other processes is run where that is asked for."""
    needs("torch")


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
def test_the_same_models_come_of_two_processes_and_of_one(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = written(tmp_path)
    alone, apart = run(config, tmp_path / "alone"), run(config, tmp_path / "apart", ("cpu", "cpu"))
    assert [each.metrics for each in alone.rounds] == [each.metrics for each in apart.rounds]
    assert [each.failed for each in apart.rounds] == [("e",), ("e",)]
    assert audit(apart.transcript, apart.policy).accepted
    assert capfd.readouterr().out.count("printed by") == 10  # of the one that has no processes


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
def test_who_fails_before_anybody_has_trained_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under noise it sends the update zero once somebody has."""
    monkeypatch.setenv("FAILS", "a")
    monkeypatch.setenv("FAILURES", str(tmp_path / "failures"))
    config = written(tmp_path)
    config.write_text(f"{CONFIG}[privacy]\nepsilon = 8\ndelta = 1e-5\n", encoding="utf-8")
    result = run(config, tmp_path / "out", ("cpu", "cpu"))
    assert [set(each.accepted) for each in result.rounds] == [set("abcde")] * 2
    assert (tmp_path / "failures").read_text().split() == ["a", "a"]  # once a round


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
def test_each_client_has_a_process_and_one_that_dies_is_a_dropout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIES", "1")
    config = read_config(written(tmp_path))
    federation = Federation(load_task(config, tmp_path), config, tmp_path / "out")
    training = federation._training("cpu")
    model, names = training.initial(), ["a", "b", "c", "d", "e"]
    with trained_apart(training, config, Apart(("cpu", "cpu"), tmp_path), names) as workers:
        found = {}
        for number in (1, 2):
            for name in names:
                workers.restore(name, found.get(name, NOTHING))
                workers.begin(name, model, number)
            for name in "abc":
                before, after = workers.train(name, model, number)
                assert not np.array_equal(before, after)
                found[name] = workers.kept(name)
                assert workers.changed_buffers(name) == ()
                workers.forget(name)
            with pytest.raises(ClientFailed, match="abstains: not today"):
                workers.train("e", model, number)
            if number == 1:
                with pytest.raises(ClientFailed, match="client d: its process on cpu ended with status -9"):
                    workers.train("d", model, number)
            else:
                workers.train("d", model, number)
        ended = [worker.process for worker in workers._workers.values()]
        assert len(ended) == 2
        with pytest.raises(Misuse, match="client a: has not trained"):
            workers.kept("a")
        stopped = ended[0].pid
        os.kill(stopped, signal.SIGSTOP)  # hears nothing of SIGTERM
    assert not any(each.is_alive() for each in ended)
