"""From the `[task]` table of a configuration to a `Task`, with one clear line for each way a task file can be wrong."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from reprlib import repr as shortened
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from proofs.errors import Misuse
from protocols.weights import EQUAL
from verifl.built_in import BUILT_IN_TASKS
from verifl.config import Config, TaskConfig
from verifl.tables import SHOWN
from verifl.tasks.base import METHODS, Task, WeighingTask
from verifl.tasks.seeding import seeded
from verifl.tasks.surroundings import OURS, TaskSurroundings, hidden_names, remember, surroundings_of
from verifl.tasks.user_code import user_code

if TYPE_CHECKING:
    from torch import nn

FUNCTION = "task"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_FROM_FILES: set[str] = set()  # the names of modules that are tasks


def load_task(config: Config, folder: Path) -> Task[Any]:
    """The built-in task of that name, or what `task()` of the user's file returns; paths are relative to `folder`.

    Raises Misuse when there is no `[task]`, or the file is missing, does not run, has no `task` function, or returns
    something incomplete.
    """
    if config.task is None:
        raise Misuse("task: missing, expected a table [task] with `name` or `file`")
    if config.task.file is None:
        return _built_in(config.task, config.federation.seed)
    path = folder / config.task.file
    surroundings = TaskSurroundings(hidden_names(path.parent))
    with surroundings.entered(keep=True), seeded(config.federation.seed, "task"):
        task = checked_task(_call(load_file(path, "task.file"), path), str(path))
    remember(task, surroundings)
    return task


def checked_task(task: object, where: str) -> Task[Any]:
    """`task` itself; raises Misuse naming the first method of the protocol it lacks, or that takes other arguments."""
    if task is None:
        raise Misuse(f"{where}: task() returned None, expected a task; does it end with `return`?")
    for method, arguments in METHODS.items():
        if not callable(getattr(task, method, None)):
            raise Misuse(
                f"{where}: the task is a {type(task).__name__} without the method {method}(); a task has "
                f"{', '.join(METHODS)}"
            )
        _check_arguments(getattr(task, method), f"{where}: {method}", arguments)
    if (finish := getattr(task, "finish", None)) is not None:
        if not callable(finish):
            raise Misuse(f"{where}: finish: expected a method that is called with (model), found {SHOWN.repr(finish)}")
        _check_arguments(finish, f"{where}: finish", ("model",))
    return cast(Task[Any], task)


def finishing(task: Task[Any]) -> Callable[[nn.Module], object] | None:
    """The task's `finish`; None where it has none."""
    finish: object = getattr(task, "finish", None)
    return cast("Callable[[nn.Module], object]", finish) if callable(finish) else None


def weighing_task(task: Task[Any]) -> WeighingTask[Any]:
    """The task as one that says how much a client's data count; raises Misuse where it does not."""
    if not isinstance(task, WeighingTask) or not callable(task.weight):
        raise Misuse(
            f"weights.kind: weights need a task with a method weight(client, data), and {type(task).__name__} has "
            f'none; add one that returns the number of samples, or use kind = "{EQUAL.name}"'
        )
    _check_arguments(task.weight, "task: weight", ("client", "data"))
    return task


def _check_arguments(method: Callable[..., object], name: str, arguments: tuple[str, ...]) -> None:
    try:
        signature = inspect.signature(method)
    except (TypeError, ValueError):  # of compiled code, for instance: the call will show
        return
    trains = "model" in arguments and "data" in arguments
    for more in ((), ("state",), ("turn",), ("state", "turn")) if trains else ((),):
        try:
            signature.bind(*arguments, **dict.fromkeys(more))
        except TypeError:
            continue
        return
    optional = ", and `state` and `turn` if it likes," if trains else ""
    taken = ", ".join(signature.parameters)
    raise Misuse(
        f"{name}({taken}): expected a method that is called with ({', '.join(arguments)}){optional} beside self"
    )


def client_names(task: Task[Any]) -> tuple[str, ...]:
    """The task's clients as plain text, checked, ascending; raises Misuse for no names, a bad or a repeated one.

    A name may be of a class derived from `str`, as numpy, pandas and Enum have them: its characters count.
    """
    ids = sorted(map(_client_name, _given_names(task)))
    repeated = [first for first, second in pairwise(ids) if first == second]
    if repeated:
        raise Misuse(f"task: client name {repeated[0]!r} appears twice; names identify clients")
    return tuple(ids)


def _client_name(given: object) -> str:
    name = str.__str__(given) if isinstance(given, str) else ""
    if not _NAME.fullmatch(name):
        raise Misuse(
            f"task: client name {shortened(given)} is not usable, expected 1 to 64 of a-z, 0-9, '.', '_', '-', "
            "starting with a letter or digit"
        )
    return name


def build_model(task: Task[Any]) -> nn.Module:
    """What the task's model() makes; raises Misuse where that fails or is no model."""
    from torch import nn

    with user_code("task: model() failed"):
        model: object = task.model()
    if not isinstance(model, nn.Module):
        raise Misuse(f"task: model() returned {shortened(model)}, expected a torch.nn.Module")
    return model


def _given_names(task: Task[Any]) -> Sequence[object]:
    with surroundings_of(task).entered(keep=True), user_code("task: clients() failed"):
        given: object = task.clients()
        names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str | bytes) else None
    if names is None:
        raise Misuse(f"task: clients() returned {shortened(given)}, expected a list of names")
    if not names:
        raise Misuse("task: clients() returned no names, expected one for every client")
    return names


def _built_in(config: TaskConfig, seed: int) -> Task[Any]:
    function = BUILT_IN_TASKS.find(cast(str, config.name)).function
    make: Callable[[int, int], Task[Any]] = getattr(importlib.import_module(f"verifl.tasks.{function}"), function)
    return make(config.clients, seed)


def load_file(path: Path, where: str) -> ModuleType:
    """Run the file as the module that `import` finds in its folder, as worker processes do.

    Raises Misuse that begins with `where` if it is missing, has no name of a module's of its own, or does not run.
    """
    if not path.is_file():
        raise Misuse(f"{where}: no file {path}; write one (`verifl init DIR` makes an example) or correct the path")
    spec = importlib.util.spec_from_file_location(path.stem, path.absolute())
    if spec is None or spec.loader is None:
        raise Misuse(f"{where}: {path} is not a Python file; expected a name that ends in .py")
    _check_module_name(path, where)
    module = importlib.util.module_from_spec(spec)
    folder = str(path.parent.resolve())
    if folder in sys.path:
        sys.path.remove(folder)
    sys.path.insert(0, folder)
    sys.modules[path.stem] = module
    _FROM_FILES.add(path.stem)
    with user_code(f"{where}: {path} does not run"):
        spec.loader.exec_module(module)
    return module


def _check_module_name(path: Path, where: str) -> None:
    """The file's name must be free for a module: what has it already would be found instead of it, or the reverse."""
    name = path.stem
    if name in sys.stdlib_module_names or name in OURS:
        whose = "verifl" if name in OURS else "Python"
        raise Misuse(f"{where}: {path} has the name of a module of {whose}'s own; rename it, to task.py for example")
    if "." in name:
        raise Misuse(f"{where}: {path} cannot be imported, for the dot in {name!r}; rename it, to task.py say")
    there = sys.modules.get(name)
    if there is not None and name not in _FROM_FILES:
        used = getattr(there, "__file__", None) or "built in"
        raise Misuse(
            f"{where}: {path} has the name of a module that is in use ({used}); rename it, to task.py for example"
        )


def _call(module: ModuleType, path: Path) -> object:
    function = getattr(module, FUNCTION, None)
    if not callable(function):
        raise Misuse(f"task.file: {path} has no function {FUNCTION}(); define `def {FUNCTION}():` that returns a task")
    with user_code(f"task.file: {path}: {FUNCTION}() failed"):
        return cast(object, function())
