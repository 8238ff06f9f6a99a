"""Built-in tasks: each in one registry, known to configuration, loader, demonstration and example."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from proofs.errors import Misuse, Rejected
from protocols.registry import one_of
from verifl.built_in import BUILT_IN_TASKS, PRIVATE_DATASET, BuiltInTask
from verifl.commands.demo import demo
from verifl.commands.demonstration import Demonstration
from verifl.commands.scaffold import EXAMPLE, write_templates
from verifl.config import Config
from verifl.tasks.loading import load_task


@pytest.mark.parametrize("name", BUILT_IN_TASKS.names)
def test_every_built_in_task_is_made(name: str) -> None:
    config = Config.of(task={"name": name, "clients": 5})
    task = load_task(config, Path())
    assert len(task.clients()) == 5
    assert isinstance(task.model(), nn.Module)
    assert Demonstration(dataset=name).config().update.clip_norm == BUILT_IN_TASKS.find(name).clip_norm


def test_the_demonstration_offers_every_one() -> None:
    (option,) = (each for each in demo.params if each.name == "dataset")
    assert tuple(option.type.choices) == BUILT_IN_TASKS.names
    usual, private = (Demonstration.of(None, 4, 1, None, None, "equal", epsilon) for epsilon in (None, 8.0))
    assert usual.dataset == BUILT_IN_TASKS.names[0] == Demonstration().dataset
    assert private.dataset == PRIVATE_DATASET in BUILT_IN_TASKS


def test_the_example_names_every_one(tmp_path: Path) -> None:
    example, _ = write_templates(tmp_path, EXAMPLE)
    text = example.read_text(encoding="utf-8")
    assert f"# or a built-in task instead of a file: {', '.join(BUILT_IN_TASKS.names)}\n" in text
    assert "{" not in text.replace("{ ", "")


def test_others_are_refused() -> None:
    with pytest.raises(Misuse, match=rf"task\.name: expected {one_of(map(repr, BUILT_IN_TASKS.names))}, found 'mnist'"):
        Config.of(task={"name": "mnist"})
    with pytest.raises(Misuse, match=rf"exactly one of `name` \({', '.join(BUILT_IN_TASKS.names)}\) and `file`"):
        Config.of(task={})
    with pytest.raises(Rejected, match=f"the built-in task {one_of(BUILT_IN_TASKS.names)}, found 'mnist'"):
        BUILT_IN_TASKS.find("mnist")
    with pytest.raises(Misuse, match="built-in task 'digits' is registered twice"):
        BUILT_IN_TASKS.extended(BuiltInTask("digits", 1.0))
