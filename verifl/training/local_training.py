"""One client's turn: global tensors in, the user's loop, tensors out."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from reprlib import repr as shortened
from typing import Any

import torch
from torch import Tensor, nn

from proofs.errors import Misuse
from protocols.steps.doubles import Doubles
from verifl.tasks.base import Task
from verifl.tasks.in_place import check_in_place
from verifl.tasks.loading import build_model, finishing, weighing_task
from verifl.tasks.seeding import seeded
from verifl.tasks.surroundings import surroundings_of
from verifl.tasks.turns import Turn, takes
from verifl.tasks.user_code import ClientFailed, client_code, user_code
from verifl.tasks.weighing import weigh
from verifl.training.fresh_models import FreshModels
from verifl.training.initial_files import vector_of
from verifl.training.memory_sharing import sharing
from verifl.training.model_files import file_names
from verifl.training.module_state import check_loading, hidden_parameters, kind_of, state_of, unusual
from verifl.training.own_tensors import NOTHING, Kept
from verifl.training.ranks import ranks_of, train_on
from verifl.training.running_statistics import local_statistics, personal_tensors
from verifl.training.task_state import ClientStates
from verifl.training.tensors import (
    TensorFilter,
    TensorLayout,
    describe,
    local_names,
    read_initial,
    read_vector,
    write_vector,
)

_LOGGER = logging.getLogger(__name__)


class LocalTraining:
    """Runs a task's clients one after another.

    Every turn and every evaluation gets a module of its own, as the task's model() made it, with the global tensors
    in it; nothing else that another turn did to its module reaches it. Tensors that do not travel (integer buffers,
    filtered tensors) are each client's own: they start as in the initial model, and what a client's training made of
    them is kept for its next turn; so is what train() left in its `state`, if it takes one.
    """

    def __init__(
        self,
        task: Task[Any],
        rule: TensorFilter,
        device: str,
        seed: int,
        weighed: bool = False,
        rounds: int | None = None,
    ) -> None:
        """Build the model; raises Misuse where the task's model() fails or nothing of it can travel.

        weighed: whether the task is asked how much each client's data count; Misuse where it does not say. rounds: how
        many there are to be, for a train() that wants to know.
        """
        self._task, self._seed, self._finish = task, seed, finishing(task)
        self._weighing = weighing_task(task) if weighed else None
        self._measured: dict[str, float] = {}
        self._surroundings = surroundings_of(task)
        model = self._build()
        self.layout: TensorLayout = describe(model, rule)
        file_names(model)  # what could not be written at the end is refused now
        state = state_of(model)
        self._local = local_names(state, self.layout)
        self.statistics = local_statistics(model, self.layout)
        self.personal = personal_tensors(model, self.layout, rule)
        self._buffers = {name for name in self._local if _is_float_buffer(state[name])} - set(self.statistics)
        self._kinds = {name: kind_of(state[name]) for name in self._local}
        self._models = FreshModels(model, self._build, self._local, device)
        self._architecture = _architecture(model)
        self._own: dict[str, dict[str, Tensor]] = {}
        self._not_finite: set[str] = set()  # metrics that were told of
        self._device, self._rounds, self._takes_turn = device, rounds, takes(task.train, "turn")
        self._states = ClientStates(task.train, sum(tensor.nbytes for tensor in state.values()), device)
        check_loading(self._models.fresh(), [spec.name for spec in self.layout.specs])
        self._check_hidden(model)
        self._ranks = ranks_of(task)
        if self._ranks is not None and self._states.taken:
            raise Misuse(
                "task: processes: train() takes `state`, which one process alone can keep; use one or the other"
            )

    def initial(self) -> Doubles:
        """The travelling tensors as the task initialised them, float64 (d,); of one that was started from a file, those
        of the file.

        Raises Misuse naming the tensor where they are not finite.
        """
        exact = vector_of(self._task, self.layout)
        return read_initial(self._models.fresh(), self.layout) if exact is None else exact

    def train(self, client: str, model: Doubles, round_number: int) -> tuple[Doubles, Doubles]:
        """The travelling tensors before and after the client trained from `model`, both as its own dtypes hold them.

        Raises ClientFailed where the user's code fails, Misuse where it changed the architecture or left something in
        `state` that cannot be stored; the values may be NaN (see `verifl.training.update`).
        """
        state = self._states.arguments(client)
        module = self._with(model, self._own.get(client, {}))
        before = read_vector(module, self.layout)
        with self._surroundings.entered():
            with seeded(self._seed, f"data {round_number} {client}"), client_code(client, "data"):
                data = self._task.data(client)
            self._weigh(client, data, round_number)
            with seeded(self._seed, f"train {round_number} {client}"), client_code(client, "train"):
                self._fit(module, client, data, state, round_number)
        self._check_architecture(module, client)
        after = read_vector(module, self.layout)
        self._own[client] = self._changed(module)
        self._states.keep(client, state)
        return before, after

    def _fit(self, module: nn.Module, client: str, data: Any, state: dict[str, Any], number: int) -> None:
        """The task's train(), in this process or in several."""
        turn = self._turn(number)
        if self._ranks is None:
            train: Callable[..., object] = self._task.train
            check_in_place(module, train(module, client, data, **state, **turn))
            return
        seeds = (self._seed, f"train {number} {client}")
        train_on(self._ranks, self._task, module, client, data, turn.get("turn"), seeds)

    def measured(self, client: str) -> float | None:
        """What the data of the client's turn weigh, as the task says; None where it is not asked."""
        return self._measured.get(client)

    def _weigh(self, client: str, data: Any, round_number: int) -> None:
        """Ask, before anything is trained: whose data weigh nothing takes no part."""
        if self._weighing is None:
            return
        self._measured[client] = weigh(self._weighing, client, data, self._seed, round_number)
        if self._measured[client] == 0:
            raise ClientFailed(client, "abstains: its data weigh 0", abstained=True)

    def _turn(self, number: int) -> dict[str, Any]:
        return {"turn": Turn(number, self._rounds, self._seed, self._device)} if self._takes_turn else {}

    def changed_buffers(self, client: str) -> tuple[str, ...]:
        """The float buffers among what the client's training made of tensors that do not travel: not parameters, nor
        running statistics, of which a warning comes before."""
        return tuple(name for name in self._own.get(client, {}) if name in self._buffers)

    def kept(self, client: str) -> Kept:
        """What the client's training left for its next turn; nothing of a task by which no client leaves anything."""
        from safetensors.torch import save

        if not self._local and not self._states.taken:
            return NOTHING
        return Kept(save(self._own.get(client, {})), self._states.encoded(client))

    def restore(self, client: str, kept: Kept) -> None:
        """Take up what `kept` gave after an earlier turn, perhaps in another process; nothing before the first.

        Raises Misuse naming the tensor where the model has none like it any more.
        """
        from safetensors.torch import load

        self._states.restore(client, kept.state)
        own = load(kept.tensors) if kept.tensors else {}
        for name, tensor in own.items():
            found = self._kinds.get(name, "none of that name")
            if found != kind_of(tensor):
                raise Misuse(
                    f"client {client}: its own tensor {name!r} was {kind_of(tensor)}, found {found} in the model; the "
                    "architecture must not change during the federation"
                )
        self._own[client] = own

    def forget(self, client: str) -> None:
        """Let go of what a client keeps for itself, once it is kept elsewhere."""
        self._own.pop(client, None)
        self._measured.pop(client, None)
        self._states.forget(client)

    def evaluate(self, model: Doubles, number: int = 0) -> dict[str, float]:
        """The task's metrics of the global model after a round, with the initial local tensors; 0 is before the first.

        Of the model that the task's finish() makes of it, if it has one: see `finished`. Warns once of each metric that
        is no finite number.
        """
        return self.judge(self.finished(model), number)

    def judge(self, module: nn.Module, number: int) -> dict[str, float]:
        """The task's metrics of a module as it is; as `evaluate`."""
        with (
            self._surroundings.entered(),
            seeded(self._seed, "evaluate"),
            user_code("task: evaluate() failed"),
        ):
            metrics: object = self._task.evaluate(module)
            if not isinstance(metrics, Mapping):
                raise Misuse(
                    f"task: evaluate() returned {shortened(metrics)}, expected a mapping from names to numbers; "
                    "return {} for no metrics"
                )
            numbers = {str(name): _number(name, value) for name, value in metrics.items()}
        self._tell_not_finite(numbers, number)
        return numbers

    def _tell_not_finite(self, metrics: Mapping[str, float], number: int) -> None:
        for name, value in metrics.items():
            if not math.isfinite(value) and name not in self._not_finite:
                self._not_finite.add(name)
                _LOGGER.warning(
                    "round %d: evaluate() says %s for %r; metrics.jsonl has null for it, and this is told once",
                    number,
                    value,
                    name,
                    extra={"fields": {"event": "metric-not-finite", "round": number, "metric": name}},
                )

    def load(self, model: Doubles) -> nn.Module:
        """A module with a global model in it, and the initial local tensors: what the log has."""
        return self._with(model, {})

    @property
    def finishes(self) -> bool:
        """Whether the task does something to a model before it is evaluated and written."""
        return self._finish is not None

    def finished(self, model: Doubles) -> nn.Module:
        """`load`, and what the task's finish() makes of it: the same each time, as far as it takes randomness from the
        global generators. Raises Misuse where it fails, or changes the architecture."""
        module = self._with(model, {})
        if self._finish is not None:
            with self._surroundings.entered(), seeded(self._seed, "finish"), user_code("task: finish() failed"):
                _check_finished(module, self._finish(module))
            found = _architecture(module)
            for name in (*self._architecture, *found):
                if found.get(name) != self._architecture.get(name):
                    raise Misuse(
                        f"task: finish() changed the architecture of the model: {name!r}; it may only change values"
                    )
        return module

    def _build(self) -> nn.Module:
        with self._surroundings.entered(keep=True), seeded(self._seed, "model"):
            return build_model(self._task)

    def _with(self, model: Doubles, own: Mapping[str, Tensor]) -> nn.Module:
        """A fresh module with the global tensors and a client's own."""
        module = self._models.fresh()
        write_vector(module, self.layout, model)
        state = state_of(module)
        with torch.no_grad():
            for name, value in own.items():
                if name in state and state[name].is_contiguous():
                    state[name].copy_(value)
                elif name in state:
                    state[name].data = value.to(state[name].device)  # expanded: nothing can be written into its cells
        return module

    def _changed(self, module: nn.Module) -> dict[str, Tensor]:
        state = state_of(module)
        return {
            name: state[name].detach().cpu().contiguous().clone()
            for name in self._local
            if self._models.changed(name, state[name])
        }

    def _check_architecture(self, module: nn.Module, client: str) -> None:
        """Training may change values and nothing else: every tensor keeps its name, kind, shape and ties."""
        found = _architecture(module)
        for name in (*self._architecture, *found):
            expected, there = self._architecture.get(name, "no such tensor"), found.get(name, "no such tensor")
            if there != expected:
                raise Misuse(
                    f"client {client}: train() changed the architecture of the model: {name!r}: expected {expected}, "
                    f"found {there}{self._explained(state_of(module).get(name), expected)}"
                )

    def _explained(self, tensor: Tensor | None, expected: str) -> str:
        if tensor is None or self._models.is_home(tensor) or not expected.startswith(f"{kind_of(tensor)}, "):
            return "; it may only change values"
        return (
            f" on {tensor.device}; tensors that share memory come apart on their way to another device, unless they "
            "are one parameter: make them one, or compute one from the other in forward()"
        )

    def _check_hidden(self, model: nn.Module) -> None:
        hidden = sorted(set(hidden_parameters(model)))
        if hidden:
            _LOGGER.warning(
                "tensors: %s: no registered parameter of the model, so that it neither travels nor stays with a "
                "client; every turn starts from its first value; use nn.ModuleList, nn.ModuleDict or nn.ParameterList",
                f"{hidden[0]!r}{f' and {len(hidden) - 1} more' if hidden[1:] else ''}",
                extra={"fields": {"event": "unregistered", "tensors": hidden}},
            )


def _architecture(model: nn.Module) -> dict[str, str]:
    """What may not change of a model, in words, for every tensor of its state."""
    state = state_of(model)
    shared = sharing({name: tensor for name, tensor in state.items() if not unusual(tensor)})
    return {name: kind_of(tensor) + shared.words(name) for name, tensor in state.items()}


def _check_finished(module: nn.Module, returned: object) -> None:
    try:
        check_in_place(module, returned)
    except Misuse as error:
        raise Misuse(f"task: finish(): {error}") from None


def _is_float_buffer(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not isinstance(tensor, nn.Parameter)


def _number(name: object, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        found = " ".join(shortened(value).split())
        raise Misuse(f"task: evaluate() returned {found} for {name!r}, expected one number for each name") from error
