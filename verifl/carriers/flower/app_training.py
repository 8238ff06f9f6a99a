"""A turn of training by the application's own function: the verified model goes in as arrays, and out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord
from numpy.typing import NDArray
from safetensors import SafetensorError

from proofs.errors import Misuse
from protocols.blobs import blob_hash
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy, TensorSpec
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model
from verifl.enrolment.pins import check_initial
from verifl.tasks.seeding import seeded
from verifl.tasks.user_code import ClientFailed, client_code
from verifl.training.initial_files import bare_model
from verifl.training.local_training import LocalTraining
from verifl.training.own_tensors import NOTHING, Kept
from verifl.training.tensors import TensorFilter, TensorLayout

Tensors = dict[str, NDArray[np.generic]]  # by name
Trainer = Callable[[ArrayRecord], tuple[ArrayRecord, float | None]]
"""The application's training: from the model before to the model after, each under its names in the state; and on how
many examples, where it says so."""

EXAMPLES = "num-examples"  # the metric by which Flower's strategies weigh

_FLOATS = ("float16", "float32", "float64")


def flower_layout(policy: Policy) -> TensorLayout:
    """The policy's tensors; raises Misuse for a type that Flower's arrays have none for."""
    for spec in policy.tensors:
        if spec.dtype not in _FLOATS:
            raise Misuse(f"tensors: {spec.name!r} is {spec.dtype}, which Flower does not carry; use {_FLOATS[1]}")
    return TensorLayout(policy.tensors)


def whole_model(file: Path, pinned: PinnedPolicy) -> tuple[LocalTraining, Doubles]:
    """What turns a vector into a model file, by the file that came with the policy; and the model in that, float64
    (d,). Raises Misuse where it is not the policy's."""
    policy = pinned.policy
    check_initial(policy, file)
    task = bare_model(file, policy.tensors, [member.id for member in policy.roster])
    training = LocalTraining(task, TensorFilter(trainable_only=True), "cpu", 0)
    initial = training.initial()
    if blob_hash(encode_model(initial)) != policy.initial_model:
        raise Misuse(f"{file}: is not the model that the policy pins; give the file that came with the policy")
    return training, initial


def arrays_of(layout: TensorLayout, model: Doubles) -> tuple[Doubles, Tensors]:
    """A model, float64 (d,), as the application holds it, and its tensors by name: each value rounded to its type."""
    vector, tensors = np.empty_like(model), {}
    for spec, where in layout.slices():
        with np.errstate(over="ignore"):
            tensor = model[where].astype(spec.dtype).reshape(spec.shape)
        if not np.isfinite(tensor).all():
            raise Misuse(f"model: a value of tensor {spec.name!r} is not finite in {spec.dtype}; use float32")
        tensors[spec.name], vector[where] = tensor, tensor.reshape(-1)
    return vector, tensors


def own_tensors(initial: Path, layout: TensorLayout) -> Tensors:
    """What a client's own tensors are before its first turn, by the file that came with the policy; none without it.

    Raises Misuse for another file.
    """
    from safetensors.numpy import load_file

    if not initial.is_file():
        return {}
    try:
        held = load_file(str(initial))
    except SafetensorError as error:
        raise Misuse(f"{initial}: expected a safetensors file: {error}") from None
    names = {spec.name for spec in layout.specs}
    return {name: tensor for name, tensor in held.items() if name not in names}


class AppTraining:
    """What a `ClientAgent` trains by. seed: of the random numbers in the application's training, as a task's is.

    Arrays that the policy does not have (a counter, a frozen layer) stay with the client: they start as `own`, and what
    training made of them is kept for its next turn.
    """

    def __init__(self, layout: TensorLayout, trainer: Trainer, seed: int, own: Tensors) -> None:
        self.layout, self._trainer, self._seed, self._first = layout, trainer, seed, own
        self._own: Tensors = {}
        self._examples: float | None = None

    def restore(self, client: str, kept: Kept) -> None:  # noqa: ARG002  there is one client
        """See `LocalTraining.restore`."""
        from safetensors.numpy import load

        self._own = load(kept.tensors) if kept.tensors else dict(self._first)

    def train(self, client: str, model: Doubles, round_number: int) -> tuple[Doubles, Doubles]:
        """See `LocalTraining.train`."""
        before, tensors = arrays_of(self.layout, model)
        given = ArrayRecord(
            {name: Array(np.ascontiguousarray(each)) for name, each in {**tensors, **self._own}.items()}
        )
        with seeded(self._seed, f"train {round_number} {client}"), client_code(client, "train"):
            made, self._examples = self._trainer(given)
        after = np.empty_like(before)
        for spec, where in self.layout.slices():
            after[where] = _tensor(made, spec, client).reshape(-1)
        names = {spec.name for spec in self.layout.specs}
        self._own = {name: array.numpy() for name, array in made.items() if name not in names}
        return before, after

    def measured(self, client: str) -> float | None:  # noqa: ARG002
        """The examples that the application says it trained on; see `LocalTraining.measured`."""
        return self._examples

    def kept(self, client: str) -> Kept:  # noqa: ARG002
        """See `LocalTraining.kept`."""
        from safetensors.numpy import save

        return (
            Kept(save({name: np.ascontiguousarray(each) for name, each in self._own.items()}), b"")
            if self._own
            else NOTHING
        )

    def forget(self, client: str) -> None:  # noqa: ARG002
        """See `LocalTraining.forget`."""
        self._own = {}

    def changed_buffers(self, client: str) -> tuple[str, ...]:  # noqa: ARG002
        """See `LocalTraining.changed_buffers`."""
        return tuple(name for name, each in self._own.items() if np.issubdtype(each.dtype, np.floating))


def _tensor(made: ArrayRecord, spec: TensorSpec, client: str) -> NDArray[np.generic]:
    array = made.get(spec.name)
    tensor: NDArray[np.generic] | None = None if array is None else array.numpy()
    if tensor is None or tensor.shape != spec.shape or tensor.dtype.name != spec.dtype:
        found = "none" if tensor is None else f"{tensor.dtype} of shape {tensor.shape}"
        raise ClientFailed(
            client,
            f"the application returned for tensor {spec.name!r} {found}, expected {spec.dtype} of shape {spec.shape}",
        )
    return tensor
