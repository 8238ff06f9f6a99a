"""The initial model as a file beside the policy: written when the policy is signed, and what parties may start from.

It is a `model.safetensors` of the whole state (`verifl.training.model_files`). What travels is float64 in it where the
model's own types do not hold the vector: one that a server made, for a federation that goes on. Who has no task, as
the coordinator of an application, needs nothing else; who has one puts the file's values into the model that the task
makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from proofs.errors import Misuse
from protocols.policy import STATISTIC, TensorSpec
from protocols.steps.doubles import Doubles
from verifl.tasks.bare_models import BareModel
from verifl.tasks.base import WeighingTask
from verifl.tasks.loading import build_model, finishing
from verifl.tasks.surroundings import remember, surroundings_of
from verifl.training.model_files import encode_state, file_names, header_size
from verifl.training.module_state import state_of, unusual
from verifl.training.tensors import DTYPES, TensorLayout, read_vector

if TYPE_CHECKING:
    from verifl.tasks.base import Task
    from verifl.training.local_training import LocalTraining

SUFFIX = ".initial.safetensors"
_DEEPEST = 100  # modules within each other: torch walks them by recursion
_TOO_LONG = 1 << 63


def initial_file(training: LocalTraining, initial: Doubles) -> bytes:
    """The model that rounds start from, as a file."""
    model, layout = training.load(initial), training.layout
    if np.array_equal(read_vector(model, layout), initial):
        return encode_state(model, {})
    exact = {spec.name: torch.from_numpy(initial[where].reshape(spec.shape)) for spec, where in layout.slices()}
    return encode_state(model, exact)


def vector_of(task: object, layout: TensorLayout) -> Doubles | None:
    """The vector in the file that a task was started from, float64 (d,), however its model rounds it; None for a task
    that was not."""
    if not isinstance(task, _Started | _BareFile):
        return None
    held = [task.held(spec.name) for spec in layout.specs]
    parts = [each.to(torch.float64).reshape(-1).numpy() for each in held]
    return np.concatenate(parts)


def started_from(task: Task[Any], path: Path) -> Task[Any]:
    """`task`, whose models have the values of a file; model() raises Misuse where the file is of another model."""
    started = _Started(task, path)
    remember(started, surroundings_of(task))
    return started


def bare_model(path: Path, tensors: Sequence[TensorSpec], clients: Sequence[str]) -> BareModel:
    """The file's model by itself, without a task: its tensors by name, of which those of `tensors` can be trained.

    Raises Misuse where the file is none, or has not these tensors.
    """
    held = _read(path)
    for spec in tensors:
        _require(path, spec.name, spec.dtype, spec.shape, held.get(spec.name))
    return _BareFile(clients, held, tensors)


class _BareFile(BareModel):
    """See `bare_model`."""

    def __init__(self, clients: Sequence[str], held: Mapping[str, Tensor], tensors: Sequence[TensorSpec]) -> None:
        trained = {spec.name: spec for spec in tensors}
        super().__init__(clients, lambda: _module(held, trained))
        self.held = held.__getitem__
        self._start = {name: held[name] for name in trained}

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:
        """How far it is from the file's model: the L2 norm of the difference of what travels."""
        state = model.state_dict()
        moved = [state[name].double() - start.double() for name, start in self._start.items()]
        return {"distance": math.sqrt(sum(float(each.square().sum()) for each in moved))}


class _Started:
    """See `started_from`."""

    def __init__(self, task: Task[Any], path: Path) -> None:
        self._task, self._path, self._held = task, path, _read(path)
        self._names: Mapping[str, str] = {}
        self.clients, self.data, self.train, self.evaluate = task.clients, task.data, task.train, task.evaluate
        self.finish = finishing(task)
        if isinstance(task, WeighingTask):
            self.weight = task.weight

    def model(self) -> nn.Module:
        """The task's, with the file's values in it."""
        made = build_model(self._task)
        state, names = state_of(made), file_names(made)
        self._names = names
        for name in sorted(self._held.keys() - names.values()):
            raise Misuse(f"{self._path}: has {name!r}, which the task's model has not; it is the file of another model")
        with torch.no_grad():
            for name, tensor in state.items():
                if name in names and not unusual(tensor):
                    found = self._held.get(names[name])
                    _require(self._path, names[name], _dtype(tensor), tensor.shape, found)
                    _fill(tensor, found)
        return made

    def held(self, name: str) -> Tensor:
        """What the file has for a tensor of the model's state."""
        return self._held[self._names[name]]


def _read(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    _check_header(path)
    held: Mapping[str, Tensor] = load_file(str(path))
    return held


def _check_header(path: Path) -> None:
    """Names and shapes that a module can have, before it is made: the format itself bounds neither."""
    from safetensors import safe_open

    if not path.is_file():
        raise Misuse(f"{path}: no such file, expected the initial model that came with the policy (*{SUFFIX})")
    header_size(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 - a method of it
    except SafetensorError as error:
        raise Misuse(f"{path}: expected a safetensors file: {error}") from None
    for name, shape in shapes.items():
        if name.count(".") >= _DEEPEST:
            raise Misuse(f"{path}: {name[:40]!r}...: expected a name of at most {_DEEPEST} parts")
        if max(shape, default=0) >= _TOO_LONG:
            raise Misuse(f"{path}: {name!r}: expected a shape that a tensor can have, found {shape}")


def _require(path: Path, name: str, dtype: str, shape: Sequence[int], found: Tensor | None) -> None:
    """A tensor of this shape, and of this type or, where it is one that travels could have, of float64."""
    exact = found is not None and dtype in DTYPES.values() and _dtype(found) == "float64"
    expected = f"{dtype} of shape {tuple(shape)}"
    there = "no such tensor" if found is None else f"{dtype if exact else _dtype(found)} of shape {tuple(found.shape)}"
    if there != expected:
        raise Misuse(f"{path}: {name!r}: expected {expected}, found {there}; it is the file of another model")


def _dtype(tensor: Tensor) -> str:
    return DTYPES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))


def _fill(tensor: Tensor, values: Tensor | None) -> None:
    if values is None:
        return
    if tensor.is_contiguous():
        tensor.copy_(values)
    else:
        tensor.data = values.to(tensor.device)  # expanded: nothing can be written into its cells


def _module(held: Mapping[str, Tensor], trained: Mapping[str, TensorSpec]) -> nn.Module:
    """A module of these tensors, the trained ones first and in their order, which is that of the policy; of these it
    has the types and the roles.

    Parts are put where torch keeps them, as one may have the name of a module's own attribute (`training`).
    """
    root = nn.Module()
    for name in dict.fromkeys((*trained, *held)):
        *path, last = name.split(".")
        owner = root
        for part in path:
            child = owner._modules.get(part)
            if child is None:
                child = nn.Module()
                owner._modules[part] = child
            owner = child
        value = held[name].clone()
        if name in trained:
            value = value.to(next(each for each, named in DTYPES.items() if named == trained[name].dtype))
            _tell_role(owner, last, trained[name])
        owner._parameters[last] = nn.Parameter(value, requires_grad=name in trained)
    return root


def _tell_role(owner: nn.Module, name: str, spec: TensorSpec) -> None:
    """As a class of modules says it of itself: see `verifl.training.roles`."""
    for attribute, there in (("verifl_statistics", spec.role == STATISTIC), ("verifl_variances", spec.nonnegative)):
        if there:
            vars(owner)[attribute] = (*vars(owner).get(attribute, ()), name)
