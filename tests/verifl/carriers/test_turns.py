"""Every turn starts from the module as model() made it, whatever earlier turns did to theirs."""

from __future__ import annotations

import functools
import random
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from proofs.errors import Misuse
from verifl import Config, Federation
from verifl.training.fresh_models import FreshModels
from verifl.training.local_training import LocalTraining
from verifl.training.module_state import same_bits, state_of
from verifl.training.tensors import TensorFilter


class Net(nn.Module):
    """A frozen base, a layer that travels, and state outside `state_dict`."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.base = nn.Linear(3, width).requires_grad_(False)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 1)
        self.head.weight.no_decay = True
        self.head.weight.register_hook(lambda gradient: gradient * 0.5)
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        self.history: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.head(self.norm(self.base(x)))
        return result


Change = Callable[[Any], object]


class Task:
    """Clients whose first turn does `change` to the module; every turn notes what it starts from."""

    def __init__(
        self, change: Change = lambda _: None, see: Change = lambda _: None, make: type[nn.Module] = Net
    ) -> None:
        self._change, self._see, self._make = change, see, make
        self.seen: list[object] = []
        self.made = 0

    def clients(self) -> Sequence[str]:
        return ["a", "b"]

    def model(self) -> nn.Module:
        self.made += 1
        return self._make()

    def data(self, client: str) -> Tensor:
        return torch.ones(4, 3)

    def train(self, model: nn.Module, client: str, data: Tensor) -> None:
        self.seen.append(self._see(model))
        self._change(model)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        self.seen.append(self._see(model))
        self._change(model)
        return {}


def turns(task: Task, **rule: Any) -> LocalTraining:
    training = LocalTraining(task, TensorFilter(**rule), "cpu", seed=1)
    start = training.initial()
    for number in (1, 2):
        for client in task.clients():
            training.train(client, start, number)
        training.evaluate(start)
    return training


def wrap(model: Net) -> None:
    if hasattr(model, "wrapped"):
        raise ValueError("wrapped twice")
    model.wrapped = True


def backward(model: Net) -> None:
    model(torch.ones(4, 3)).sum().backward()


@pytest.mark.parametrize(
    ("see", "change"),
    [
        (lambda m: (m.training, m.norm.training), lambda m: m.eval()),
        (lambda m: [p.requires_grad for p in m.parameters()], lambda m: m.requires_grad_(False)),
        (lambda m: [p.grad is None for p in m.parameters()], backward),
        (lambda m: m.passing.tolist(), lambda m: m.passing.add_(1)),
        (lambda m: len(m._forward_hooks), lambda m: m.register_forward_hook(lambda *_: None)),
        (lambda m: len(m.head.weight._backward_hooks), lambda m: m.head.weight.register_hook(lambda g: g)),
        (lambda m: list(m.history), lambda m: m.history.append("was here")),
        (lambda m: hasattr(m, "wrapped"), wrap),
        (lambda m: m.head.weight.no_decay, lambda m: setattr(m.head.weight, "no_decay", False)),
        (lambda m: m.norm.momentum, lambda m: setattr(m.norm, "momentum", 0.9)),
        (type, lambda m: setattr(m, "__class__", type("Other", (Net,), {}))),
        (lambda m: "forward" in vars(m), lambda m: setattr(m, "forward", lambda x: x)),
        (lambda m: m.head.weight.is_leaf, lambda m: m.head.weight.data.mul_(2)),
    ],
)
def test_nothing_passes_from_turn_to_turn(see: Change, change: Change) -> None:
    task = Task(change, see)
    turns(task)
    assert task.seen == [see(Net())] * 6


def test_parameters_keep_their_hooks_and_attributes() -> None:
    seen: list[Tensor] = []

    def change(model: Net) -> None:
        model.head.bias.register_post_accumulate_grad_hook(lambda _: None)
        model.norm.eval()
        backward(model)
        seen.append(model.head.weight.grad)

    turns(Task(change))
    expected = Net()
    with torch.no_grad():
        expected.base.load_state_dict(turns(Task()).load(turns(Task()).initial()).base.state_dict())
    expected.norm.eval()
    expected(torch.ones(4, 3)).sum().backward()
    assert all(torch.allclose(each, expected.head.weight.grad) for each in seen)
    assert expected.head.weight.no_decay


def test_what_a_client_keeps_is_what_stays_local() -> None:
    def see(model: Net) -> tuple[float, int]:
        return float(model.base.bias[0].detach()), int(model.norm.num_batches_tracked)

    def change(model: Net) -> None:
        model.base.bias.data.fill_(7.0)  # past the version counter, into shared memory where that is not private
        model.norm.num_batches_tracked += 1

    task = Task(change, see)
    training = turns(task, exclude=("base.*",))
    first = see(training.load(training.initial()))
    assert task.seen == [first, first, first, (7.0, 1), (7.0, 1), first]


class Large(Net):
    """A frozen base of which the pages are shared."""

    def __init__(self) -> None:
        super().__init__(width=20_000)
        self.register_buffer("alias", self.base.weight.detach()[1:])


def test_a_frozen_base_is_held_once_and_is_each_turns_own() -> None:
    def see(model: Large) -> float:
        return float(model.base.weight.double().sum())

    def change(model: Large) -> None:
        model.base.weight.data[5].fill_(1.0)
        model.base.bias.detach().numpy()[:] = 3.0

    task = Task(change, see, Large)
    training = turns(task, exclude=("base.*", "alias"))
    model, lent = training.load(training.initial()), training._models._lent
    assert len(lent._places) == 2  # the weight with its alias, and the bias
    assert see(model) == task.seen[0] == task.seen[2] == task.seen[5]
    assert model.alias.data_ptr() == model.base.weight[1:].data_ptr()
    assert task.seen[3] == task.seen[4] != task.seen[0]
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if "memfd:verifl" in line]
    assert mapped
    assert {line.split()[1] for line in mapped} == {"rw-p"}


def resident() -> int:
    """Bytes of this process in memory."""
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmRSS:")[2].split()[0]) * 1024


def test_turns_take_no_second_copy_of_a_frozen_base() -> None:
    size, seen = 4 * 4096**2, list[int]()

    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.head = nn.Linear(4096, 4096).requires_grad_(False), nn.Linear(4096, 1)

    def see(model: Any) -> None:
        model.head(model.base(torch.ones(1, 4096))).sum().backward()
        seen.append(resident())

    before = resident()
    turns(Task(see=see, make=Wide), exclude=("base.*",))
    assert len(seen) == 6
    assert all(0.9 * size < each - before < 1.5 * size for each in seen)
    assert resident() - before < 0.5 * size


class Closure(Net):
    """A hook that is a closure over the module itself, which a copy does not take along."""

    def __init__(self) -> None:
        super().__init__()
        self.base.register_forward_hook(lambda *_: self.history.append("base"))


class Partial(Net):
    """The same through functools.partial."""

    def __init__(self) -> None:
        super().__init__()
        self.base.register_forward_hook(functools.partial(lambda me, *_: me().history.append("base"), lambda: self))


class Locked(Net):
    """Something that cannot be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = sys.stderr


class Normed(Net):
    """A weight that is computed when the module is made."""

    def __init__(self) -> None:
        super().__init__()
        nn.utils.weight_norm(self.head)


class Half(Net):
    """A copy that is not the same."""

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        return Net()


@pytest.mark.parametrize("make", [Closure, Partial, Locked, Normed, Half])
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_copied_is_made_anew(make: type[Net]) -> None:
    def change(model: Net) -> None:
        assert model.history == []
        model.base(torch.ones(1, 3))
        model.base.bias.data.add_(1.0)

    task = Task(change, lambda m: (m.history[:], float(m.base.bias[0].detach())), make)
    training = turns(task, exclude=("base.*",))
    assert task.made > 6
    first = task.seen[0]
    assert task.seen[2] == task.seen[5] == first
    assert task.seen[3] == task.seen[4] == ([], first[1] + 1)
    model = training.load(training.initial())
    model.base(torch.ones(1, 3))
    assert model.history == (["base"] if make in (Closure, Partial) else [])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (functools.cache(Closure), "a hook or attribute of its copy leads back .* gave parts of it a second time"),
        (functools.cache(Locked), "copy.deepcopy.. fails: TypeError: .* gave parts of it a second time"),
    ],
)
def test_models_that_can_be_had_once_only_are_refused(make: Callable[[], nn.Module], message: str) -> None:
    task = Task()
    task.model = make
    with pytest.raises(Misuse, match=f"task: the model can neither be copied .{message}"):
        turns(task)


def test_a_model_that_is_another_each_time_and_cannot_be_copied_is_refused() -> None:
    class Counting(Locked):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            Counting.made += 1
            self.base.bias.data.fill_(Counting.made)

    with pytest.raises(Misuse, match=r"'base.bias' was another in a second call of model\(\) under the same seed"):
        turns(Task(make=Counting), exclude=("base.*",))


def test_a_task_may_hold_the_model_that_it_made() -> None:
    """What the task does to it is no business of any turn."""
    held = Net()
    task = Task(lambda _: held.base.bias.data.add_(1), lambda m: float(m.base.bias[0].detach()))
    task.model = lambda: held
    turns(task, exclude=("base.*",))
    assert len(set(task.seen)) == 1


class Moving(nn.Module):
    """Two parameters that share memory until the module is moved."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(2, 2), nn.Linear(2, 2)
        self.two.weight.data = self.one.weight.data
        self.where = torch.device("cpu")

    def to(self, *_: Any, **__: Any) -> Moving:
        self.two.weight.data = self.two.weight.data.clone()
        return self


def test_ties_that_a_device_would_undo_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FreshModels, "_is_there", lambda *_: False)
    with pytest.raises(Misuse, match=r"'two.weight' does not follow 'one.weight', whose memory it shares, to cpu"):
        FreshModels(Moving(), Moving, (), "cpu")


def test_bits_are_compared_not_values() -> None:
    nan = torch.tensor([float("nan"), 1.0])
    assert same_bits(nan, nan.clone())
    assert not same_bits(torch.tensor(0.0), torch.tensor(-0.0))
    assert not same_bits(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert same_bits(torch.ones(1).expand(3), torch.ones(3))


class Drawing(Task):
    """Notes what all generators give in every call of the task's code."""

    def __init__(self) -> None:
        super().__init__(make=lambda: (self.note("model"), nn.Linear(1, 1))[1])
        self.drawn: dict[tuple[str, int], tuple[float, ...]] = {}
        self.now = 0

    def note(self, what: str) -> None:
        drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
        assert self.drawn.setdefault((what, self.now), drawn) == drawn

    def data(self, client: str) -> Tensor:
        self.note(f"data {client}")
        return torch.ones(1)

    def train(self, model: nn.Module, client: str, data: Tensor) -> None:
        self.note(f"train {client}")

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        self.note("evaluate")
        return {}


def test_every_call_draws_numbers_of_its_own_and_the_callers_generators_do_not_move() -> None:
    task = Drawing()
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    expected = (random.random(), float(np.random.rand()), float(torch.rand(())))
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    for _ in range(2):  # the same again in a second process, so to say
        training = LocalTraining(task, TensorFilter(), "cpu", seed=1)
        start = training.initial()
        for task.now in (1, 2):
            for client in task.clients():
                training.train(client, start, task.now)
            training.evaluate(start)
        task.now = 0
    assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == expected
    of_turns = [drawn for (what, _), drawn in task.drawn.items() if what not in ("model", "evaluate")]
    assert len({number for drawn in of_turns for number in drawn}) == 3 * len(of_turns) == 24
    other = LocalTraining(task := Drawing(), TensorFilter(), "cpu", seed=2)
    task.now = 1
    other.train("a", other.initial(), 1)
    assert not set(task.drawn["train a", 1]) & {number for drawn in of_turns for number in drawn}


def test_a_copy_shares_nothing_with_its_original() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16)
    models = FreshModels(model, lambda: model, (), "cpu")
    one, other = models.fresh(), models.fresh()
    assert all(same_bits(each, state_of(other)[name]) for name, each in state_of(one).items())
    with torch.no_grad():
        for tensor in (*model.parameters(), *one.parameters()):
            tensor.fill_(3.0)
    assert not any((tensor == 3.0).any() for tensor in other.parameters())


class Drawn(Task):
    """Draws from every generator, keeps an own head, and is interrupted once in the turn of `b` in round 2."""

    def __init__(self, interrupted: bool) -> None:
        super().__init__(make=lambda: nn.ModuleDict({"norm": nn.BatchNorm1d(3), "head": nn.Linear(3, 1)}))
        self.turns, self._interrupted = 0, interrupted

    def clients(self) -> Sequence[str]:
        return ["a", "b", "c"]

    def data(self, client: str) -> Tensor:
        rows = torch.from_numpy(np.random.permutation(20))[:10]
        return torch.randn(20, 3, generator=torch.Generator().manual_seed(ord(client)))[rows]

    def train(self, model: nn.Module, client: str, data: Tensor) -> None:
        self.turns += 1
        if self._interrupted and self.turns == 5:
            raise KeyboardInterrupt
        norm, head = model["norm"], model["head"]
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01 * (1 + random.random()))
        for _ in range(3):
            optimizer.zero_grad()
            head(norm(data + 0.1 * torch.randn_like(data))).square().mean().backward()
            optimizer.step()
        model.eval().requires_grad_(False)
        norm.momentum = 0.9

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        model.eval()
        return {"drawn": random.random() + float(np.random.rand()), "bias": float(model["head"].bias.detach())}


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    config = Config.of(
        federation={"rounds": 3},
        trustees={"count": 2, "corrupt": 0, "threshold": 2},
        update={"encryption_proof": False},
        tensors={"exclude": ["head.bias"]},
    )
    whole = Federation(Drawn(False), config, tmp_path / "whole", device="cpu").run()
    with pytest.raises(KeyboardInterrupt):
        Federation(Drawn(True), config, tmp_path / "killed", device="cpu").run()
    resumed = Federation(Drawn(False), config, tmp_path / "killed", device="cpu").run(resume=True)
    assert [summary.metrics for summary in resumed.rounds] == [summary.metrics for summary in whole.rounds]
    one, other = load_file(whole.model), load_file(resumed.model)
    assert [*one] == [*other]
    assert all(same_bits(one[name], other[name]) for name in one)
