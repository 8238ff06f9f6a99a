"""Which tensors are statistics: by the type of the module that has them, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import verifl
from auditor import audit
from proofs.errors import Misuse
from protocols.policy import STATISTIC
from verifl import Config, Federation
from verifl.training import roles
from verifl.training.initial_files import bare_model
from verifl.training.model_files import encode_state
from verifl.training.tensors import TensorFilter, describe


class Measuring(nn.Module):
    """Measures what it sees in a parameter that no optimiser may touch, and in a buffer."""

    verifl_statistics = ("spread", "center")
    verifl_variances = ("spread",)

    def __init__(self) -> None:
        super().__init__()
        self.spread = nn.Parameter(torch.ones(2), requires_grad=False)
        self.register_buffer("center", torch.zeros(2))
        self.gain = nn.Parameter(torch.ones(2))


class Foreign(nn.Module):
    """Of a library: it says nothing of itself. running_mean is what it is called and no statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.ones(2), requires_grad=False)
        self.running_mean = nn.Parameter(torch.zeros(2))


class Derived(Foreign):
    """Derived from it."""


def statistics(model: nn.Module) -> list[str]:
    return [spec.name for spec in describe(model).specs if spec.role == STATISTIC]


def variances(model: nn.Module) -> list[str]:
    return [spec.name for spec in describe(model, TensorFilter(nonnegative=())).specs if spec.nonnegative]


@pytest.mark.parametrize(
    "module",
    [nn.BatchNorm1d(2), nn.BatchNorm2d(2), nn.BatchNorm3d(2), nn.SyncBatchNorm(2),
     nn.InstanceNorm1d(2, affine=True, track_running_stats=True), nn.InstanceNorm3d(2, track_running_stats=True)],
)  # fmt: skip
def test_normalisations_of_torch(module: nn.Module) -> None:
    model = nn.Sequential(nn.Linear(2, 2), module)
    assert statistics(model) == ["1.running_mean", "1.running_var"]
    assert variances(model) == ["1.running_var"]


@pytest.mark.parametrize("module", [nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.BatchNorm1d(2, track_running_stats=False)])
def test_normalisations_that_measure_nothing(module: nn.Module) -> None:
    assert statistics(module) == []


def test_modules_that_say_so_themselves() -> None:
    assert statistics(Measuring()) == ["spread", "center"]
    assert variances(Measuring()) == ["spread"]


def test_modules_of_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roles, "_KNOWN", list(roles._KNOWN))
    assert statistics(Foreign()) == []
    verifl.register_statistics(Foreign, "level", variances=("level",))
    assert statistics(Foreign()) == statistics(Derived()) == ["level"]
    assert variances(Derived()) == ["level"]


def test_buffers_of_unknown_purpose_are_averaged() -> None:
    model = nn.Linear(2, 1)
    model.register_buffer("moving", torch.zeros(3))
    assert statistics(model) == ["moving"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((object, "a"), "expected a class of modules"), ((nn.Linear(1, 1), "a"), "expected a class of modules"),
     ((nn.Linear,), "expected names of tensors")],
)  # fmt: skip
def test_mistakes(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        verifl.register_statistics(*arguments)


def test_a_model_that_is_only_a_file_has_the_roles_of_the_policy(tmp_path: Path) -> None:
    """Who has an initial file and no task finds in it what the policy says."""
    model = nn.Sequential(nn.BatchNorm1d(2), Measuring())
    (tmp_path / "initial.safetensors").write_bytes(encode_state(model, {}))
    specs = describe(model).specs
    bare = bare_model(tmp_path / "initial.safetensors", specs, ["a"]).model()
    assert describe(bare, TensorFilter(trainable_only=True)).specs == specs


FEATURES = torch.randn(60, 4, generator=torch.Generator().manual_seed(3)) * 300 + 1000
TARGETS = (FEATURES[:, :1] - FEATURES[:, 1:2]) / 300


class RawFeatures:
    """A normalisation in front of features that are nowhere near 0 and 1."""

    def clients(self) -> list[str]:
        return ["a", "b", "c"]

    def model(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))

    def data(self, client: str) -> tuple[Tensor, Tensor]:
        rows = slice(ord(client) - ord("a"), None, 3)
        return FEATURES[rows], TARGETS[rows]

    def train(self, model: nn.Module, client: str, data: tuple[Tensor, Tensor]) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(data[0]), data[1]).backward()
            optimizer.step()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        model.eval()
        with torch.no_grad():
            return {"loss": float(nn.functional.mse_loss(model(FEATURES), TARGETS))}


@pytest.mark.parametrize(
    "server", [{"rule": "fedavg"}, {"rule": "fedavg", "learning_rate": 0.5}, {"rule": "fedadam", "learning_rate": 0.1}]
)
def test_statistics_in_a_scale_of_their_own(server: dict[str, object], tmp_path: Path) -> None:
    """Raw features neither eat the clip nor lose their digits, and are averaged whatever the rule."""
    groups = [
        {"tensors": ["*.running_var"], "scale": 2.0**17},
        {"tensors": ["*.running_mean"], "scale": 1024.0},
    ]
    config = Config.of(
        federation={"rounds": 3},
        trustees={"count": 2, "corrupt": 0, "threshold": 2},
        update={"clip_norm": 4.0, "encryption_proof": False, "groups": groups},
        server=server,
    )
    result = Federation(RawFeatures(), config, tmp_path / "out", device="cpu").run()
    assert result.rounds[-1].metrics["loss"] < 0.4 * result.initial_metrics["loss"]
    assert audit(result.transcript, result.policy).accepted
    from safetensors.torch import load_file

    trained = load_file(result.model)
    assert trained["0.running_mean"].tolist() == pytest.approx(FEATURES.mean(dim=0).tolist(), rel=0.05)
    assert trained["0.running_var"].tolist() == pytest.approx(FEATURES.var(dim=0).tolist(), rel=0.25)


PLAIN = {
    "trustees": {"count": 2, "corrupt": 0, "threshold": 2},
    "update": {"clip_norm": 8.0, "encryption_proof": False},
}


class Finishing(RawFeatures):
    """Recomputes the statistics on public data."""

    def finish(self, model: nn.Module) -> None:
        norm = model[0]
        norm.reset_running_stats()
        norm.momentum = None
        model.train()
        with torch.no_grad():
            model(FEATURES)


class Restless(Finishing):
    """Another model each time."""

    calls = 0

    def finish(self, model: nn.Module) -> None:
        super().finish(model)
        Restless.calls += 1
        with torch.no_grad():
            model[1].bias += Restless.calls


def layout(local: str = "nothing", personal: tuple[str, ...] = ()) -> list[str]:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    return [spec.name for spec in describe(model, TensorFilter(local=local, personal=personal)).specs]


def test_what_stays_with_each_client() -> None:
    assert layout("statistics") == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert layout("normalisations") == ["1.weight", "1.bias"]
    assert layout(personal=("1.*",)) == ["0.weight", "0.bias", "0.running_mean", "0.running_var"]
    with pytest.raises(Misuse, match="matches no tensor of the model"):
        layout(personal=("head.*",))


def test_the_file_is_the_model_that_was_judged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """FedBN leaves the global model with statistics that no data has touched; a task that finishes it is judged, and
    saved, with its own; the model that is audited is beside it."""
    from safetensors import safe_open
    from safetensors.torch import load_file

    config = Config.of(federation={"rounds": 2}, tensors={"local": "statistics"}, **PLAIN)
    result = Federation(Finishing(), config, tmp_path / "out", device="cpu").run()
    assert not caplog.messages
    written = Finishing().model()
    written.load_state_dict(load_file(result.model))
    assert Finishing().evaluate(written) == pytest.approx(result.rounds[-1].metrics)
    audited = load_file(result.model.with_name("audited.safetensors"))
    assert audited["0.running_mean"].tolist() == [0.0] * 4
    assert torch.equal(audited["1.weight"], load_file(result.model)["1.weight"])
    report = audit(result.transcript, result.policy)
    assert report.accepted
    with safe_open(result.model, "pt") as file, safe_open(result.model.with_name("audited.safetensors"), "pt") as other:
        assert file.metadata()["audited_model"] == other.metadata()["model"]
        assert report.check("I11").checked.endswith(other.metadata()["model"])
    assert "what was evaluated, not what is audited" in result.describe_files()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"local": "statistics"},
            "running statistics stay with each client: '0.running_mean', '0.running_var'",
        ),
        (
            {"personal": ["1.*"]},
            "each client trains '1.weight', '1.bias' for itself; the global model is",
        ),
    ],
)
def test_without_it_one_is_warned(tensors: dict[str, object], message: str) -> None:
    (note,) = verifl.make_plan(RawFeatures(), Config.of(tensors=tensors, **PLAIN)).notes
    assert note.startswith(message)
    assert not verifl.make_plan(Finishing(), Config.of(tensors=tensors, **PLAIN)).notes


def test_a_finish_that_is_another_each_time_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = Config.of(federation={"rounds": 1}, **PLAIN)
    Federation(Restless(), config, tmp_path / "out", device="cpu").run()
    assert any("finish() or evaluate() does another thing each time" in text for text in caplog.messages)
