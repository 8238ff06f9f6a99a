"""A model without a task: of a `module:Net`, where training and data are an application's own, elsewhere."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Never, cast

from proofs.errors import Misuse
from verifl.tasks.loading import load_file
from verifl.tasks.seeding import seeded
from verifl.tasks.surroundings import TaskSurroundings, hidden_names, remember
from verifl.tasks.user_code import user_code

if TYPE_CHECKING:
    from torch import nn


class BareModel:
    """A task of which only clients() and model() mean anything; it has no metrics, and nobody trains by it."""

    def __init__(self, clients: Sequence[str], model: Callable[[], nn.Module]) -> None:
        self._clients, self._model = tuple(clients), model

    def clients(self) -> Sequence[str]:
        """See `Task.clients`."""
        return self._clients

    def model(self) -> nn.Module:
        """See `Task.model`."""
        return self._model()

    def data(self, client: str) -> Never:
        """Raises Misuse."""
        raise Misuse(f"client {client}: there is a model only, and no task that says what to train on")

    def train(self, model: nn.Module, client: str, data: object) -> None:  # noqa: ARG002  as of `Task`
        """Raises Misuse."""
        raise Misuse(f"client {client}: there is a model only, and no task that says how to train it")

    def evaluate(self, model: nn.Module) -> Mapping[str, float]:  # noqa: ARG002  as of `Task`
        """None: see `Task.evaluate`."""
        return {}


def named_model(name: str, clients: Sequence[str], seed: int) -> BareModel:
    """The model that `module:Net` or `FILE.py:Net` makes when it is called without arguments.

    A module is looked for in the working directory first, as `python -m` does. Raises Misuse for another name, or where
    there is no such thing, or it fails.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute.isidentifier():
        raise Misuse(f"--model: expected MODULE:NAME or FILE.py:NAME, such as my_app.task:Net, found {name!r}")
    surroundings = TaskSurroundings(hidden_names(Path(place).parent if place.endswith(".py") else Path()))
    with surroundings.entered(keep=True), seeded(seed, "task"):
        module = load_file(Path(place), "--model") if place.endswith(".py") else _imported(place)
        made: object = getattr(module, attribute, None)
    if not callable(made):
        raise Misuse(f"--model: {place} has nothing to be called by the name {attribute!r}")
    task = BareModel(clients, cast("Callable[[], nn.Module]", made))
    remember(task, surroundings)
    return task


def _imported(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise Misuse(f"--model: expected the name of a module before the colon, such as my_app.task, found {name!r}")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    with user_code(f"--model: {name} cannot be imported"):
        return importlib.import_module(name)
