"""The tasks that come with this distribution, by the names that configurations and the demonstration have for them."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.registry import Registry


@dataclass(frozen=True)
class BuiltInTask:
    """clip_norm: the L2 bound on updates that suits it, in the model's units, as `verifl measure` proposes it
    (docs/training.md); where a configuration of this task has none, it is that."""

    name: str
    clip_norm: float

    @property
    def function(self) -> str:
        """The module of `verifl.tasks`, and the function in it, that makes the task for a number of sites and a seed.
        It is imported when the task is made: it needs torch and the data."""
        return self.name.replace("-", "_")


BUILT_IN_TASKS: Registry[BuiltInTask] = Registry(
    "built-in task",
    "built-in-task",
    (BuiltInTask("breast-cancer", 1.7), BuiltInTask("digits", 8.9), BuiltInTask("breast-cancer-logistic", 1.2)),
    lambda task: task.name,
)
PRIVATE_DATASET = "breast-cancer-logistic"  # so few coordinates that many sites learn through noise
FIRST = BUILT_IN_TASKS.names[0]  # what the demonstration runs, and messages give as an example
