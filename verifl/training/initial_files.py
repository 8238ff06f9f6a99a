"""The initial model as a file beside the policy: written when the policy is signed, and what parties may start from.

It is a `model.safetensors` of the whole state (`verifl.training.model_files`). Who has no task, such as the coordinator
of an application, needs nothing else; who has one puts the file's values into the model that the task makes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from proofs.errors import Misuse
from protocols.policy import TensorSpec
from protocols.steps.doubles import Doubles
from verifl.tasks.bare_models import BareModel
from verifl.tasks.loading import build_model
from verifl.tasks.surroundings import remember, surroundings_of
from verifl.training.model_files import encode_state, file_names
from verifl.training.module_state import state_of, unusual
from verifl.training.tensors import DTYPES

if TYPE_CHECKING:
    from verifl.tasks.base import Task
    from verifl.training.local_training import LocalTraining

SUFFIX = ".initial.safetensors"


def initial_file(training: LocalTraining, initial: Doubles) -> bytes:
    """The model that rounds start from, as a file."""
    return encode_state(training.load(initial))


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
        _require(path, spec.name, _kind(spec.dtype, spec.shape), held.get(spec.name))
    return BareModel(clients, lambda: _module(held, [spec.name for spec in tensors]))


class _Started:
    """See `started_from`."""

    def __init__(self, task: Task[Any], path: Path) -> None:
        self._task, self._path, self._held = task, path, _read(path)
        self.clients, self.data, self.train, self.evaluate = task.clients, task.data, task.train, task.evaluate

    def model(self) -> nn.Module:
        """The task's, with the file's values in it."""
        made = build_model(self._task)
        state, names = state_of(made), file_names(made)
        for name in sorted(self._held.keys() - names.values()):
            raise Misuse(f"{self._path}: has {name!r}, which the task's model has not; it is the file of another model")
        with torch.no_grad():
            for name, tensor in state.items():
                if name in names and not unusual(tensor):
                    found = self._held.get(names[name])
                    _require(self._path, names[name], _kind_of(tensor), found)
                    _fill(tensor, found)
        return made


def _read(path: Path) -> Mapping[str, Tensor]:
    from safetensors.torch import load_file

    if not path.is_file():
        raise Misuse(f"{path}: no such file, expected the initial model that came with the policy (*{SUFFIX})")
    try:
        held: Mapping[str, Tensor] = load_file(str(path))
    except SafetensorError as error:
        raise Misuse(f"{path}: expected a safetensors file: {error}") from None
    return held


def _require(path: Path, name: str, expected: str, found: Tensor | None) -> None:
    there = "no such tensor" if found is None else _kind_of(found)
    if there != expected:
        raise Misuse(f"{path}: {name!r}: expected {expected}, found {there}; it is the file of another model")


def _kind_of(tensor: Tensor) -> str:
    return _kind(DTYPES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")), tuple(tensor.shape))


def _kind(dtype: str, shape: Sequence[int]) -> str:
    return f"{dtype} of shape {tuple(shape)}"


def _fill(tensor: Tensor, values: Tensor | None) -> None:
    if values is None:
        return
    if tensor.is_contiguous():
        tensor.copy_(values)
    else:
        tensor.data = values.to(tensor.device)  # expanded: nothing can be written into its cells


def _module(held: Mapping[str, Tensor], trained: Sequence[str]) -> nn.Module:
    """A module of these tensors, the trained ones first and in their order, which is that of the policy.

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
        owner._parameters[last] = nn.Parameter(held[name].clone(), requires_grad=name in trained)
    return root
