"""Which tensors travel: the rule, on the architectures people bring."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from proofs.errors import Misuse
from verifl.training.tensors import TensorFilter, check_finite, describe, read_vector, write_vector


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def cnn() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 36, 2))


class TiedTransformer(nn.Module):
    """An embedding, one encoder block, and an output layer that shares the embedding's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
        self.register_buffer("positions", torch.arange(5))
        self.register_buffer("mask", torch.zeros(5, 5), persistent=False)
        self.output = nn.Linear(8, 11, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.output(self.block(self.embedding(tokens)))
        return logits


class LowRank(nn.Module):
    """A frozen layer with a trainable low-rank adapter."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6).requires_grad_(False)
        self.lora_down = nn.Linear(6, 2, bias=False)
        self.lora_up = nn.Linear(2, 6, bias=False)


def names(model: nn.Module, rule: TensorFilter | None = None) -> list[str]:
    return [spec.name for spec in describe(model, rule).specs]


def test_mlp_travels_whole() -> None:
    layout = describe(mlp())
    assert [spec.name for spec in layout.specs] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert layout.dimension == 4 * 8 + 8 + 8 * 2 + 2
    assert not any(spec.nonnegative for spec in layout.specs)


def test_batch_norm_statistics_travel_and_its_counter_stays() -> None:
    layout = describe(cnn())
    by_name = {spec.name: spec for spec in layout.specs}
    assert "1.num_batches_tracked" not in by_name
    assert by_name["1.running_var"].nonnegative
    assert not by_name["1.running_mean"].nonnegative
    assert by_name["1.running_mean"].shape == (3,)


def test_integer_buffers_are_untouched_by_a_write() -> None:
    model = cnn()
    model.train()
    model(torch.randn(4, 1, 8, 8))
    layout = describe(model)
    write_vector(model, layout, np.zeros(layout.dimension))
    assert int(model[1].num_batches_tracked) == 1
    assert not model[1].running_var.any()


def test_tied_weights_travel_once_and_stay_tied() -> None:
    model = TiedTransformer()
    layout = describe(model)
    found = [spec.name for spec in layout.specs]
    assert "embedding.weight" in found
    assert "output.weight" not in found
    assert "positions" not in found
    assert "mask" not in found
    write_vector(model, layout, read_vector(model, layout) + 1)
    assert model.output.weight is model.embedding.weight
    assert layout.dimension == sum(parameter.numel() for parameter in model.parameters())


def test_weights_tied_through_data_travel_once() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3, bias=False), "b": nn.Linear(3, 3, bias=False)})
    model["b"].weight.data = model["a"].weight.data
    assert names(model) == ["a.weight"]


def test_partly_shared_memory_is_refused() -> None:
    memory = torch.zeros(10)
    model = nn.ParameterDict({"a": nn.Parameter(memory[:6]), "b": nn.Parameter(memory[4:])})
    with pytest.raises(Misuse, match="share part of their memory"):
        describe(model)


def test_adapters_only_by_pattern_or_by_requires_grad() -> None:
    adapters = ["lora_down.weight", "lora_up.weight"]
    assert names(LowRank(), TensorFilter(include=("lora_*",))) == adapters
    assert names(LowRank(), TensorFilter(exclude=("base.*",))) == adapters
    assert names(LowRank(), TensorFilter(trainable_only=True)) == adapters
    assert len(names(LowRank())) == 4


def test_trainable_only_leaves_buffers_local() -> None:
    assert not [name for name in names(cnn(), TensorFilter(trainable_only=True)) if "running" in name]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_are_restored(dtype: torch.dtype) -> None:
    model = mlp().to(dtype)
    layout = describe(model)
    assert {spec.dtype for spec in layout.specs} == {str(dtype).removeprefix("torch.")}
    before = read_vector(model, layout)
    write_vector(model, layout, before)
    assert np.array_equal(read_vector(model, layout), before)
    write_vector(model, layout, np.full(layout.dimension, 1 / 3))
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    assert model[0].bias[0] == torch.tensor(1 / 3, dtype=torch.float64).to(dtype)


def test_float16_overflow_is_an_error_and_changes_nothing() -> None:
    model = mlp().half()
    layout = describe(model)
    before = read_vector(model, layout)
    with pytest.raises(Misuse, match=r"tensor '2.bias' is not finite in float16"):
        write_vector(model, layout, np.concatenate([np.zeros(layout.dimension - 1), [1e6]]))
    assert np.array_equal(read_vector(model, layout), before)


def test_round_trip_of_every_architecture() -> None:
    for model in (mlp(), cnn(), TiedTransformer(), LowRank()):
        layout = describe(model)
        vector = np.random.default_rng(1).normal(size=layout.dimension).astype(np.float32).astype(np.float64)
        write_vector(model, layout, vector)
        assert np.array_equal(read_vector(model, layout), vector)


def test_nan_is_named_with_its_owner_and_tensor() -> None:
    model = mlp()
    layout = describe(model)
    with torch.no_grad():
        model[2].bias[1] = float("nan")
    with pytest.raises(Misuse, match=r"hospital-3: tensor '2.bias' holds 1 NaN or infinite"):
        check_finite(read_vector(model, layout), layout, "hospital-3")


def test_a_changed_architecture_is_refused() -> None:
    layout = describe(mlp())
    with pytest.raises(Misuse, match=r"tensor '0.weight' should be float32 of shape \(8, 4\)"):
        read_vector(nn.Sequential(nn.Linear(5, 8)), layout)
    with pytest.raises(Misuse, match="found shape"):
        write_vector(mlp(), layout, np.zeros(3))


class Sparse(nn.Linear):
    """A layer with a sparse buffer."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.register_buffer("mask", torch.eye(2).to_sparse())


class Extra(nn.Linear):
    """A layer with state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 1}


@pytest.mark.parametrize(
    ("model", "rule", "message"),
    [
        (nn.Sequential(Extra(2, 2)), TensorFilter(), "'0._extra_state' is a dict of the model's own making"),
        (Sparse(), TensorFilter(exclude=("mask",)), "'mask' is torch.sparse_coo, expected dense tensors only"),
        (cnn(), TensorFilter(nonnegative=("*variance",)), "pattern '*variance' matches no tensor of the model"),
        (nn.ReLU(), TensorFilter(), "no float tensor"),
        (mlp(), TensorFilter(include=("encoder.*",)), "pattern 'encoder.*' matches no tensor"),
        (mlp(), TensorFilter(exclude=("*",)), "no float tensor"),
        (mlp().requires_grad_(False), TensorFilter(trainable_only=True), "or set requires_grad where `trainable_only`"),
        (nn.Sequential(nn.LazyLinear(3)), TensorFilter(), "has no shape yet"),
        (nn.Linear(2, 2, device="meta"), TensorFilter(), "meta device"),
        (nn.Linear(2, 2, dtype=torch.complex64), TensorFilter(), "is complex64"),
    ],
)
def test_models_that_cannot_travel(model: nn.Module, rule: TensorFilter, message: str) -> None:
    with pytest.raises(Misuse, match=message.replace("*", r"\*")):
        describe(model, rule)
