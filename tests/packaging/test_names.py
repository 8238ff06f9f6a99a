"""One name, one meaning: no two modules that may know each other give a public class, an alias of a type or a constant
the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SIDES = {  # the runtime and the auditor know nothing of each other
    "runtime": ("proofs", "protocols", "verifl"),
    "auditor": ("proofs", "protocols", "auditor"),
}
TWICE = {
    "Needs",  # what a check needs is a class of its own in the module of each check
    "Jacobian",  # the two engines share no arithmetic
}
# Formats that are numbered apart, and lengths that are alike by chance.
BY_CHANCE = {"VERSION", "_DIGEST", "_LIMIT", "_WORD", "_SHOWN"}


@cache
def modules(side: str) -> dict[str, ast.Module]:
    files = [file for package in SIDES[side] for file in sorted((REPOSITORY / package).rglob("*.py"))]
    return {str(file.relative_to(REPOSITORY)): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def assigned(module: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The constants of a module."""
    for node in module.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def names_a_type(name: str, value: ast.expr) -> bool:
    """`Words = NDArray[...]`, and not `Body = TypeVar(...)`, which means something in its module alone."""
    return name[0].isupper() and not name.isupper() and not isinstance(value, ast.Call)


def types(module: ast.Module) -> Iterator[str]:
    """Public classes and aliases."""
    yield from (node.name for node in module.body if isinstance(node, ast.ClassDef) and node.name[0] != "_")
    yield from (name for name, value in assigned(module) if names_a_type(name, value))


@pytest.mark.parametrize("side", SIDES)
def test_no_two_types_have_one_name(side: str) -> None:
    homes = defaultdict(list)
    for path, module in modules(side).items():
        for name in types(module):
            homes[name].append(path)
    assert len(homes) > 200
    assert {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in TWICE} == {}


@pytest.mark.parametrize("side", SIDES)
def test_no_constant_is_defined_twice(side: str) -> None:
    homes = defaultdict(list)
    for path, module in modules(side).items():
        for name, value in assigned(module):
            if name.isupper() and name != "TYPE_CHECKING" and not isinstance(value, ast.Call):
                homes[name, ast.unparse(value)].append(path)
    assert len(homes) > 200
    double = {name: paths for (name, _), paths in homes.items() if len(paths) > 1}
    assert {name: paths for name, paths in double.items() if name not in BY_CHANCE} == {}
