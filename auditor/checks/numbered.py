"""Which number each check of spec 9 has: it is said above the function that makes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_type_hints

from auditor.findings import Findings
from auditor.outcomes import Check, Left, Needs
from proofs.errors import Misuse
from protocols.audit_checks import AUDIT_CHECKS

_numbered: dict[str, Check[Any, Any]] = {}


def numbered(number: str) -> Callable[[Callable[[Needs, Findings], Left]], Check[Needs, Left]]:
    """The function below makes the check of that number: of what it needs it fills in findings, and says what it
    leaves. What these are, its annotations say."""

    def declare(run: Callable[[Needs, Findings], Left]) -> Check[Needs, Left]:
        hints = get_type_hints(run)
        check = Check(number, run, next(iter(hints.values())), hints["return"])
        if number in _numbered:
            raise Misuse(f"two functions make the check {number}: {_numbered[number].name}, {check.name}")
        _numbered[number] = check
        return check

    return declare


def all_numbered(package: str, places: list[str]) -> Mapping[str, Check[Any, Any]]:
    """Every check, in the registry's order, from the modules of a package that is in these directories.

    Raises Misuse where the registry has a check that no function makes, or does not have one that a function makes.
    """
    for module in iter_modules(places):
        import_module(f"{package}.{module.name}")
    if strangers := _numbered.keys() ^ set(AUDIT_CHECKS.names):
        raise Misuse(f"checks in the registry or in {package} but not in both: {', '.join(sorted(strangers))}")
    return {number: _numbered[number] for number in AUDIT_CHECKS.names}
