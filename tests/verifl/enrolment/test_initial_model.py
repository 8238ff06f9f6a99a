"""The initial model as a file: signed for a bare module, started from by those who have no task or other weights."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from auditor import audit
from proofs.errors import Misuse
from protocols.envelopes import open_policy
from protocols.policy import Policy
from protocols.steps.step import encode_model
from tests.verifl.office import CLIENTS, Office, set_up
from verifl.carriers.exchange.training import prepared_training
from verifl.config import Config, read_config
from verifl.training.initial_files import initial_file
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import write_model

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.training_head = nn.Linear(3, 2)
        self.body = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.base = nn.Linear(4, 4)
        self.base.requires_grad_(False)
        self.again = self.body[0]
        self.register_buffer("odd", torch.tensor([1.5, 2.5]))

def wide(): return nn.Linear(50, 2)
def broken(): raise ValueError("no such width")
number = 7
"""


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Office:
    """An office for an application that has modules and no task, in the working directory."""
    office = set_up(tmp_path)
    (tmp_path / "config.toml").write_text("[federation]\nrounds = 1\n")
    for name in ("policy.cbor", "policy.initial.safetensors"):
        (tmp_path / name).unlink()
    (tmp_path / "net_app").mkdir()
    (tmp_path / "net_app" / "parts.py").write_text(NET)
    (tmp_path / "nets.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return office


def policy_in(office: Office) -> Policy:
    return open_policy(Path(office.path("policy.cbor")).read_bytes())[0]


def start(office: Office, config: Config | None = None, file: str = "policy.initial.safetensors") -> LocalTraining:
    """Under the policy, as if it did not pin the file, but only what travels."""
    found = config or read_config(Path(office.path("config.toml")), needs_task=False)
    policy = replace(policy_in(office), initial_file=None)
    return prepared_training(found, office.folder, policy, "cpu", office.folder / file)[0]


@pytest.mark.parametrize("name", ["net_app.parts:Net", "nets.py:Net"])
@pytest.mark.parametrize("tensors", ["", "[tensors]\ntrainable_only = true\n", '[tensors]\nexclude = ["base.*"]\n'])
def test_a_bare_module_is_signed_for_and_started_from(application: Office, name: str, tensors: str) -> None:
    office = application
    Path(office.path("config.toml")).write_text(f"[federation]\nrounds = 1\n{tensors}")
    assert office.sign("--model", name) == 0
    policy = policy_in(office)
    training = start(office)
    assert training.layout.specs == policy.tensors
    initial = training.initial()
    assert hashlib.sha256(encode_model(initial)).digest() == policy.initial_model
    assert training.evaluate(initial) == {"distance": 0.0}
    moved = initial.copy()
    moved[:2] += (3.0, 4.0)
    assert training.evaluate(moved) == {"distance": pytest.approx(5.0, rel=1e-5)}

    scope: dict[str, type[nn.Module]] = {}
    exec(NET, scope)  # noqa: S102
    net = scope["Net"]()
    held = load_file(office.path("policy.initial.safetensors"))
    net.load_state_dict(held)
    assert held.keys() == net.state_dict().keys()

    moved = training.load(initial + 1.0)
    write_model(moved, office.folder / "final.safetensors", {})
    final = load_file(office.path("final.safetensors"))
    travelling = {spec.name for spec in policy.tensors}
    for tensor, value in final.items():
        if tensor in travelling:
            assert torch.equal(value, held[tensor] + 1)
        elif not tensor.startswith("again."):
            assert torch.equal(value, held[tensor])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net_app.parts", "--model: expected MODULE:NAME or FILE.py:NAME"),
        (":Net", "--model: expected MODULE:NAME"),
        ("net_app.parts:", "--model: expected MODULE:NAME"),
        ("net_app.parts:Nets", "--model: net_app.parts has nothing to be called by the name 'Nets'"),
        ("net_app.parts:number", "nothing to be called by the name 'number'"),
        ("no_such.module:Net", "--model: no_such.module cannot be imported"),
        ("../nets:Net", "--model: expected the name of a module before the colon"),
        ("missing.py:Net", "--model: no file missing.py"),
        ("net_app.parts:broken", "model() failed"),
        ("net_app.parts:dict", "nothing to be called"),
    ],
)
def test_names_of_no_model(application: Office, capsys: pytest.CaptureFixture[str], name: str, message: str) -> None:
    assert application.sign("--model", name) == 2
    assert message in capsys.readouterr().err
    assert not Path(application.path("policy.cbor")).exists()
    assert not Path(application.path("policy.initial.safetensors")).exists()


def test_a_task_and_a_model_are_one_too_many(application: Office, capsys: pytest.CaptureFixture[str]) -> None:
    Path(application.path("config.toml")).write_text('[task]\nfile = "task.py"\n')
    assert application.sign("--model", "nets.py:Net") == 2
    assert "--model: the configuration has a [task]" in capsys.readouterr().err


@pytest.mark.parametrize("there", ["policy.cbor", "policy.initial.safetensors"])
def test_neither_file_is_overwritten(application: Office, capsys: pytest.CaptureFixture[str], there: str) -> None:
    Path(application.path(there)).write_text("mine")
    assert application.sign("--model", "nets.py:Net") == 2
    assert f"{there}: exists" in capsys.readouterr().err
    assert Path(application.path(there)).read_text() == "mine"
    others = {"policy.cbor", "policy.initial.safetensors"} - {there}
    assert not any(Path(application.path(each)).exists() for each in others)


def test_other_weights_than_the_policys_start_from_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A machine whose torch initialises otherwise: its own model() is refused, the file is not."""
    office = set_up(tmp_path)
    task = tmp_path / "task.py"
    task.write_text(task.read_text().replace("return torch.nn.Linear(2, 1)", "return other()") + OTHER)
    assert office.run() == 2
    assert "policy: initial_model: signed for the weights" in capsys.readouterr().err
    assert office.run("--initial", office.path("policy.initial.safetensors")) == 0
    assert audit(tmp_path / "out" / "transcript", tmp_path / "policy.cbor").accepted


OTHER = """
def other():
    net = torch.nn.Linear(2, 1)
    with torch.no_grad(): net.weight.fill_(0.5)
    return net
"""


def spoilt(name: str, held: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {
        "other values": held | {"weight": held["weight"] + 1},
        "a tensor less": {"bias": held["bias"]},
        "a tensor more": held | {"scale": held["bias"].clone()},
        "another shape": held | {"weight": held["weight"].T.contiguous()},
        "another type": held | {"weight": held["weight"].half()},
    }[name]


@pytest.mark.parametrize("task", [True, False])
@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("other values", "policy: initial_model: signed for"),
        ("a tensor less", "'weight': expected float32 of shape .1, 2., found no such tensor"),
        ("another shape", "'weight': expected float32 of shape .1, 2., found float32 of shape .2, 1."),
        ("another type", "'weight': expected float32 .* found float16"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, task: bool, what: str, message: str) -> None:
    office = set_up(tmp_path)
    save_file(spoilt(what, load_file(office.path("policy.initial.safetensors"))), tmp_path / "other.safetensors")
    config = Config.of(**({"task": {"file": "task.py"}} if task else {}))
    with pytest.raises(Misuse, match=message):
        start(office, config, "other.safetensors")


def test_a_tensor_more_is_of_another_model(tmp_path: Path) -> None:
    office = set_up(tmp_path)
    save_file(spoilt("a tensor more", load_file(office.path("policy.initial.safetensors"))), tmp_path / "m.safetensors")
    with pytest.raises(Misuse, match=r"m\.safetensors: has 'scale', which the task's model has not"):
        start(office, Config.of(task={"file": "task.py"}), "m.safetensors")


@pytest.mark.parametrize("data", [b"", b"junk", bytes(9), b"\xff" * 64])
def test_other_bytes_are_no_model(tmp_path: Path, data: bytes) -> None:
    office = set_up(tmp_path)
    (tmp_path / "m.safetensors").write_bytes(data)
    with pytest.raises(Misuse, match="expected a safetensors file"):
        start(office, Config.of(), "m.safetensors")
    with pytest.raises(Misuse, match="no such file"):
        start(office, Config.of(), "nowhere.safetensors")


def test_nobody_trains_by_a_bare_model(tmp_path: Path) -> None:
    office = set_up(tmp_path)
    training = start(office, Config.of())
    with pytest.raises(Misuse, match="there is a model only"):
        training.train(CLIENTS[0], training.initial(), 1)


def double(path: Path, to: Path) -> None:
    """What travels as float64, and a little more than float32 holds."""
    held = load_file(path)
    save_file({name: tensor.double() + 2.0**-40 for name, tensor in held.items()}, to)


@pytest.mark.parametrize("task", [True, False])
def test_a_file_of_float64_starts_from_just_that(tmp_path: Path, task: bool) -> None:
    """As that of a federation that goes on: the server sums in float64."""
    office = set_up(tmp_path)
    double(tmp_path / "policy.initial.safetensors", tmp_path / "exact.safetensors")
    config = Config.of(**({"task": {"file": "task.py"}} if task else {}))
    held = load_file(tmp_path / "exact.safetensors")
    policy = policy_in(office)
    vector = torch.cat([held[spec.name].reshape(-1) for spec in policy.tensors]).numpy()
    exact = replace(policy, initial_file=None, initial_model=hashlib.sha256(encode_model(vector)).digest())
    training, initial = prepared_training(config, tmp_path, exact, "cpu", tmp_path / "exact.safetensors")
    assert (initial == vector).all()
    assert training.layout.specs == policy.tensors
    assert all(tensor.dtype == torch.float32 for tensor in training.load(initial).state_dict().values())
    again = load_file_of(initial_file(training, initial), tmp_path)
    assert all(tensor.dtype == torch.float64 for tensor in again.values())
    assert all(bool((tensor == held[name]).all()) for name, tensor in again.items())


def load_file_of(data: bytes, folder: Path) -> dict[str, torch.Tensor]:
    (folder / "again.safetensors").write_bytes(data)
    return load_file(folder / "again.safetensors")
