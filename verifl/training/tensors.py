"""Which tensors of a model travel, and how they become one vector and come back (spec 4.1, 4.5).

The rule: every float parameter and every persistent float buffer of the model travels, in `state_dict` order, unless a
filter says otherwise. A tensor that appears under several names (tied weights) travels once, under its first name.
Integer and boolean buffers (a BatchNorm counter) stay with their owner. The global model is one float64 vector; each
participant's tensors keep their own dtype, and values are rounded to it on the way back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from proofs.errors import Misuse
from protocols.policy import TensorSpec
from protocols.steps.doubles import Doubles
from verifl.config import Config
from verifl.training.memory_sharing import Sharing, sharing
from verifl.training.module_state import State, checked_state, state_of
from verifl.training.patterns import matches, no_match
from verifl.training.roles import Roles, roles_of

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

    trainable_only: only parameters with requires_grad (frozen layers and all buffers stay local). local: "statistics"
    or "normalisations" stay local, too (`verifl.training.roles`). personal: patterns of what each client keeps.
    nonnegative: patterns of tensors that are variances, beside those of `verifl.training.roles`; the server step clamps
    their aggregate at zero.
    """

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    trainable_only: bool = False
    nonnegative: tuple[str, ...] = VARIANCES
    personal: tuple[str, ...] = ()
    local: str = "nothing"

    def selects(self, name: str, tensor: Tensor, roles: Roles) -> bool:
        """Whether the tensor travels, its dtype aside."""
        if self.keeps(name, tensor, roles):
            return False
        if self.trainable_only and not (isinstance(tensor, nn.Parameter) and tensor.requires_grad):
            return False
        return matches(name, self.include) and not matches(name, self.exclude)

    def keeps(self, name: str, tensor: Tensor, roles: Roles) -> bool:
        """Whether each client keeps a tensor of its own by `local` or `personal`."""
        held = {"statistics": roles.measured, "normalisations": roles.normalisations}.get(self.local, frozenset[int]())
        return id(tensor) in held or matches(name, self.personal)


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
    """The layout of `model` under `rule`; raises Misuse when nothing travels, or naming a tensor that cannot."""
    rule = rule or TensorFilter()
    state = checked_state(model)
    _check_patterns(state, rule)
    shared = sharing(state)
    roles = roles_of(model)
    named = dict(_distinct_tensors(state, rule, shared, roles))
    _check_overlaps(named, shared)
    if not named:
        frozen = ", or set requires_grad where `trainable_only` looks for it" if rule.trainable_only else ""
        raise Misuse(f"tensors: no float tensor of the model travels; widen `include` or narrow `exclude`{frozen}")
    return TensorLayout(tuple(_spec(name, tensor, rule, roles) for name, tensor in named.items()))


def local_names(state: State, layout: TensorLayout) -> tuple[str, ...]:
    """The tensors whose memory does not travel, under any name, each by its first name."""
    shared = sharing(state)
    travelling = {shared.first(spec.name) for spec in layout.specs}
    carried = {part for part, whole in shared.within if whole in travelling}
    return tuple(
        name
        for name, tensor in state.items()
        if name not in shared.same and name not in travelling | carried and tensor.numel() > 0
    )


def read_vector(model: nn.Module, layout: TensorLayout) -> Doubles:
    """The travelling tensors as one float64 vector of shape (d,); NaN and infinities are passed on as they are."""
    state = state_of(model)
    vector = np.empty(layout.dimension, dtype=np.float64)
    for spec, where in layout.slices():
        tensor = _find(state, spec)
        vector[where] = tensor.detach().to(device="cpu", dtype=torch.float64).reshape(-1).numpy()
    return vector


def read_initial(model: nn.Module, layout: TensorLayout) -> Doubles:
    """`read_vector` of a model as its task made it; raises Misuse, naming the tensor, for NaN and infinities."""
    vector = read_vector(model, layout)
    for name, count in _not_finite(vector, layout):
        raise Misuse(
            f"model: tensor {name!r} holds {count} NaN or infinite values before any training, expected finite "
            "numbers; initialise it in the task's model(), or exclude it in [tensors] if it is a constant"
        )
    return vector


def write_vector(model: nn.Module, layout: TensorLayout, vector: Doubles) -> None:
    """Copy a float64 vector of shape (d,) into the model in place, rounding to each tensor's dtype and device.

    Raises Misuse when the vector has another length or a value is not finite in the tensor's dtype (a float16
    overflow); the model is then unchanged.
    """
    if vector.shape != (layout.dimension,):
        raise Misuse(f"vector: the model has {layout.dimension} travelling coordinates, found shape {vector.shape}")
    state = state_of(model)
    pairs = [(_find(state, spec), rounded(spec, vector[where])) for spec, where in layout.slices()]
    with torch.no_grad():
        for tensor, values in pairs:
            tensor.copy_(values)


def check_finite(vector: Doubles, layout: TensorLayout, owner: str) -> None:
    """Raise Misuse naming `owner` and the first tensor that holds NaN or an infinity."""
    for name, count in _not_finite(vector, layout):
        raise Misuse(
            f"{owner}: tensor {name!r} holds {count} NaN or infinite values after training, expected finite "
            "numbers; lower the learning rate or check the data"
        )


def _not_finite(vector: Doubles, layout: TensorLayout) -> Iterator[tuple[str, int]]:
    """Tensors with NaN or infinities, and how many each has."""
    if np.isfinite(vector).all():
        return
    for spec, where in layout.slices():
        count = int(np.count_nonzero(~np.isfinite(vector[where])))
        if count:
            yield spec.name, count


def _distinct_tensors(state: State, rule: TensorFilter, shared: Sharing, roles: Roles) -> Iterator[tuple[str, Tensor]]:
    """Selected float tensors by first name; the same memory under a second name is the same tensor."""
    seen: set[str] = set()
    for name, tensor in state.items():
        if not rule.selects(name, tensor, roles) or not (tensor.is_floating_point() or tensor.is_complex()):
            continue
        _check_supported(name, tensor)
        first = shared.first(name)
        if tensor.numel() > 0 and first not in seen:
            seen.add(first)
            yield name, tensor


def _check_supported(name: str, tensor: Tensor) -> None:
    if tensor.dtype not in DTYPES:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise Misuse(
            f"tensors: {name!r} is {kind}, expected {', '.join(DTYPES.values())}; exclude it in [tensors] or convert it"
        )


def _check_overlaps(named: Mapping[str, Tensor], shared: Sharing) -> None:
    """What travels is written as one piece and comes from one place. A local view of it is no tensor of its own, and
    follows it; any other overlap would be averaged twice, or written over by a client's own values."""
    owners = {shared.first(name): name for name in named}
    for name in shared.folded:
        if name in named:
            raise Misuse(
                f"tensors: several elements of {name!r} are one memory cell (it was made with expand()), so that "
                "nothing can be written into it; clone() it in model(), or exclude it in [tensors]"
            )
    for part, whole in shared.within:
        if part in owners and whole in owners:
            _refuse_overlap(owners[part], owners[whole], f", or exclude {owners[part]!r} in [tensors]")
        if part in owners:
            raise Misuse(
                f"tensors: {owners[part]!r} travels, and is a part of {whole!r}, which does not; give one of them its "
                "own memory with clone() in model(), or exclude both or none"
            )
    for one, other in shared.across:
        if one in owners or other in owners:
            _refuse_overlap(owners.get(one, one), owners.get(other, other), "")


def _refuse_overlap(one: str, other: str, also: str) -> NoReturn:
    raise Misuse(
        f"tensors: {one!r} and {other!r} share part of their memory; give one of them its own with clone() in "
        f"model(){also}"
    )


def _check_patterns(state: State, rule: TensorFilter) -> None:
    names = list(state)
    own = [pattern for pattern in rule.nonnegative if pattern not in VARIANCES]  # many models have no variances
    for pattern in (*rule.include, *rule.exclude, *rule.personal, *own):
        if pattern != "*" and not any(matches(name, [pattern]) for name in names):
            raise Misuse(f"tensors: {no_match(pattern, names, 'of the model')}")


def _spec(name: str, tensor: Tensor, rule: TensorFilter, roles: Roles) -> TensorSpec:
    return TensorSpec(
        name=name,
        shape=tuple(tensor.shape),
        dtype=DTYPES[tensor.dtype],
        nonnegative=id(tensor) in roles.variances or matches(name, rule.nonnegative),
        role=roles.role(tensor),
    )


def _find(state: State, spec: TensorSpec) -> Tensor:
    tensor = state.get(spec.name)
    found = None if tensor is None else (tuple(tensor.shape), DTYPES.get(tensor.dtype))
    if tensor is None or found != (spec.shape, spec.dtype):
        raise Misuse(
            f"model: tensor {spec.name!r} should be {spec.dtype} of shape {spec.shape}, found {found or 'nothing'}; "
            "the architecture must not change during the federation"
        )
    return tensor


def rounded(spec: TensorSpec, values: Doubles) -> Tensor:
    """A tensor of the participants' type and shape; raises Misuse where a value is not finite in it."""
    dtype = next(dtype for dtype, name in DTYPES.items() if name == spec.dtype)
    tensor = torch.from_numpy(np.array(values)).to(dtype).reshape(spec.shape)
    if not bool(torch.isfinite(tensor).all()):
        raise Misuse(f"model: a value of tensor {spec.name!r} is not finite in {spec.dtype}; use float32 or bfloat16")
    return tensor


def tensor_filter(config: Config) -> TensorFilter:
    """The `[tensors]` table as a filter."""
    rule = config.tensors
    return TensorFilter(rule.include, rule.exclude, rule.trainable_only, rule.nonnegative, rule.personal, rule.local)
