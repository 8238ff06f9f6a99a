"""The process around the user's code: what a call makes of it is the task's, and is undone when the call ends.

Working directory, umask, signal handlers, standard streams, switches of torch, numpy and logging: each of them belongs
to the whole process, and the next client, or verifl itself, would go on with what one call left. What a task sets while
it is loaded, or in clients() and model(), holds for all its calls.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from verifl.exports import HOMES

OURS = ("auditor", "proofs", "protocols", "verifl")
_ROOT = Path(__file__).resolve().parents[2]
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
_STREAMS = ("stdin", "stdout", "stderr")


@dataclass(frozen=True)
class Surroundings:
    """The process as it is at one moment, as far as code may change it."""

    directory: str | None
    umask: int
    handlers: dict[signal.Signals, Any]
    streams: tuple[Any, ...]
    logging: tuple[int, frozenset[str]]
    numpy: dict[str, Any]
    torch: tuple[Any, ...]

    @classmethod
    def now(cls) -> Surroundings:
        """As it is now."""
        directory = None
        with contextlib.suppress(FileNotFoundError):  # removed by somebody
            directory = os.getcwd()  # noqa: PTH109  Path.cwd() is the same, and slower
        return cls(
            directory,
            _umask(),
            {each: signal.getsignal(each) for each in _SIGNALS},
            tuple(getattr(sys, name) for name in _STREAMS),
            (logging.root.manager.disable, frozenset(name for name, each in _loggers().items() if each.disabled)),
            dict(np.geterr()),
            tuple(get() for get, _ in _switches()),
        )

    def resume(self) -> None:
        """Make the process so again in what a task chooses for itself: directory, numpy, torch."""
        now = Surroundings.now()
        if self.directory is not None and self.directory != now.directory:
            os.chdir(self.directory)
        np.seterr(**self.numpy)
        for (_, set_), value, changed in zip(_switches(), self.torch, now.torch, strict=True):
            if changed != value:
                set_(value)

    def restore(self) -> None:
        """Make the process so again."""
        self.resume()
        now = Surroundings.now()
        os.umask(self.umask)
        if threading.current_thread() is threading.main_thread():
            for each, handler in self.handlers.items():
                if handler is not None and handler != now.handlers[each]:
                    signal.signal(each, handler)
        for name, stream in zip(_STREAMS, self.streams, strict=True):
            setattr(sys, name, stream)
        logging.disable(self.logging[0])
        for name, logger in _loggers().items():
            logger.disabled = name in self.logging[1]


class TaskSurroundings:
    """What one task made of the process while it was loaded; `hidden`: see `hidden_names`."""

    def __init__(self, hidden: tuple[str, ...] = ()) -> None:
        self._hidden = hidden
        if hidden:
            _settle()
        self._modules: dict[str, ModuleType] = {}
        self._inside: Surroundings | None = None

    @contextmanager
    def entered(self, keep: bool = False) -> Iterator[None]:
        """The block runs as the task left the process; keep: what the block makes of it holds for later ones."""
        outside = Surroundings.now()
        if self._inside is not None:
            self._inside.resume()
        try:
            with self._own_modules():
                yield
        finally:
            if keep:
                self._inside = Surroundings.now()
            outside.restore()

    @contextmanager
    def _own_modules(self) -> Iterator[None]:
        """Imports of the hidden names find the task's modules, as they would in a script beside them."""
        if not self._hidden:
            yield
            return
        ours = self._taken()
        sys.modules.update(self._modules)
        try:
            yield
        finally:
            self._modules = self._taken()
            sys.modules.update(ours)

    def _taken(self) -> dict[str, ModuleType]:
        names = [name for name in sys.modules if name.partition(".")[0] in self._hidden]
        return {name: sys.modules.pop(name) for name in names}


def hidden_names(folder: Path) -> tuple[str, ...]:
    """Which modules beside a task file have the name of a package of verifl's, which would be found instead."""
    return tuple(
        name
        for name in OURS
        for file in (folder / f"{name}.py", folder / name / "__init__.py")
        if file.is_file() and file.resolve() != _ROOT / name / "__init__.py"
    )


def _settle() -> None:
    """Have all that a task's code may want of verifl before its names are hidden; and no worker process import the
    command that runs here, whose own imports would find the task's modules."""
    for name in dict.fromkeys(HOMES.values()):
        import_module(name)
    main = sys.modules["__main__"]
    if getattr(vars(main).get("main"), "__module__", None) == "verifl.__main__":
        main.__spec__ = None
        vars(main).pop("__file__", None)


_LOADED: list[tuple[object, TaskSurroundings]] = []  # of the task that was loaded last: a process runs one


def remember(task: object, surroundings: TaskSurroundings) -> None:
    """From now on the calls of `task` are made in these."""
    _LOADED[:] = [(task, surroundings)]


def surroundings_of(task: object) -> TaskSurroundings:
    """Those in which it was loaded; fresh ones for a task that came otherwise."""
    return next((each for owner, each in _LOADED if owner is task), TaskSurroundings())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _loggers() -> dict[str, logging.Logger]:
    """verifl's own: configuring logging disables those that are there, unless told otherwise."""
    known = logging.root.manager.loggerDict
    return {name: each for name, each in known.items()
            if name.partition(".")[0] == "verifl" and isinstance(each, logging.Logger)}  # fmt: skip


def _switches() -> list[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """How to read, and to set, every switch of torch that changes what later code computes."""
    import torch

    def device(name: str) -> None:
        torch.set_default_device(None if name == "cpu" else name)

    def deterministic(values: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(values[0], warn_only=values[1])

    def cudnn(values: tuple[bool, bool]) -> None:
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = values

    return [
        (torch.get_default_dtype, torch.set_default_dtype),
        (lambda: str(torch.get_default_device()), device),
        (torch.is_grad_enabled, torch.set_grad_enabled),
        (torch.get_num_threads, torch.set_num_threads),
        (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        (lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
         deterministic),
        (lambda: (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic), cudnn),
        (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    ]  # fmt: skip
