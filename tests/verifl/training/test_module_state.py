"""State that is not the module's own, and memory that tensors share: decided before anything is trained."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.ao.quantization import FakeQuantize

from proofs.errors import Misuse
from verifl.training.local_training import LocalTraining
from verifl.training.memory_sharing import sharing
from verifl.training.module_state import hidden_parameters, state_of
from verifl.training.tensors import TensorFilter, describe, local_names


def two() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


class Copies(nn.Linear):
    """state_dict() of copies."""

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in super().state_dict(*args, **kwargs).items()}


class Frozen(nn.Linear):
    """state_dict() without what is frozen, as people write it for adapters."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self.weight.requires_grad_(False)

    def state_dict(self) -> dict[str, Any]:
        own = dict(self.named_parameters())
        return {name: tensor for name, tensor in super().state_dict().items() if own[name].requires_grad}


def hooked(hook: Callable[[OrderedDict[str, Any], str], None]) -> nn.Module:
    model = two()

    def after(_: nn.Module, state: OrderedDict[str, Any], prefix: str, __: object) -> None:
        hook(state, prefix)

    model[0].register_state_dict_post_hook(after)
    return model


def half(state: OrderedDict[str, Any], prefix: str) -> None:
    state[prefix + "weight"] = state[prefix + "weight"].half()


def swap(state: OrderedDict[str, Any], prefix: str) -> None:
    state[prefix + "bias"] = torch.zeros(3)


def add(state: OrderedDict[str, Any], prefix: str) -> None:
    state[prefix + "average"] = state[prefix + "weight"]


def drop(state: OrderedDict[str, Any], prefix: str) -> None:
    del state[prefix + "weight"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Copies(2, 2), "'weight' in the model's state_dict() is a copy, or another tensor"),
        (hooked(half), "'0.weight' in the model's state_dict() is a copy"),
        (hooked(swap), "'0.bias' in the model's state_dict() is a copy"),
        (hooked(add), "'0.average' is in the model's state_dict(), but is none of its parameters and persistent"),
        (hooked(drop), "'0.weight' is trained, but the model's state_dict() leaves it out"),
    ],
)
def test_state_that_is_not_the_modules_own_is_refused_by_name(model: nn.Module, message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        describe(model)
    assert message in str(excinfo.value)


def test_a_state_dict_that_fails_is_one_line() -> None:
    model = two()
    model[0].register_state_dict_post_hook(lambda *_: 1 / 0)
    with pytest.raises(Misuse, match=r"task: state_dict\(\) of the model failed: ZeroDivisionError"):
        describe(model)


def test_frozen_tensors_may_be_left_out_of_the_state() -> None:
    assert [spec.name for spec in describe(Frozen()).specs] == ["bias"]


class Ignoring(nn.Linear):
    """Loads its bias only."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        state_dict[prefix + "weight"] = self.weight.detach()
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Renamed(nn.Linear):
    """Takes back what it gives, and an old name, too."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_load_state_dict_pre_hook(self._rename)

    @staticmethod
    def _rename(_: nn.Module, state: dict[str, Any], prefix: str, *__: object) -> None:
        if prefix + "kernel" in state:
            state[prefix + "weight"] = state.pop(prefix + "kernel")


class Task:
    """One client, whose model is given."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        self.model = make

    def clients(self) -> list[str]:
        return ["a"]

    def data(self, client: str) -> None:
        return None

    def train(self, model: nn.Module, client: str, data: None) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(1)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


def training(make: Callable[[], nn.Module], **rule: Any) -> LocalTraining:
    return LocalTraining(Task(make), TensorFilter(**rule), "cpu", seed=1)


def test_a_model_must_take_back_what_it_gives() -> None:
    with pytest.raises(Misuse, match=r"'0.weight' is not what load_state_dict\(\) was given for it"):
        training(lambda: nn.Sequential(Ignoring(2, 2)))
    training(Renamed)


def parametrised() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Linear(3, 3))


def quantised_later() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), FakeQuantize())
    model(torch.randn(2, 3))
    return model


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (parametrised, ["bias", "parametrizations.weight.original0", "parametrizations.weight.original1"]),
        (lambda: nn.utils.spectral_norm(nn.Linear(3, 3)), ["bias", "weight_orig", "weight_u", "weight_v"]),
        (lambda: nn.utils.weight_norm(nn.Linear(3, 3)), ["bias", "weight_g", "weight_v"]),
        (lambda: nn.LSTM(2, 2), ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]),
        (lambda: torch.jit.script(nn.Linear(3, 3)), ["weight", "bias"]),
        (lambda: torch.compile(nn.Linear(3, 3), backend="eager"), ["_orig_mod.weight", "_orig_mod.bias"]),
        (lambda: nn.DataParallel(nn.Linear(3, 3)), ["module.weight", "module.bias"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_modules_of_torch_make_of_their_state_is_their_own(
    make: Callable[[], nn.Module], names: list[str]
) -> None:
    trained = training(make)
    assert [spec.name for spec in trained.layout.specs] == names
    start = trained.initial()
    before, after = trained.train("a", start, 1)
    assert np.array_equal(before, start)
    assert (after != before).all() or "weight_u" in names
    assert all(parameter.is_leaf for parameter in trained.load(start).parameters())
    assert np.array_equal(trained.train("a", start, 1)[1], after)


def test_observers_of_quantisation_stay_with_the_client() -> None:
    trained = training(quantised_later, exclude=("1.*",))
    assert [spec.name for spec in trained.layout.specs] == ["0.weight", "0.bias"]
    trained.train("a", trained.initial(), 1)


class Shared(nn.Module):
    """A parameter `weight`, and whatever `add` makes of it."""

    def __init__(self, add: Callable[[Shared], None]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(12.0).reshape(4, 3))
        self.other = nn.Parameter(torch.zeros(2))
        add(self)


def view(model: Shared) -> None:
    model.register_buffer("tail", model.weight.detach()[2:])


def transposed(model: Shared) -> None:
    model.decoder = nn.Parameter(model.weight.detach().t())


def crossing(model: Shared) -> None:
    memory = torch.zeros(10)
    model.one, model.two = nn.Parameter(memory[:6]), nn.Parameter(memory[4:])


def words(model: Shared) -> None:
    model.register_buffer("words", model.weight.detach().view(torch.int32))


def folded(model: Shared) -> None:
    model.register_buffer("mask", torch.ones(1).expand(4))


def interleaved(model: Shared) -> None:
    memory = torch.zeros(10)
    model.even, model.odd = nn.Parameter(memory[0::2]), nn.Parameter(memory[1::2])


def windows(model: Shared) -> None:
    model.windows = nn.Parameter(torch.arange(6.0).unfold(0, 3, 1))


def whole(model: Shared) -> None:
    memory = torch.zeros(10)
    model.all, model.head = nn.Parameter(memory), nn.Parameter(memory[:4])


@pytest.mark.parametrize(
    ("add", "exclude", "message"),
    [
        (view, (), "'weight' and 'tail' share part of their memory; .* or exclude 'tail' in"),
        (crossing, (), "'one' and 'two' share part of their memory; give one of them its own with clone"),
        (crossing, ("one",), "'one' and 'two' share part of their memory"),
        (words, (), "'weight' and 'words' share part of their memory"),
        (folded, (), r"several elements of 'mask' are one memory cell .* clone\(\) it in model\(\), or exclude"),
        (windows, (), "several elements of 'windows' are one memory cell"),
        (whole, ("all",), "'head' travels, and is a part of 'all', which does not"),
    ],
)
def test_memory_that_would_be_written_twice(
    add: Callable[[Shared], None], exclude: tuple[str, ...], message: str
) -> None:
    with pytest.raises(Misuse, match=message.replace("'weight' and 'tail'", "'tail' and 'weight'")):
        describe(Shared(add), TensorFilter(exclude=exclude))


@pytest.mark.parametrize(
    ("add", "exclude", "travelling", "local"),
    [
        (view, ("tail",), ["weight", "other"], ()),
        (transposed, (), ["weight", "other"], ()),
        (transposed, ("weight",), ["other", "decoder"], ()),
        (folded, ("mask",), ["weight", "other"], ("mask",)),
        (interleaved, (), ["weight", "other", "even", "odd"], ()),
        (crossing, ("one", "two"), ["weight", "other"], ("one", "two")),
        (windows, ("windows",), ["weight", "other"], ("windows",)),
        (whole, ("head",), ["weight", "other", "all"], ()),
    ],
)
def test_memory_that_is_shared_and_right(
    add: Callable[[Shared], None], exclude: tuple[str, ...], travelling: list[str], local: tuple[str, ...]
) -> None:
    """What is written is read back, under every name, in every turn; nothing local is written over it."""
    trained = training(lambda: Shared(add), exclude=exclude)
    assert [spec.name for spec in trained.layout.specs] == travelling
    state = state_of(Shared(add))
    assert local_names(state, trained.layout) == local
    trained._task.train = lambda model, *_: model.other.data.add_(1)
    vector = trained.initial()
    for number in range(1, 4):
        vector = vector + 1
        before, after = trained.train("a", vector, number)
        assert np.array_equal(before, vector)
        assert np.abs(after - before).sum() == 2
        found = state_of(trained.load(vector))
        assert sharing(found) == sharing(state)


class Made(nn.Linear):
    """A layer with one more buffer."""

    def __init__(self, buffer: Tensor) -> None:
        super().__init__(2, 2)
        self.register_buffer("made", buffer)


def in_inference_mode() -> nn.Module:
    with torch.inference_mode():
        return nn.Linear(2, 2)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Made(torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)), "'made' is quantised .qint8."),
        (lambda: Made(torch.eye(2).to_sparse()), "'made' is torch.sparse_coo"),
        (lambda: Made(torch.ones(2, device="meta")), "'made' is on the meta device"),
        (lambda: Made(torch.ones(2, dtype=torch.complex128)), "'made' is complex128, which model.safetensors cannot"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), "'0.weight' has no shape yet"),
        (in_inference_mode, "'weight' was made in inference mode"),
    ],
)
def test_tensors_that_cannot_stay_local_either(make: Callable[[], nn.Module], message: str) -> None:
    exclude = ("0.weight", "0.bias") if "shape" in message else () if "inference" in message else ("made",)
    with pytest.raises(Misuse, match=message):
        training(make, exclude=exclude)


@pytest.mark.parametrize(
    "buffer", [torch.ones(2, dtype=torch.complex64), torch.tensor(3), torch.zeros(0), torch.ones(2) > 0]
)
def test_tensors_that_stay_local_are_kept(buffer: Tensor) -> None:
    trained = training(lambda: Made(buffer.clone()), exclude=("made",))

    def change(model: nn.Module, *_: object) -> None:
        with torch.no_grad():
            model.made.copy_(torch.zeros_like(buffer))

    trained._task.train = change
    trained.train("a", trained.initial(), 1)
    again = training(lambda: Made(buffer.clone()), exclude=("made",))
    again.restore("a", trained.kept("a"))
    seen: list[Tensor] = []
    again._task.train = lambda model, *_: seen.append(model.made.clone())
    again.train("a", again.initial(), 2)
    assert torch.equal(seen[0], torch.zeros_like(buffer))


def test_what_a_client_kept_of_another_architecture_is_refused() -> None:
    first = training(lambda: Made(torch.ones(2)), exclude=("made",))
    first.train("a", first.initial(), 1)
    first._own["a"] = {"made": torch.zeros(2)}
    kept = first.kept("a")
    second = training(lambda: Made(torch.ones(3)), exclude=("made",))
    with pytest.raises(Misuse, match=r"own tensor 'made' was float32 of shape \(2,\), found float32 of shape \(3,\)"):
        second.restore("a", kept)


class Listed(nn.Module):
    """Layers in a list, which no module registers; and a frozen teacher, hidden on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 2)
        self.layers = [nn.Linear(2, 2)]
        self.teacher = (nn.Linear(2, 2).requires_grad_(False),)
        self.again = [self.first]


def test_parameters_that_no_module_registers_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert list(hidden_parameters(Listed())) == ["layers[0].weight", "layers[0].bias"]
    with caplog.at_level("WARNING", "verifl"):
        training(Listed)
    assert "'layers[0].bias' and 1 more: no registered parameter" in caplog.messages[0]
    assert not list(hidden_parameters(nn.Sequential(nn.TransformerEncoderLayer(4, 2), nn.LSTM(2, 2), two())))


@given(st.data())
def test_sharing_is_what_counting_cells_says(data: st.DataObject) -> None:
    memory = torch.zeros(32)
    tensors = {}
    for number in range(data.draw(st.integers(2, 4))):
        shape = data.draw(st.lists(st.integers(1, 3), max_size=3))
        strides = [data.draw(st.integers(0, 4)) for _ in shape]
        tensors[f"t{number}"] = torch.as_strided(memory, shape, strides, data.draw(st.integers(0, 3)))
    numbers = {name: torch.as_strided(torch.arange(32), each.shape, each.stride(), each.storage_offset()).reshape(-1)
               for name, each in tensors.items()}  # fmt: skip
    cells = {name: frozenset(each.tolist()) for name, each in numbers.items()}
    found = sharing(tensors)
    assert found.folded == [name for name in tensors if len(cells[name]) < len(numbers[name])]
    firsts = [name for name in tensors if name not in found.same]
    assert all(cells[name] == cells[first] for name, first in found.same.items())
    assert len({cells[name] for name in firsts}) == len(firsts)
    pairs = [(one, other) for one in firsts for other in firsts if one < other and cells[one] & cells[other]]
    inside = {(one, other) if cells[one] < cells[other] else (other, one) for one, other in pairs
              if cells[one] < cells[other] or cells[other] < cells[one]}  # fmt: skip
    assert set(found.within) == inside
    assert {frozenset(pair) for pair in found.across} == {
        frozenset(pair) for pair in pairs if pair not in inside and pair[::-1] not in inside
    }
