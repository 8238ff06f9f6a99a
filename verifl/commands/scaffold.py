"""`verifl init`: a configuration and a task that run as they are, or the file of one party."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from proofs.errors import Misuse
from protocols.registry import one_of
from protocols.steps.registry import SERVER_RULES
from protocols.weights import EQUAL, WEIGHT_KINDS
from verifl.built_in import BUILT_IN_TASKS
from verifl.storage.stores import replacing

EXAMPLE = ("config.toml", "task.py")


def write_templates(directory: Path, names: Sequence[str]) -> list[Path]:
    """Write these files into `directory`, made if needed; raises Misuse, writing nothing, if one of them exists."""
    if directory.exists() and not directory.is_dir():
        raise Misuse(f"{directory}: is a file, expected a directory; choose another name")
    paths = [directory / name for name in names]
    for path in paths:
        if path.exists():
            raise Misuse(f"{path}: already exists and is not overwritten; choose another directory")
    directory.mkdir(parents=True, exist_ok=True)
    for path in paths:
        with replacing(path) as temporary:
            temporary.write_bytes(_template(path.name).encode())
    return paths


def _template(name: str) -> str:
    """A template, its comments with the built-in tasks, server rules and kinds of weights that there are."""
    _, *others = SERVER_RULES
    constants = {rule.name: ", ".join(constant.name for constant in rule.constants) for rule in others}
    text = files("verifl").joinpath("templates", name).read_text(encoding="utf-8")
    weighing = one_of(f'"{kind.name}"' for kind in WEIGHT_KINDS if kind is not EQUAL)
    text = text.replace("{other weights}", weighing)
    text = text.replace("{built-in tasks}", ", ".join(BUILT_IN_TASKS.names))
    return text.replace("{other rules}", "; or ".join(f'"{rule}", with {those}' for rule, those in constants.items()))
