"""One name, one meaning: no two modules give a public class, an alias of a type or a fixed number the same name."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ("proofs", "protocols", "verifl", "auditor")
TWICE = {
    "Needs",  # what a check needs is a class of its own in the module of each check
    "Progress",  # the auditor's and the runtime's, which know nothing of each other
    "Jacobian",  # the two engines share no arithmetic
}
# Formats that are numbered apart, and lengths that are alike by chance.
BY_CHANCE = {"VERSION", "_DIGEST", "_LIMIT", "_WORD", "_SHOWN"}


@cache
def modules() -> dict[str, ast.Module]:
    files = [file for package in PACKAGES for file in sorted((REPOSITORY / package).rglob("*.py"))]
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


def test_no_two_types_have_one_name() -> None:
    homes = defaultdict(list)
    for path, module in modules().items():
        for name in types(module):
            homes[name].append(path)
    assert len(homes) > 300
    assert {name: paths for name, paths in homes.items() if len(paths) > 1 and name not in TWICE} == {}
    assert {name for name in TWICE if len(homes[name]) < 2} == set()


def test_no_constant_is_defined_twice() -> None:
    homes = defaultdict(list)
    for path, module in modules().items():
        for name, value in assigned(module):
            if name.isupper() and name != "TYPE_CHECKING" and not isinstance(value, ast.Call):
                homes[name, ast.unparse(value)].append(path)
    assert len(homes) > 300
    double = {name: paths for (name, _), paths in homes.items() if len(paths) > 1}
    assert {name: paths for name, paths in double.items() if name not in BY_CHANCE} == {}
    assert double.keys() >= BY_CHANCE
