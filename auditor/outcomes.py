"""How the checks of an audit hang together (spec 9.2): what each declares to need, and what each leaves for others.

A check is a function of what it needs and of the findings that it fills in. What it needs is a frozen dataclass of its
own, whose fields say it by their types: the `Case`, its blobs by role, the auditor's memory, what other checks leave.
It is handed these and nothing else, so it cannot use what it does not declare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Annotated, Any, Generic, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from auditor.findings import Findings, Result, Unavailable
from auditor.reports.results import CheckResult
from proofs.errors import Misuse

Needs = TypeVar("Needs")
Left = TypeVar("Left", bound=Result)
Hands = Mapping[type, object]  # what there is to be handed to checks, by its type


class Lacking:
    """In the place of what a check did not leave: whoever asks it for anything cannot go on, for this reason."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> NoReturn:
        raise Unavailable(self._reason)


@dataclass(frozen=True)
class CheckRun(Generic[Left]):
    """How a check ended, with its findings and notes. left: None where it ended before it could leave anything."""

    result: CheckResult
    left: Left | None


@dataclass(frozen=True)
class Check(Generic[Needs, Left]):
    """A check by its number, with the function that makes it. needs: the dataclass that says what it is handed. leaves:
    the type of what it leaves."""

    number: str
    run: Callable[[Needs, Findings], Left]
    needs: type[Needs]
    leaves: type[Left]

    @property
    def name(self) -> str:
        """Of the function."""
        return self.run.__name__

    def __call__(self, given: Needs, findings: Findings) -> Left:
        """Make the check."""
        return self.run(given, findings)

    @cached_property
    def asks(self) -> Mapping[str, Any]:
        """The type of what each field of its needs is to be given."""
        hints = get_type_hints(self.needs, include_extras=True)
        return {each.name: hints[each.name] for each in fields(self.needs)}  # type: ignore[arg-type]  # a dataclass, which `type` does not say

    @property
    def before(self) -> frozenset[type[Result]]:
        """What other checks leave that it needs, or needs to know how they ended."""
        asked = (get_args(each)[0] if get_origin(each) else each for each in self.asks.values())
        return frozenset(each for each in asked if issubclass(each, Result))

    def given(self, hands: Hands, ended: Mapping[type[Result], CheckRun[Any]]) -> Needs:
        """What it needs, of what is at hand and of how the checks before it ended."""
        return self.needs(**{name: _given(asked, hands, ended) for name, asked in self.asks.items()})


def in_order(checks: Mapping[str, Check[Any, Any]]) -> list[Check[Any, Any]]:
    """The checks, each behind those that it needs, else as they come. Raises Misuse for a circle and for what none
    leaves."""
    leaving = {check.leaves: check for check in checks.values()}
    ordered: list[Check[Any, Any]] = []
    for check in checks.values():
        _visit(check, leaving, ordered, ())
    return ordered


def _visit(
    check: Check[Any, Any],
    leaving: Mapping[type[Result], Check[Any, Any]],
    ordered: list[Check[Any, Any]],
    above: tuple[str, ...],
) -> None:
    if check.number in above:
        raise Misuse(f"checks: {' needs '.join((*above, check.number))}")
    if check in ordered:
        return
    for needed in sorted(check.before, key=lambda each: each.__name__):
        if needed not in leaving:
            raise Misuse(f"checks: {check.number} needs {needed.__name__}, which no check leaves")
        _visit(leaving[needed], leaving, ordered, (*above, check.number))
    ordered.append(check)


def _given(asked: Any, hands: Hands, ended: Mapping[type[Result], CheckRun[Any]]) -> object:
    if get_origin(asked) is CheckRun:
        return ended[get_args(asked)[0]]
    if get_origin(asked) is Annotated:
        whole, part = get_args(asked)
        return part.of(hands[whole])
    if not issubclass(asked, Result):
        return hands[asked]
    outcome = ended[asked]
    return outcome.left or Lacking(asked.lacking or _why(outcome.result))


def _why(result: CheckResult) -> str:
    return result.reason or f"because {result.id} failed: it could not be finished"
