"""What a check writes while it runs and leaves when it ends, and the two ways in which it may end early (spec 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from auditor.reports.results import (
    MAX_COMMAND,
    MAX_FINDINGS,
    CheckResult,
    Finding,
    Kind,
    Place,
    Status,
    printable,
)
from proofs.errors import Malformed, Rejected
from protocols.log.files import Damaged
from protocols.messages import COORDINATOR


@dataclass(frozen=True)
class Result:
    """What a check leaves behind beside its findings: what it looked at, in words; in subclasses, what later checks
    build on. lacking: why one that builds on it cannot go on without it; empty for the reason that it has itself."""

    checked: str = ""
    lacking: ClassVar[str] = ""


class Unavailable(Exception):
    """The check's inputs are not there. `reason` completes "skipped (...)"; `left` is what could be done."""

    def __init__(self, reason: str, left: Result | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.left = left


class DoesNotApply(Exception):
    """The policy asks for nothing that this check could judge."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Findings:
    """The findings and notes of one check, in the order in which they were made."""

    def __init__(self, number: str, title: str) -> None:
        self.number = number
        self.title = title
        self._findings: dict[Kind, list[Finding]] = {kind: [] for kind in Kind}
        self._notes: list[str] = []
        self._warnings: list[str] = []
        self._omitted = 0
        self.sure = True

    @contextmanager
    def whether(self, sure: bool) -> Iterator[None]:
        """Of what is found meanwhile, whether it is so whatever the missing entries are: else nothing is broken, it is
        unjudged."""
        before, self.sure = self.sure, sure
        try:
            yield
        finally:
            self.sure = before

    @property
    def empty(self) -> bool:
        """Whether nothing is wrong so far."""
        return not any(self._findings.values())

    def add(
        self,
        where: Place,
        expected: object,
        found: object,
        kind: Kind = Kind.BROKEN,
        *,
        by: str = COORDINATOR,
    ) -> None:
        """Record that `where` fails. by: who broke a rule.

        Broken is what nobody can bring about who only copies a transcript, changes the copy and leaves things out.
        """
        kind = Kind.UNJUDGED if kind is Kind.BROKEN and not self.sure else kind
        listed = self._findings[kind]
        if len(listed) >= MAX_FINDINGS:
            self._omitted += 1
            return
        who = by if kind is Kind.BROKEN else None
        listed.append(Finding(where, expected, found, kind, who))

    def expect(self, where: Place, expected: object, found: object, kind: Kind = Kind.BROKEN) -> bool:
        """Record a failure unless the two values are equal; bytes are shown in hexadecimal."""
        if expected != found:
            self.add(where, expected, found, kind)
        return expected == found

    def reject(
        self, where: Place, error: Malformed | Rejected, kind: Kind | None = None, *, by: str = COORDINATOR
    ) -> None:
        """Record what a verifier raised about `where`, which `by` signed. kind: by default broken, but unjudged for
        evidence that is damaged or missing in this copy, which is Damaged whoever raised it."""
        name = error.where if isinstance(error, Malformed) else error.check
        missing = Kind.UNJUDGED if isinstance(error, Damaged) else Kind.BROKEN
        self.add(where, f"{name}: {error.expected}", error.found, kind or missing, by=by)

    def note(self, text: str) -> None:
        """Record what a reader should know although it is no failure."""
        if len(self._notes) < MAX_FINDINGS:
            self._notes.append(printable(text))

    def warn(self, text: str) -> None:
        """Record what the reader should put right although it is no failure, with the command for it."""
        self._warnings.append(printable(text, MAX_COMMAND))

    def result(self, checked: str, status: Status | None = None, reason: str = "") -> CheckResult:
        """The check's end: `status`, or by default fail where there are findings and pass where there are none."""
        found = [finding for kind in Kind for finding in self._findings[kind]]
        if found or status is None:
            status = Status.FAIL if found else Status.PASS
        listed = found[:MAX_FINDINGS]
        return CheckResult(
            self.number,
            self.title,
            status,
            printable(checked),
            printable(reason),
            tuple(listed),
            self._omitted + len(found) - len(listed),
            tuple(self._notes),
            tuple(self._warnings),
        )


def counted(number: int, noun: str) -> str:
    """A number with its noun, as a report says it: 1 round, 2 rounds."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
