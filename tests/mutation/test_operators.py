from __future__ import annotations

import ast
import sys
from types import ModuleType

import pytest

from tests.mutation.operators import mutants
from tests.mutation.run import ROOT, TESTS, forget, justified, path_of
from tests.mutation.table import section

SOURCE = '''
"""A docstring 1 + 1."""

from __future__ import annotations

def check(x: int | None, limit: int = 3) -> int:
    """Another < one."""
    if x >= limit and x:
        raise Rejected("too-large", "less", f"{x + 1}")
    absorb("x", x)
    return x % 7
'''


def test_mutants_of_a_function() -> None:
    found = [(mutant.before, mutant.after) for mutant in mutants(SOURCE)]
    assert found == [
        ("3", "4"),
        ("3", "2"),
        ("x >= limit and x", "True"),
        ("x >= limit and x", "False"),
        ("x >= limit and x", "x >= limit"),
        ("x >= limit and x", "x"),
        ("x >= limit and x", "x >= limit or x"),
        ("x >= limit", "x > limit"),
        ("x >= limit", "x < limit"),
        ("raise Rejected('too-large', 'less', f'{x + 1}')", ""),
        ("'too-large'", "'too-largeX'"),
        ("absorb('x', x)", ""),
        ("'x'", "'xX'"),
        ("return x % 7", "return None"),
        ("x % 7", "x"),
        ("x % 7", "7"),
        ("x % 7", "x // 7"),
        ("7", "8"),
        ("7", "6"),
    ]


def test_each_mutant_is_the_source_with_one_change() -> None:
    original = ast.unparse(ast.parse(SOURCE))
    texts = [ast.unparse(mutant.tree) for mutant in mutants(SOURCE)]
    assert len(set(texts)) == len(texts)
    assert original not in texts


def test_every_listed_survivor_is_a_mutant_of_the_source() -> None:
    """A reason outlives neither its line nor its mutation."""
    for module in {key[0] for key in justified()}:
        source = path_of(module).read_text(encoding="utf-8")
        lines = source.splitlines()
        found = {(lines[each.line - 1].strip(), each.before, each.after) for each in mutants(source)}
        assert {key[1:] for key in justified() if key[0] == module} <= found


def test_survivors_are_in_the_documentation() -> None:
    assert (ROOT / "docs/mutation.md").read_text(encoding="utf-8").endswith(f"\n{section()}")


def test_every_file_of_tests_exists() -> None:
    assert [test for tests in TESTS.values() for test in tests if not (ROOT / test).exists()] == []


def test_a_shared_module_is_forgotten_wherever_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """`from package import module` reads the package's attribute: a test would see the module unchanged."""
    package = ModuleType("package")
    package.module = ModuleType("package.module")
    monkeypatch.setitem(sys.modules, "package", package)
    monkeypatch.setitem(sys.modules, "package.module", package.module)
    forget("package.module")
    assert "package.module" not in sys.modules
    assert not hasattr(package, "module")
    forget("package.module")
