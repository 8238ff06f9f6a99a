"""What a task does to the process around it: undone after each call, and never in the way of verifl's own work."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from proofs.errors import Misuse
from verifl.commands import root as cli
from verifl.commands.streams import printing_to_stderr
from verifl.config import Config
from verifl.tasks.base import Task
from verifl.tasks.loading import load_task
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorFilter

See = Callable[[], object]


class Changing:
    """Notes what every call finds in the process, and changes it."""

    def __init__(self, change: See, see: See) -> None:
        self._change, self._see = change, see
        self.seen: list[object] = []

    def act(self) -> None:
        self.seen.append(self._see())
        self._change()

    def clients(self) -> list[str]:
        return ["a", "b"]

    def model(self) -> nn.Module:
        return nn.Linear(2, 1)

    def data(self, client: str) -> None:
        self.act()

    def train(self, model: nn.Module, client: str, data: None) -> None:
        return None

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        self.act()
        return {}


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def catch() -> None:
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.parametrize(
    ("change", "see"),
    [
        (lambda: os.chdir("/"), os.getcwd),
        (lambda: os.umask(0o777), umask),
        (catch, lambda: (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))),
        (lambda: setattr(sys, "stdout", None), lambda: sys.stdout),
        (lambda: logging.disable(logging.CRITICAL), lambda: logging.root.manager.disable),
        (
            lambda: logging.config.dictConfig({"version": 1}),
            lambda: logging.getLogger("verifl.training.local_training").disabled,
        ),
        (lambda: np.seterr(all="raise"), np.geterr),
        (lambda: torch.set_default_dtype(torch.float64), torch.get_default_dtype),
        (lambda: torch.set_default_device("meta"), torch.get_default_device),
        (lambda: torch.set_grad_enabled(False), torch.is_grad_enabled),
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), torch.get_num_threads),
        (lambda: torch.use_deterministic_algorithms(True), torch.are_deterministic_algorithms_enabled),
        (lambda: torch.set_float32_matmul_precision("medium"), torch.get_float32_matmul_precision),
        (lambda: torch.autograd.set_detect_anomaly(True), torch.is_anomaly_enabled),
    ],
)
def test_what_a_call_changes_is_undone(change: See, see: See) -> None:
    import logging.config  # noqa: F401

    before = see()
    task = Changing(change, see)
    training = LocalTraining(task, TensorFilter(), "cpu", seed=1)
    start = training.initial()
    for client in task.clients():
        training.train(client, start, 1)
        assert see() == before
    training.evaluate(start)
    assert task.seen == [before] * 3
    assert see() == before


def test_it_is_undone_where_the_call_fails() -> None:
    def change() -> None:
        os.chdir("/")
        raise ValueError("no such patient")

    before = Path.cwd()
    training = LocalTraining(Changing(change, os.getcwd), TensorFilter(), "cpu", seed=1)
    with pytest.raises(Misuse, match="no such patient"):
        training.train("a", training.initial(), 1)
    assert Path.cwd() == before


LOADED = """
import os, random
import torch
os.chdir({place!r})
torch.set_default_dtype(torch.float64)
random.seed(random.random())

class Mine:
    split = random.random()
    def clients(self): return ["x", "y"]
    def model(self):
        torch.set_num_threads(7)
        return torch.nn.Linear(2, 1)
    def data(self, client): return open("data.txt").read(), torch.get_default_dtype(), torch.get_num_threads()
    def train(self, model, client, data): self.found = data
    def evaluate(self, model): return {{"loss": len(open("data.txt").read())}}

def task():
    return Mine()
"""


def loaded(folder: Path, text: str, name: str = "mine.py") -> Task:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return load_task(Config.of(task={"file": name}), folder)


def test_what_a_task_sets_when_it_is_loaded_holds_for_its_calls(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("ages", encoding="utf-8")
    outside = os.getcwd(), torch.get_default_dtype(), torch.get_num_threads()  # noqa: PTH109
    task = loaded(tmp_path / "code", LOADED.format(place=str(tmp_path)))
    training = LocalTraining(task, TensorFilter(), "cpu", seed=1)
    assert [spec.dtype for spec in training.layout.specs] == ["float64", "float64"]
    training.train("x", training.initial(), 1)
    assert task.found == ("ages", torch.float64, 7)
    assert training.evaluate(training.initial()) == {"loss": 4.0}
    assert (os.getcwd(), torch.get_default_dtype(), torch.get_num_threads()) == outside  # noqa: PTH109


def test_a_task_draws_the_same_numbers_whenever_it_is_loaded(tmp_path: Path) -> None:
    texts = LOADED.format(place=str(tmp_path))
    first, second = (loaded(tmp_path / "code", texts) for _ in range(2))
    assert first is not second
    assert first.split == second.split


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json.py", "json.py has the name of a module of Python's own; rename it, to task.py for example"),
        ("auditor.py", "auditor.py has the name of a module of verifl's own; rename it"),
        ("numpy.py", "numpy.py has the name of a module that is in use (.*numpy/__init__.py); rename it"),
        ("my.task.py", "my.task.py cannot be imported, for the dot in 'my.task'; rename it"),
    ],
)
def test_names_that_a_task_file_cannot_have(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(Misuse, match=message.replace("(", r"\(").replace(")", r"\)")):
        loaded(tmp_path, "def task(): return 3", name)


BUSY = """
import os, subprocess, sys
import torch
from torch.utils.data import DataLoader, Dataset
from helper import factor          # a neighbour, which imports another with the name of a package of verifl's
import proofs, verifl

os.chdir(os.path.dirname(os.path.abspath(__file__)))
print("loading")

class Numbers(Dataset):            # of this module, which a worker has to import
    def __len__(self): return 8
    def __getitem__(self, index): return torch.full((2,), float(index)) / 8 * factor()

class Mine:
    workers = {"a": "spawn", "b": "forkserver", "c": "fork"}
    def clients(self): return list(self.workers)
    def model(self):
        print("model")
        return torch.nn.Linear(2, 1)
    def data(self, client):
        from proofs import OWN     # also when it is imported later
        assert OWN == "mine"
        os.chdir("/")
        return DataLoader(Numbers(), batch_size=8, num_workers=1, multiprocessing_context=self.workers[client])
    def train(self, model, client, data):
        os.write(1, b"from the descriptor\\n")
        subprocess.run(["echo", "from a process"], check=True)
        sys.__stdout__.write("from the original stream\\n")
        if os.fork() == 0:
            return                 # a child that comes back
        os.wait()
        for batch in data:
            model(batch).sum().backward()
        for parameter in model.parameters():
            parameter.data -= 0.01 * parameter.grad
    def evaluate(self, model):
        print("evaluating")
        return {"weight": float(model.weight.sum())}

def task():
    return Mine()
"""

CONFIG = """
[federation]
rounds = 1
[task]
file = "busy.py"
[trustees]
count = 2
corrupt = 0
threshold = 2
[update]
encryption_proof = false
"""


def test_a_task_that_does_everything_at_once(tmp_path: Path) -> None:
    """Relative paths, prints of every kind, workers of every kind, modules with our names, a child that comes back."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "busy.py").write_text(BUSY, encoding="utf-8")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "helper.py").write_text("import protocols\ndef factor(): return protocols.FACTOR\n", encoding="utf-8")
    (folder / "protocols.py").write_text("FACTOR = 2.0\n", encoding="utf-8")
    (folder / "proofs.py").write_text("OWN = 'mine'\n", encoding="utf-8")
    (folder / "verifl.py").write_text("raise_the_roof = True\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    script = Path(sys.executable).with_name("verifl")  # spawned workers run it again, unlike a module
    start = [str(script)] if script.exists() else [sys.executable, "-P", "-m", "verifl"]
    command = [*start, "run", "code/config.toml", "--out", "out", "--format", "json"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rounds"][-1]["accepted"] == ["a", "b", "c"]
    assert document["written"]["model"] == "out/model.safetensors"
    assert (tmp_path / "out" / "model.safetensors").is_file()
    for text in ("loading", "model", "from the descriptor", "from a process", "from the original stream", "evaluating"):
        assert text in done.stderr, text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["code", "out"]


def test_the_report_of_a_plan_is_all_of_its_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(LOADED.format(place=str(tmp_path)) + "print('hello')\n", encoding="utf-8")
    (tmp_path / "config.toml").write_text('[task]\nfile = "mine.py"\n[limits]\nmin_cohort = 2\n', encoding="utf-8")
    assert cli.invoke(["plan", str(tmp_path / "config.toml"), "--format", "json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["clients"] == 2
    assert err == "hello\n"


def test_a_standard_output_that_is_closed_stays_closed() -> None:
    code = "import os, sys\nos.close(1)\nfrom verifl.commands.streams import printing_to_stderr\n"
    code += "with printing_to_stderr():\n    print('told')\ntry:\n    os.fstat(1)\nexcept OSError:\n    sys.exit(7)\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "told\n")


def test_streams_come_back_where_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with printing_to_stderr():
            print("inside")
            os.write(1, b"descriptor\n")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    print("outside")
    out, err = capfd.readouterr()
    assert out == "outside\n"
    assert sorted(err.splitlines()) == ["descriptor", "inside"]
