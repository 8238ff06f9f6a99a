"""Which tensors of a model travel, and how they become one vector and come back (spec 4.1, 4.5).

The rule: every float parameter and every persistent float buffer of the model travels, in `state_dict` order, unless a
filter says otherwise. A tensor that appears under several names (tied weights) travels once, under its first name.
Integer and boolean buffers (a BatchNorm counter) stay with their owner. The global model is one float64 vector; each
participant's tensors keep their own dtype, and values are rounded to it on the way back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from proofs.errors import Misuse
from protocols.policy import TensorSpec
from verifl.patterns import matches, no_match

Vector = NDArray[np.float64]

DTYPES: dict[torch.dtype, str] = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float64: "float64",
}
VARIANCES = ("*running_var",)


@dataclass(frozen=True)
class TensorFilter:
    """Shell patterns over `state_dict` names; a tensor travels if it matches `include` and not `exclude`.

    trainable_only: only parameters with requires_grad (frozen layers and all buffers stay local).
    nonnegative: patterns of tensors that are variances; the server step clamps their aggregate at zero.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    trainable_only: bool = False
    nonnegative: tuple[str, ...] = VARIANCES

    def selects(self, name: str, tensor: Tensor) -> bool:
        """Whether the tensor travels, its dtype aside."""
        if self.trainable_only and not (isinstance(tensor, nn.Parameter) and tensor.requires_grad):
            return False
        return matches(name, self.include) and not matches(name, self.exclude)


@dataclass(frozen=True)
class TensorLayout:
    """The travelling tensors of one architecture, in the order in which the vector holds them."""

    specs: tuple[TensorSpec, ...]

    @property
    def dimension(self) -> int:
        """d: the number of coordinates."""
        return sum(prod(spec.shape) for spec in self.specs)

    def slices(self) -> Iterator[tuple[TensorSpec, slice]]:
        """Each tensor with its range of coordinates."""
        start = 0
        for spec in self.specs:
            stop = start + prod(spec.shape)
            yield spec, slice(start, stop)
            start = stop


def describe(model: nn.Module, rule: TensorFilter | None = None) -> TensorLayout:
    """The layout of `model` under `rule`; raises Misuse when nothing travels or a tensor cannot."""
    rule = rule or TensorFilter()
    _check_plain(model)
    named = list(_distinct_tensors(model, rule))
    _check_patterns(model, rule)
    _check_overlaps(named)
    if not named:
        raise Misuse("tensors: no float tensor of the model travels; widen `include` or narrow `exclude`")
    return TensorLayout(tuple(_spec(name, tensor, rule) for name, tensor in named))


def read_vector(model: nn.Module, layout: TensorLayout) -> Vector:
    """The travelling tensors as one float64 vector of shape (d,); NaN and infinities are passed on as they are."""
    state = model.state_dict(keep_vars=True)
    vector = np.empty(layout.dimension, dtype=np.float64)
    for spec, where in layout.slices():
        tensor = _find(state, spec)
        vector[where] = tensor.detach().to(device="cpu", dtype=torch.float64).reshape(-1).numpy()
    return vector


def read_initial(model: nn.Module, layout: TensorLayout) -> Vector:
    """`read_vector` of a model as its task made it; raises Misuse, naming the tensor, for NaN and infinities."""
    vector = read_vector(model, layout)
    for name, count in _not_finite(vector, layout):
        raise Misuse(
            f"model: tensor {name!r} holds {count} NaN or infinite values before any training, expected finite "
            "numbers; initialise it in the task's model(), or exclude it in [tensors] if it is a constant"
        )
    return vector


def write_vector(model: nn.Module, layout: TensorLayout, vector: Vector) -> None:
    """Copy a float64 vector of shape (d,) into the model in place, rounding to each tensor's dtype and device.

    Raises Misuse when the vector has another length or a value is not finite in the tensor's dtype (a float16
    overflow); the model is then unchanged.
    """
    if vector.shape != (layout.dimension,):
        raise Misuse(f"vector: the model has {layout.dimension} travelling coordinates, found shape {vector.shape}")
    state = model.state_dict(keep_vars=True)
    rounded = [(spec, _find(state, spec), _rounded(spec, vector[where])) for spec, where in layout.slices()]
    with torch.no_grad():
        for _, tensor, values in rounded:
            tensor.copy_(values)


def check_finite(vector: Vector, layout: TensorLayout, owner: str) -> None:
    """Raise Misuse naming `owner` and the first tensor that holds NaN or an infinity."""
    for name, count in _not_finite(vector, layout):
        raise Misuse(
            f"{owner}: tensor {name!r} holds {count} NaN or infinite values after training, expected finite "
            "numbers; lower the learning rate or check the data"
        )


def _not_finite(vector: Vector, layout: TensorLayout) -> Iterator[tuple[str, int]]:
    """Tensors with NaN or infinities, and how many each has."""
    if np.isfinite(vector).all():
        return
    for spec, where in layout.slices():
        count = int(np.count_nonzero(~np.isfinite(vector[where])))
        if count:
            yield spec.name, count


def _distinct_tensors(model: nn.Module, rule: TensorFilter) -> Iterator[tuple[str, Tensor]]:
    """Selected float tensors by first name; the same storage under a second name is the same tensor."""
    seen: set[tuple[int, ...]] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor) or not rule.selects(name, tensor):
            continue
        if not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        _check_supported(name, tensor)
        if tensor.numel() == 0:
            continue
        place = _place(tensor)
        if place not in seen:
            seen.add(place)
            yield name, tensor


def _check_plain(model: nn.Module) -> None:
    """State that is made anew by get_extra_state(), or is sparse, can neither be written in place nor saved."""
    for name, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor) or name.endswith("_extra_state"):
            kind = type(value).__name__
            raise Misuse(
                f"tensors: {name!r} is a {kind} of the model's own making, expected parameters and buffers only; "
                "return a model without get_extra_state()"
            )
        if value.layout != torch.strided:
            raise Misuse(
                f"tensors: {name!r} is {value.layout}, expected dense tensors only; convert it with to_dense()"
            )


def _place(tensor: Tensor) -> tuple[int, ...]:
    return (tensor.untyped_storage().data_ptr(), tensor.storage_offset(), *tensor.shape, -1, *tensor.stride())


def _check_supported(name: str, tensor: Tensor) -> None:
    if is_lazy(tensor):
        raise Misuse(f"tensors: {name!r} has no shape yet; run one forward pass in the task's model()")
    if tensor.is_meta:
        raise Misuse(f"tensors: {name!r} is on the meta device, expected real values; materialise the model first")
    if tensor.dtype not in DTYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise Misuse(
            f"tensors: {name!r} is {kind}, expected {', '.join(DTYPES.values())}; exclude it in [tensors] or convert it"
        )


def _check_overlaps(named: Sequence[tuple[str, Tensor]]) -> None:
    """Two different views of one memory would be averaged twice and written twice."""
    spans = sorted(
        (tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.element_size(), name)
        for name, tensor in named
        if tensor.is_contiguous()
    )
    for (_, end, first), (start, _, second) in pairwise(spans):
        if start < end:
            raise Misuse(f"tensors: {first!r} and {second!r} share part of their memory; exclude one of them")


def _check_patterns(model: nn.Module, rule: TensorFilter) -> None:
    names = list(model.state_dict(keep_vars=True))
    own = [pattern for pattern in rule.nonnegative if pattern not in VARIANCES]  # many models have no variances
    for pattern in (*rule.include, *rule.exclude, *own):
        if pattern != "*" and not any(matches(name, [pattern]) for name in names):
            raise Misuse(f"tensors: {no_match(pattern, names, 'of the model')}")


def _spec(name: str, tensor: Tensor, rule: TensorFilter) -> TensorSpec:
    return TensorSpec(
        name=name,
        shape=tuple(tensor.shape),
        dtype=DTYPES[tensor.dtype],
        nonnegative=matches(name, rule.nonnegative),
    )


def _find(state: dict[str, Tensor], spec: TensorSpec) -> Tensor:
    tensor = state.get(spec.name)
    found = None if tensor is None else (tuple(tensor.shape), DTYPES.get(tensor.dtype))
    if tensor is None or found != (spec.shape, spec.dtype):
        raise Misuse(
            f"model: tensor {spec.name!r} should be {spec.dtype} of shape {spec.shape}, found {found or 'nothing'}; "
            "the architecture must not change during the federation"
        )
    return tensor


def _rounded(spec: TensorSpec, values: Vector) -> Tensor:
    dtype = next(dtype for dtype, name in DTYPES.items() if name == spec.dtype)
    tensor = torch.from_numpy(np.array(values)).to(dtype).reshape(spec.shape)
    if not bool(torch.isfinite(tensor).all()):
        raise Misuse(f"model: a value of tensor {spec.name!r} is not finite in {spec.dtype}; use float32 or bfloat16")
    return tensor
