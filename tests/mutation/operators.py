"""Mutants of a Python module: one small change each, at every place where an operator applies.

Not changed: annotations, docstrings, decorators, imports, the parts of f-strings, and what an error says beside its
name (the second and later arguments of a raised exception).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}


@dataclass(frozen=True)
class Mutant:
    """line: 1-based. before, after: the changed piece of source, normalised. number: counts within a module."""

    number: int
    line: int
    before: str
    after: str
    tree: ast.Module


class _Change:
    """A place and what to put there: `apply` changes the tree, `undo` restores it."""

    def __init__(self, owner: Any, name: str, position: int | None, new: Any) -> None:
        self._owner, self._name, self._position, self._new = owner, name, position, new
        self.old = self._swap(None, read=True)

    def _swap(self, value: Any, read: bool = False) -> Any:
        if self._position is None:
            old = getattr(self._owner, self._name)
            if not read:
                setattr(self._owner, self._name, value)
        else:
            items = getattr(self._owner, self._name)
            old = items[self._position]
            if not read:
                items[self._position] = value
        return old

    def apply(self) -> None:
        self._swap(self._new)

    def undo(self) -> None:
        self._swap(self.old)


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a module; `tree` is valid only until the next one is asked for."""
    tree = ast.parse(source)
    for number, (shown, change) in enumerate(_changes(tree)):
        before = ast.unparse(shown)
        change.apply()
        ast.fix_missing_locations(tree)
        after = "" if _dropped(change) else ast.unparse(shown if change.old is not shown else _now(change))
        if before != after:
            yield Mutant(number, shown.lineno, before, after, tree)
        change.undo()


def _now(change: _Change) -> Any:
    return change._swap(None, read=True)


def _dropped(change: _Change) -> bool:
    return isinstance(_now(change), ast.Pass) and not isinstance(change.old, ast.Pass)


def _changes(tree: ast.Module) -> list[tuple[Any, _Change]]:
    found: list[tuple[Any, _Change]] = []
    _walk(tree, found)
    return found


_SKIPPED_FIELDS = {
    (ast.FunctionDef, "decorator_list"),
    (ast.FunctionDef, "returns"),
    (ast.ClassDef, "decorator_list"),
    (ast.ClassDef, "bases"),
    (ast.AnnAssign, "annotation"),
    (ast.arg, "annotation"),
    (ast.FormattedValue, "format_spec"),
}


def _walk(node: ast.AST, found: list[tuple[Any, _Change]]) -> None:
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.JoinedStr)):
        return
    for name, value in ast.iter_fields(node):
        if (type(node), name) in _SKIPPED_FIELDS:
            continue
        items = value if isinstance(value, list) else [value]
        for position, item in enumerate(items):
            if not isinstance(item, ast.AST) or _is_docstring(node, name, position, item):
                continue
            place = position if isinstance(value, list) else None
            for shown, new in _replacements(item):
                found.append((shown, _Change(node, name, place, new)))
            found += _inner(item)
            if isinstance(item, ast.Raise):
                _walk_raise(item, found)
            elif not _is_alias(item):
                _walk(item, found)


def _walk_raise(node: ast.Raise, found: list[tuple[Any, _Change]]) -> None:
    """The name of the failure only: the first argument, where it is a plain string."""
    if isinstance(node.exc, ast.Call) and node.exc.args and isinstance(node.exc.args[0], ast.Constant):
        first = node.exc.args[0]
        for shown, new in _replacements(first):
            found.append((shown, _Change(node.exc, "args", 0, new)))


def _is_docstring(owner: ast.AST, name: str, position: int, item: ast.AST) -> bool:
    inside = isinstance(owner, (ast.Module, ast.ClassDef, ast.FunctionDef)) and name == "body" and position == 0
    return inside and isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant)


def _is_alias(item: ast.AST) -> bool:
    """A type alias at module level: `Verdict = Malformed | Rejected | None`."""
    return isinstance(item, ast.Assign) and isinstance(item.value, ast.BinOp) and isinstance(item.value.op, ast.BitOr)


def _constant(value: Any, like: ast.Constant) -> ast.Constant:
    return ast.copy_location(ast.Constant(value), like)


def _replacements(node: ast.AST) -> Iterator[tuple[Any, Any]]:
    """(what to show, what to put in place of `node`)."""
    if isinstance(node, ast.Constant):
        value = node.value
        if isinstance(value, bool):
            yield node, _constant(not value, node)
        elif isinstance(value, int):
            yield node, _constant(value + 1, node)
            yield node, _constant(value - 1, node)
        elif isinstance(value, str):
            yield node, _constant(value + "X", node)
        elif isinstance(value, bytes):
            yield node, _constant(value + b"X", node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield node, node.operand
    elif isinstance(node, ast.BinOp):
        yield node, node.left
        yield node, node.right
    elif isinstance(node, ast.BoolOp):
        for operand in node.values:
            yield node, operand
    elif isinstance(node, ast.IfExp):
        yield node, node.body
        yield node, node.orelse
    elif isinstance(node, (ast.Raise, ast.Continue, ast.Break, ast.AugAssign)) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield node, ast.copy_location(ast.Pass(), node)
    elif isinstance(node, ast.Starred):
        yield node, ast.copy_location(ast.Starred(ast.List([], ast.Load()), ast.Load()), node)


def _inner(node: ast.AST) -> Iterator[tuple[Any, _Change]]:
    """Changes of a part of `node` that is no expression of its own."""
    if isinstance(node, ast.Compare):
        for position, op in enumerate(node.ops):
            for other in _COMPARISONS.get(type(op), ()):
                yield node, _Change(node, "ops", position, other())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in _ARITHMETIC:
        yield node, _Change(node, "op", None, _ARITHMETIC[type(node.op)]())
    elif isinstance(node, ast.BoolOp):
        yield node, _Change(node, "op", None, ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, (ast.If, ast.IfExp)):
        for value in (True, False):
            yield node.test, _Change(node, "test", None, ast.copy_location(ast.Constant(value), node.test))
    elif isinstance(node, ast.comprehension):
        for position, test in enumerate(node.ifs):
            yield test, _Change(node, "ifs", position, ast.copy_location(ast.Constant(True), test))
    elif isinstance(node, ast.Return) and node.value is not None:
        yield node, _Change(node, "value", None, ast.copy_location(ast.Constant(None), node.value))
    elif isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
        for name in ("lower", "upper", "step"):
            if getattr(node.slice, name) is not None:
                yield node, _Change(node.slice, name, None, None)
