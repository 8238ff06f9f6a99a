"""What must hold where training and the federation are on two devices; `test_two_devices` runs it in its own process.

    OTHER_DEVICE=pretend python -m pytest tests/verifl/training/two_devices.py

All numbers are small fractions of a power of two, so that every device computes the very same.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from auditor import audit
from proofs.errors import Misuse
from protocols.policy import UpdateRule
from protocols.steps.doubles import Doubles
from tests.verifl.training import other_device
from verifl import Config, Federation, federation
from verifl.agents import summation
from verifl.training.local_training import LocalTraining
from verifl.training.task_state import decode_state, encode_state
from verifl.training.tensors import TensorFilter
from verifl.training.update import encode_update

OTHER = os.environ["OTHER_DEVICE"]
PRETEND = OTHER == other_device.NAME
if PRETEND:
    other_device.register()

RULE = UpdateRule(norm_bound=1 << 16, fraction_bits=12, coordinate_bound=None, groups=())
LOCAL = ("base.*", "scale", "head.*")
CLIENTS = ("a", "b", "c")


@pytest.fixture(params=["cpu", OTHER])
def home(request: pytest.FixtureRequest) -> str:
    """The federation's own device."""
    name: str = request.param
    return name


@pytest.fixture
def away(home: str) -> str:
    return OTHER if home == "cpu" else "cpu"


class Net(nn.Module):
    """Two layers with one weight travel; a frozen base, a trained head, a float buffer and a counter do not."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.base = nn.Linear(width, width).requires_grad_(False)
        self.one, self.two = nn.Linear(width, width), nn.Linear(width, width)
        self.two.weight = self.one.weight
        self.head = nn.Linear(width, 1)
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("turns", torch.tensor(0))
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        for parameter in self.parameters():
            parameter.data = torch.randint(-4, 5, parameter.shape) / 4

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(torch.relu(self.one(self.base(x))) * self.scale) + self.two(x).sum(1, keepdim=True)
        return result


Move = Callable[[Any, str], object]
Make = Callable[[], nn.Module]


def stay(_model: Any, _away: str) -> None:
    """Leave everything where it is."""


class Task:
    """Trains on the device `work`, or where the model is, and moves it as `leave` says in the end."""

    def __init__(self, make: Make = Net, work: str | None = None, leave: Move = stay, away: str = "cpu") -> None:
        self._make, self._work, self._leave, self._away = make, work, leave, away
        self.started: set[str] = set()  # kinds of devices that turns and evaluations started on

    def clients(self) -> Sequence[str]:
        return CLIENTS

    def model(self) -> nn.Module:
        return self._make()

    def data(self, client: str) -> Tensor:
        return torch.tensor([1.0, -1.0, 0.5, 2.0]) * (CLIENTS.index(client) + 1)

    def train(self, model: Any, client: str, data: Tensor, state: dict[str, Any]) -> None:
        self._begin(model)
        trained = [each for each in model.parameters() if each.requires_grad]
        features = data.to(trained[0].device).repeat(len(model.scale) // 4)[None]
        model(features).sum().backward()
        self.step(trained, state)
        model.zero_grad()
        model.turns.add_(1)
        model.scale.add_(0.25)
        self._leave(model, self._away)

    def step(self, trained: list[nn.Parameter], state: dict[str, Any]) -> None:
        """With moments that the task looks after by itself."""
        moments = state.setdefault("moments", [torch.zeros_like(each) for each in trained])
        with torch.no_grad():
            for parameter, moment in zip(trained, moments, strict=True):
                moment.mul_(0.5).add_(torch.sign(parameter.grad) / 4)
                parameter.sub_(moment / 4)

    def evaluate(self, model: Any) -> dict[str, Tensor]:
        self._begin(model)
        with torch.no_grad():
            loss = model(torch.ones(1, len(model.scale), device=model.scale.device)).sum() + model.turns
        self._leave(model, self._away)
        return {"loss": loss}

    def _begin(self, model: nn.Module) -> None:
        self.started |= {each.device.type for each in (*model.parameters(), *model.buffers())}
        if self._work:
            model.to(self._work)


class Optimised(Task):
    """With an optimiser of torch's."""

    def step(self, trained: list[nn.Parameter], state: dict[str, Any]) -> None:
        optimizer = torch.optim.SGD(trained, lr=0.25, momentum=0.5)
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        for parameter in trained:
            parameter.grad = torch.sign(parameter.grad)
        optimizer.step()
        state["optimizer"] = optimizer.state_dict()


def rounds(task: Task, home: str, local: tuple[str, ...] = LOCAL) -> list[object]:
    """All that two rounds give: updates, what clients keep, metrics. Nobody's turn follows another in one memory."""
    training, results, kept = LocalTraining(task, TensorFilter(exclude=local), home, seed=3), list[object](), {}
    model: Doubles = training.initial()
    results.append(training.evaluate(model))
    for number in (1, 2):
        deltas = []
        for client in CLIENTS:
            if client in kept:
                training.restore(client, kept[client])
            before, after = training.train(client, model, number)
            update = encode_update(before, after, training.layout, RULE, client)
            kept[client] = training.kept(client)
            results += [before.tobytes(), update.units.tobytes(), training.changed_buffers(client)]
            results += [kept[client].tensors, bare(decode_state(kept[client].state, "cpu"))]
            training.forget(client)
            deltas.append(after - before)
        model = model + sum(deltas) / 4
        results.append(training.evaluate(model, number))
    return results


def bare(value: Any) -> Any:
    """With the bytes of tensors, wherever they are, instead of them."""
    if isinstance(value, Tensor):
        return value.cpu().numpy().tobytes()
    if isinstance(value, dict):
        return {key: bare(each) for key, each in value.items()}
    return [bare(each) for each in value] if isinstance(value, list | tuple) else value


def check(task: Task, home: str, alone: Task) -> None:
    """That a task does on `home` what it would do on the CPU alone, bit for bit, and every turn starts on `home`."""
    assert rounds(task, home) == rounds(alone, "cpu")
    assert task.started == {home}


def test_devices_are_apart() -> None:
    here, there = torch.ones(2, 2), torch.ones(2, 2, device=OTHER)
    with pytest.raises(RuntimeError, match=r"two tensors on different devices|on the same device"):
        torch.equal(here, there)
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        here + there
    with pytest.raises(TypeError, match=r"Use Tensor.cpu\(\)"):
        there.numpy()
    view = there[1]
    view.copy_(here[0] * 3)
    assert there.cpu().tolist() == [[1, 1], [3, 3]]
    assert view.untyped_storage().data_ptr() == there.data_ptr()


@pytest.mark.skipif(not PRETEND, reason="only the pretend device lies at addresses of this process")
def test_nothing_is_read_at_the_addresses_of_the_device() -> None:
    address = torch.ones(2, device=OTHER).data_ptr()
    child = os.fork()
    if not child:
        faulthandler.disable()
        ctypes.string_at(address, 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGSEGV


@pytest.mark.parametrize("kind", [Task, Optimised])
@pytest.mark.parametrize("work", [None, "cpu", OTHER])
def test_training_on_another_device_gives_the_same_updates(kind: type[Task], home: str, work: str | None) -> None:
    check(kind(work=work), home, kind())


def whole(model: Any, away: str) -> None:
    model.to(away)


def travelling(model: Any, away: str) -> None:
    model.two.to(away)  # its weight under the name that travels, too


def frozen(model: Any, away: str) -> None:
    model.base.to(away)


def local(model: Any, away: str) -> None:
    model.head.to(away)


def buffers(model: Any, away: str) -> None:
    model.scale, model.turns, model.passing = (each.to(away) for each in (model.scale, model.turns, model.passing))


def one_buffer(model: Any, away: str) -> None:
    model.scale = model.scale.to(away)


def new_parameters(model: Any, away: str) -> None:
    for layer in (model.base, model.one, model.head):
        layer.bias = nn.Parameter(layer.bias.detach().to(away), requires_grad=layer.bias.requires_grad)


def default(_model: Any, away: str) -> None:
    torch.set_default_device(away)


PARTS = [whole, travelling, frozen, local, buffers, one_buffer, new_parameters, default]


@pytest.mark.parametrize("leave", PARTS)
def test_what_a_turn_leaves_on_another_device_is_read_there(leave: Move, home: str, away: str) -> None:
    check(Task(leave=leave, away=away), home, Task())


def test_a_model_that_is_moved_to_and_fro(home: str, away: str) -> None:
    check(Task(work=away, leave=whole, away=home), home, Task())


class Single(Net):
    """Cannot be copied, and is made anew for every turn."""

    def __deepcopy__(self, memo: object) -> Single:
        raise TypeError("one only")


def wide() -> Net:
    """Its base is so large that turns share the pages of it."""
    return Net(160)


@pytest.mark.parametrize("make", [Single, wide])
def test_models_that_are_not_copied_whole(make: Make, home: str, away: str) -> None:
    check(Task(make, leave=whole, away=away), home, Task(make))
    check(Task(make, work=away), home, Task(make))


@pytest.mark.parametrize("make", [Net, Single])
@pytest.mark.parametrize("part", [whole, travelling, frozen, local, buffers])
def test_a_model_that_is_made_on_another_device(make: Make, part: Move, home: str, away: str) -> None:
    def made() -> nn.Module:
        model = make()
        part(model, away)
        return model

    check(Task(made, leave=whole, away=away), home, Task())


@pytest.mark.skipif(not PRETEND, reason="the generators of a true device draw other numbers")
def test_a_model_that_makes_another_device_the_default(home: str, away: str) -> None:
    def made() -> nn.Module:
        torch.set_default_device(away)
        return Net()

    data = Task.data
    task = Task(made)
    task.data = lambda client: data(task, client).to("cpu")
    check(task, home, Task())
    assert torch.get_default_device().type == "cpu"


def test_what_is_kept_comes_back_where_it_was(home: str, away: str) -> None:
    state = {
        "here": torch.ones(2, device=home),
        "there": torch.arange(3, device=away),
        "none": torch.ones(0, device=away),
    }
    stored = encode_state(state, 1 << 20, home)
    found = decode_state(stored, home)
    assert {name: each.device for name, each in found.items()} == {name: each.device for name, each in state.items()}
    assert bare(found) == bare(state)


def test_what_was_on_the_federations_device_follows_it() -> None:
    state = {"own": torch.ones(2, device=OTHER), "cpu": torch.ones(2)}
    found = decode_state(encode_state(state, 1 << 20, OTHER), "cpu")
    assert [each.device.type for each in found.values()] == ["cpu", "cpu"]


def test_what_was_on_a_device_that_this_process_has_is_given_to_another() -> None:
    """Which has not, and looks at it."""
    stored = encode_state({"moment": torch.arange(3, device=OTHER)}, 1 << 20, "cpu")
    Path(os.environ["STORED_STATE"]).write_bytes(stored)


def without_values(model: Any, away: str) -> None:
    model.head.to("meta")


def sparse(model: Any, away: str) -> None:
    model.head.weight = nn.Parameter(model.head.weight.detach().cpu().to_sparse())


def fake(model: Any, away: str) -> None:
    model.head.weight = nn.Parameter(FakeTensorMode().from_tensor(model.head.weight.detach().cpu()))


def untied(model: Any, away: str) -> None:
    model.two.weight = nn.Parameter(model.two.weight.detach().to(away))


class Transposed(Net):
    """Two parameters in one memory."""

    def __init__(self) -> None:
        super().__init__()
        self.two.weight = nn.Parameter(torch.zeros(4, 4))
        self.two.weight.data = self.one.weight.data.t()


class View(Net):
    """A buffer that is a part of what travels."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("row", self.one.weight.detach()[0])


COME_APART = (
    "tensors that share memory come apart on their way to another device, unless they are one parameter: make them "
    "one, or compute one from the other in forward()"
)
MATRIX, HEAD = "float32 of shape (4, 4)", "float32 of shape (1, 4)"


@pytest.mark.parametrize(
    ("make", "leave", "found"),
    [
        (Net, without_values,
         f"'head.weight': expected {HEAD}, found {HEAD} on the meta device, without values; it may only change values"),
        (Net, sparse, f"'head.weight': expected {HEAD}, found {HEAD} in sparse_coo; it may only change values"),
        (Net, fake, f"'head.weight': expected {HEAD}, found {HEAD} in a FakeTensor; it may only change values"),
        (Net, untied,
         f"'two.weight': expected {MATRIX}, tied to 'one.weight', found {MATRIX} on {{away}}; {COME_APART}"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(make: Make, leave: Move, found: str, home: str, away: str) -> None:
    with pytest.raises(Misuse) as refusal:
        rounds(Task(make, leave=leave, away=away), home)
    where = torch.empty(0, device=away).device
    assert str(refusal.value) == (
        f"client a: train() changed the architecture of the model: {found.format(away=where)}"
    )


@pytest.mark.parametrize(("make", "name"), [(Transposed, "two.weight"), (View, "row")])
def test_what_shares_memory_and_does_not_follow_is_named(make: Make, name: str) -> None:
    exclude = (*LOCAL, "row") if make is View else LOCAL
    assert rounds(Task(make), "cpu", exclude)
    with pytest.raises(Misuse) as refusal:
        rounds(Task(make, work=OTHER), "cpu", exclude)
    where = torch.empty(0, device=OTHER).device
    assert f"{name!r}: expected " in str(refusal.value)
    assert str(refusal.value).endswith(f" on {where}; {COME_APART}")
    with pytest.raises(Misuse) as refusal:
        rounds(Task(make, work="cpu"), OTHER, exclude)
    assert str(refusal.value) == (
        f"tensors: {name!r} does not follow 'one.weight', whose memory it shares, to {OTHER}; make them one parameter, "
        "or compute one from the other in forward()"
    )


class Loading(Net):
    """Takes what it is given to another device."""

    def load_state_dict(self, state_dict: Any, *_: Any, **__: Any) -> Any:
        taken = {name: self.taken(each) for name, each in state_dict.items()}
        return super().load_state_dict(taken, assign=True)

    def taken(self, tensor: Tensor) -> Tensor:
        return tensor.to(OTHER if tensor.device.type == "cpu" else "cpu")


class Widening(Loading):
    def taken(self, tensor: Tensor) -> Tensor:
        return tensor.double() if tensor.is_floating_point() else tensor


def test_a_model_may_load_to_another_device_and_in_no_other_type(home: str) -> None:
    check(Task(Loading), home, Task())
    with pytest.raises(Misuse, match=r"'one.weight' is not what load_state_dict\(\) was given for it"):
        rounds(Task(Widening), home)


def test_metrics_may_be_on_another_device(home: str, away: str) -> None:
    task = Task()
    task.evaluate = lambda model: {"loss": torch.tensor([2.5], device=away)}
    training = LocalTraining(task, TensorFilter(), home, seed=3)
    assert training.evaluate(training.initial()) == {"loss": 2.5}


def federated(task: Task, device: str, out: Path) -> dict[str, Tensor]:
    """The trained model of a whole federation, whose transcript the auditor accepts."""
    config = Config.of(
        federation={"rounds": 1, "seed": 5},
        update={"clip_norm": 8.0},
        tensors={"exclude": LOCAL},
        trustees={"count": 3, "corrupt": 1, "threshold": 3},
    )
    result = Federation(task, config, out, device=device).run()
    assert audit(result.transcript, result.policy).accepted
    return load_file(out / "model.safetensors")


def test_whole_federations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summation, "resolve_device", lambda name: name)  # which knows of no pretend one
    monkeypatch.setattr(federation, "resolve_device", lambda name: name)
    models = [
        federated(Task(), "cpu", tmp_path / "alone"),
        federated(Task(work=OTHER), "cpu", tmp_path / "away"),
        federated(Task(work="cpu"), OTHER, tmp_path / "back"),
    ]
    alone = bare(models[0])
    assert [bare(each) for each in models[1:]] == [alone, alone]
