"""One client's turn: global tensors in, the user's loop, tensors out."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from proofs.errors import Misuse
from verifl.tasks.base import Task
from verifl.tasks.loading import build_model
from verifl.tasks.user_code import client_code, user_code
from verifl.tensors import TensorFilter, TensorLayout, Vector, describe, read_initial, read_vector, write_vector

_LOGGER = logging.getLogger(__name__)


class LocalTraining:
    """Runs a task's clients one after another on one model in memory.

    Tensors that do not travel (integer buffers, filtered tensors) are each client's own: they start from the initial
    model, and what a client's training made of them is kept for its next turn.
    """

    def __init__(self, task: Task[Any], rule: TensorFilter, device: str, seed: int) -> None:
        """Build the model; raises Misuse where the task's model() fails or nothing of it can travel."""
        self._task, self._device, self._seed = task, device, seed
        self._reseed("model")
        self.model = build_model(task)
        self.layout: TensorLayout = describe(self.model, rule)
        with user_code(f"task: the model cannot be moved to {device}"):
            self.model.to(device)
        self._architecture = _architecture(self.model)
        self._initial = {name: tensor.detach().clone() for name, tensor in self._local_tensors().items()}
        self._own: dict[str, dict[str, Tensor]] = {}

    def initial(self) -> Vector:
        """The travelling tensors as the task initialised them, float64 (d,). Call before the first turn.

        Raises Misuse naming the tensor where they are not finite.
        """
        return read_initial(self.model, self.layout)

    def train(self, client: str, model: Vector, round_number: int) -> tuple[Vector, Vector]:
        """The travelling tensors before and after the client trained from `model`, both as its own dtypes hold them.

        Raises Misuse naming the client where the user's code fails; the values may be NaN (see `verifl.update`).
        """
        self._load(model, self._own.get(client, {}))
        before = read_vector(self.model, self.layout)
        self._reseed(f"train {round_number} {client}")
        with client_code(client, "data"):
            data = self._task.data(client)
        with client_code(client, "train"):
            self._task.train(self.model, client, data)
        self._check_architecture(client)
        after = read_vector(self.model, self.layout)
        if np.array_equal(before, after):
            _LOGGER.warning(
                "client %s in round %d: training changed nothing that is sent; train() changes the model in place",
                client,
                round_number,
                extra={"fields": {"event": "unchanged", "client": client, "round": round_number}},
            )
        self._own[client] = self._changed()
        return before, after

    def own_tensors(self, client: str) -> bytes:
        """What the client's training made of the tensors that do not travel (safetensors); empty if nothing."""
        from safetensors.torch import save

        own = {name: tensor.cpu().contiguous() for name, tensor in self._own.get(client, {}).items()}
        return save(own) if own else b""

    def restore_own(self, client: str, tensors: bytes) -> None:
        """Take up `own_tensors` of an earlier turn, perhaps in another process."""
        from safetensors.torch import load

        own = load(tensors) if tensors else {}
        self._own[client] = {name: tensor.to(self._device) for name, tensor in own.items()}

    def evaluate(self, model: Vector) -> dict[str, float]:
        """The task's metrics of a global model, with the initial local tensors."""
        self._load(model, {})
        with user_code("task: evaluate() failed"):
            metrics: object = self._task.evaluate(self.model)
            if not isinstance(metrics, Mapping):
                raise Misuse(
                    f"task: evaluate() returned {shortened(metrics)}, expected a mapping from names to numbers; "
                    "return {} for no metrics"
                )
            return {str(name): _number(name, value) for name, value in metrics.items()}

    def load(self, model: Vector) -> None:
        """Make `self.model` the global model."""
        self._load(model, {})

    def _load(self, model: Vector, own: Mapping[str, Tensor]) -> None:
        """The global tensors and a client's own; gradients of the client before are dropped."""
        write_vector(self.model, self.layout, model)
        self.model.zero_grad(set_to_none=True)
        with torch.no_grad():
            for name, tensor in self._local_tensors().items():
                tensor.copy_(own.get(name, self._initial[name]))

    def _local_tensors(self) -> dict[str, Tensor]:
        """By name, every tensor of the state that does not travel, under this or another name."""
        state = self.model.state_dict(keep_vars=True)
        travelling = {state[spec.name].data_ptr() for spec in self.layout.specs}
        return {
            name: tensor
            for name, tensor in state.items()
            if isinstance(tensor, Tensor) and tensor.data_ptr() not in travelling
        }

    def _changed(self) -> dict[str, Tensor]:
        return {
            name: tensor.detach().clone()
            for name, tensor in self._local_tensors().items()
            if not torch.equal(tensor, self._initial[name])
        }

    def _check_architecture(self, client: str) -> None:
        """Training may change values and nothing else: every tensor keeps its name, kind, shape and ties."""
        found = _architecture(self.model)
        for name in (*self._architecture, *found):
            expected, there = self._architecture.get(name, "no such tensor"), found.get(name, "no such tensor")
            if there != expected:
                raise Misuse(
                    f"client {client}: train() changed the architecture of the model: {name!r}: expected {expected}, "
                    f"found {there}; it may only change values"
                )

    def _reseed(self, purpose: str) -> None:
        """Torch's generators for one call of the user's code, from the configured seed."""
        digest = hashlib.sha256(f"{self._seed} {purpose}".encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def _architecture(model: nn.Module) -> dict[str, str]:
    """What may not change of a model, in words, for every tensor of its state."""
    first: dict[int, str] = {}
    found = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        kind = f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"
        owner = first.setdefault(tensor.data_ptr(), name) if tensor.numel() else name
        found[name] = kind if owner == name else f"{kind}, tied to {owner!r}"
    return found


def _number(name: object, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        found = " ".join(shortened(value).split())
        raise Misuse(f"task: evaluate() returned {found} for {name!r}, expected one number for each name") from error


def finite_or_none(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can carry them: NaN and infinities become null."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
