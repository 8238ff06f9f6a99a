"""The data sets of the comparison, each as a configuration's file and a task, made as a user makes them.

Built-in tasks have their defaults. The others are task files in `tasks/`: `verifl init`, the file in the place of
task.py, and `verifl measure --write`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from verifl import Config
from verifl.built_in import BUILT_IN_TASKS
from verifl.config import read_config
from verifl.tasks.base import Task
from verifl.tasks.loading import load_task

TASKS = Path(__file__).parent / "tasks"
LEAST = 8  # samples of the smallest client
LARGEST = 100  # W of the arms with weights: the configuration's own default


class Unequal:
    """A task whose clients have fewer and fewer of their samples: each half of what the one before it has."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def data(self, client: str) -> Any:
        """The first of the client's samples."""
        features, labels = self._task.data(client)
        kept = max(LEAST, len(labels) >> list(self._task.clients()).index(client))
        return features[:kept], labels[:kept]

    def weight(self, client: str, data: Any) -> int:
        """The number of samples."""
        return int(self._task.weight(client, data))


@dataclass(frozen=True)
class Dataset:
    """built_in: the task's name; "" for a file of `tasks/`. metric: by which the arms are compared."""

    name: str
    built_in: str = ""
    file: str = ""
    unequal: bool = False
    metric: str = "accuracy"


DATASETS: Mapping[str, Dataset] = {
    each.name: each
    for each in (
        Dataset("breast-cancer", "breast-cancer"),
        Dataset("digits", "digits"),
        Dataset("digits-unequal", "digits", unequal=True),
        Dataset("raw-features", file="raw_features.py"),
        Dataset("cover", file="cover.py"),
        Dataset("pixels", file="pixels.py"),
        Dataset("segmentation", file="segmentation.py", metric="dice"),
    )
}


@dataclass(frozen=True)
class Prepared:
    """A task and the file that it was configured by, as `verifl measure` left it."""

    dataset: Dataset
    path: Path

    def task(self, seed: int) -> Task[Any]:
        """Of a seed, which splits the data of built-in tasks."""
        task = load_task(self.config(seed, 1, "equal"), self.path.parent)
        return Unequal(task) if self.dataset.unequal else task  # type: ignore[return-value]  # it has all of a task

    def config(self, seed: int, rounds: int, kind: str, heaviest: float = 1, **update: object) -> Config:
        """heaviest: what the data of the client with most weigh: W, as `verifl plan` advises, or 1 a sample."""
        read = read_config(self.path).model_dump(exclude_unset=True)
        unit = {"largest": LARGEST, "unit": float(max(1, ceil(heaviest / LARGEST)))} if kind != "equal" else {}
        read["federation"] = {**read.get("federation", {}), "rounds": rounds, "seed": seed}
        read["weights"] = {"kind": kind, **unit}
        read["update"] = {**read.get("update", {}), **update}
        return Config.of(**read)


def prepare(dataset: Dataset, folder: Path) -> Prepared:
    """Write the configuration into this folder."""
    path = folder / "config.toml"
    if dataset.built_in:
        path.write_text(f'[task]\nname = "{BUILT_IN_TASKS.find(dataset.built_in).name}"\nclients = 8\n')
        return Prepared(dataset, path)
    _verifl("init", str(folder))
    shutil.copy(TASKS / dataset.file, folder / "task.py")
    _verifl("measure", str(path), "--write")
    return Prepared(dataset, path)


def bounds_in(path: Path) -> str:
    """What of a configuration `verifl measure` chose, in a line."""
    found = re.findall(r"^\s*(clip_norm|scale)\s*=\s*(\S+)", path.read_text(), re.MULTILINE)
    return ", ".join(f"{name} {value}" for name, value in found)


def _verifl(*arguments: str) -> None:
    subprocess.run([sys.executable, "-P", "-m", "verifl", *arguments], check=True, stdout=subprocess.DEVNULL)
