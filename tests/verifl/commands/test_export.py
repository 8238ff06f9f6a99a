"""`verifl export`: the model of any round, and of the best, as the log has it; what is gone or none is told."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path
from protocols.pinned import PinnedPolicy
from protocols.steps.step import encode_model
from tests.verifl.commands.test_cli import failing_line
from verifl.agents.past_models import PastModels
from verifl.commands.root import invoke
from verifl.config import read_config
from verifl.federation import Federation
from verifl.tasks.loading import load_task
from verifl.training.tensors import describe, read_vector

LOSSES = {0: 9.0, 1: 2.0, 2: 0.5, 3: 0.7}
TASK = f"""
import torch
from torch import nn

class Counting:
    def clients(self): return ["x", "y", "z"]
    def model(self):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), MORE)
        with torch.no_grad(): model[0].bias.zero_()
        return model
    def data(self, client): return None
    def train(self, model, client, data):
        with torch.no_grad(): model[0].bias += 1
    def evaluate(self, model):
        return {{"loss": {LOSSES}[round(float(model[0].bias[0]))], "strange": 1.0, "nothing": float("nan")}}
FINISH
def task(): return Counting()
"""
CONFIG = """
[federation]
rounds = 3
[task]
file = "task.py"
[update]
clip_norm = 3.0
[trustees]
count = 3
corrupt = 1
threshold = 3
"""


def written(folder: Path, more: str = "nn.Identity()", finish: str = "", settings: str = "", rounds: int = 3) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "task.py").write_text(TASK.replace("MORE", more).replace("FINISH", finish), encoding="utf-8")
    config = folder / "config.toml"
    config.write_text(CONFIG.replace("rounds = 3", f"rounds = {rounds}") + settings, encoding="utf-8")
    return config


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    config = read_config(written(folder))
    Federation(load_task(config, folder), config, folder / "out").run()
    return folder / "out"


def metadata(path: Path) -> dict[str, str]:
    with safe_open(str(path), framework="pt") as file:
        return dict(file.metadata())


def test_the_model_of_every_round_is_that_of_the_log(out: Path, tmp_path: Path) -> None:
    for number in range(4):
        file = tmp_path / f"{number}.safetensors"
        assert invoke(["export", str(out), "--round", str(number), str(file)]) == 0
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Identity())
        model.load_state_dict(load_file(file))
        assert model[0].bias.tolist() == [number, number]
        said = metadata(file)
        assert said["round"] == str(number)
        assert said["model"] == hashlib.sha256(encode_model(read_vector(model, describe(model)))).hexdigest()
    last, written = load_file(tmp_path / "3.safetensors"), load_file(out / "model.safetensors")
    assert last.keys() == written.keys()
    assert all(torch.equal(last[name], written[name]) for name in last)


@pytest.mark.parametrize(
    ("metric", "mode", "best"), [("loss", [], 2), ("loss", ["--mode", "max"], 1), ("strange", ["--mode", "min"], 1)]
)
def test_the_best_round_is_found_by_a_metric(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str, mode: list[str], best: int
) -> None:
    file = tmp_path / "best.safetensors"
    assert invoke(["export", str(out), "--best", metric, *mode, str(file), "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["round"], told["written"], told["finished"]) == (best, str(file), False)
    assert told["metrics"] == {metric: 1.0 if metric == "strange" else LOSSES[best]}
    assert load_file(file)["0.bias"].tolist() == [best, best]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "expected one of --round N and --best METRIC"),
        (["--round", "1", "--best", "loss"], "expected one of --round N and --best METRIC"),
        (["--round", "4"], "round 4 has not closed; the last that did is 3"),
        (["--round", "1", "--mode", "min"], "--mode: belongs to --best"),
        (["--best", "accuracy"], "has no 'accuracy', only: loss, strange, nothing"),
        (["--best", "strange"], "its name does not say whether less of it is better or more; say --mode min or"),
        (["--best", "nothing", "--mode", "min"], "is no number after any round"),
        (["--best", "loss", "--metrics", "none.jsonl"], "none.jsonl: has no metrics"),
        (["--round", "1", "--initial", "x"], "--initial: belongs to --config"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_line(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    file = tmp_path / "file"
    assert line in failing_line(capsys, ["export", str(out), str(file), *arguments])
    assert not file.exists()


def test_nothing_is_overwritten(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("kept", encoding="utf-8")
    line = failing_line(capsys, ["export", str(out), "--round", "1", str(tmp_path / "mine")])
    assert line.endswith("already exists and is not overwritten; choose another name")


def test_a_model_that_is_gone_is_named(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(out, copy)
    pinned, public = PinnedPolicy.open((copy / "policy.cbor").read_bytes()), copy / "transcript"
    blob = blob_path(PastModels.read(pinned, TranscriptReader(public)).after(2).hash)
    (public / blob).unlink()
    line = failing_line(capsys, ["export", str(copy), "--best", "loss", str(tmp_path / "file")])
    assert line.startswith(f"verifl: the model of round 2 is not in this copy of the transcript: {blob}: blob-missing")
    assert invoke(["export", str(copy), "--round", "1", str(tmp_path / "file")]) == 0


def test_what_does_not_travel_comes_from_the_task(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A frozen tensor could be a second name of one that travels, which only the task knows; and it finishes."""
    finish = "    def finish(self, model):\n        model[1].running_mean.fill_(7)"
    config = written(tmp_path, "nn.Linear(2, 2)", finish, '[tensors]\nexclude = ["2.*"]\n', rounds=1)
    settings, own, file = read_config(config), tmp_path / "out", tmp_path / "file"
    Federation(load_task(settings, tmp_path), settings, own).run()
    arguments = ["export", str(own), "--round", "1", str(file)]
    line = failing_line(capsys, arguments)
    assert "audited.safetensors: has '2.bias', which does not travel under that name; give --config CONFIG" in line
    assert invoke([*arguments, "--config", str(config)]) == 0
    found, last = load_file(file), load_file(own / "model.safetensors")
    assert found["0.bias"].tolist() == [1, 1]
    assert found["1.running_mean"].tolist() == [7, 7]
    assert torch.equal(found["2.weight"], last["2.weight"])
    assert (metadata(file)["finished"], metadata(file)["round"]) == ("by the task, after the audit", "1")
    capsys.readouterr()
    another = ["export", str(out), "--round", "1", "--policy", str(own / "policy.cbor"), str(tmp_path / "another")]
    assert "checkpoint-origin" in failing_line(capsys, another, status=1)
