"""What a check writes while it runs, and the two ways in which it may end early (spec 9.2)."""

from __future__ import annotations

from auditor.report import MAX_FINDINGS, CheckResult, Finding, Status, printable
from proofs.errors import Malformed, Rejected


class Unavailable(Exception):
    """The check's inputs are not there. `reason` completes "skipped (...)"; `checked` is what could be done."""

    def __init__(self, reason: str, checked: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.checked = checked


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
        self._findings: list[Finding] = []
        self._notes: list[str] = []
        self._omitted = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is wrong so far."""
        return not self._findings

    def add(self, where: str, expected: str, found: str) -> None:
        """Record that `where` fails; all three strings are made printable here."""
        if len(self._findings) >= MAX_FINDINGS:
            self._omitted += 1
            return
        self._findings.append(Finding(printable(where), printable(expected), printable(found)))

    def expect(self, where: str, expected: object, found: object) -> bool:
        """Record a failure unless the two values are equal; bytes are shown in hexadecimal."""
        if expected != found:
            self.add(where, shown(expected), shown(found))
        return expected == found

    def reject(self, where: str, error: Malformed | Rejected) -> None:
        """Record what a verifier raised about `where`."""
        name = error.where if isinstance(error, Malformed) else error.check
        self.add(where, f"{name}: {error.expected}", error.found)

    def note(self, text: str) -> None:
        """Record what a reader should know although it is no failure."""
        if len(self._notes) < MAX_FINDINGS:
            self._notes.append(printable(text))

    def result(self, checked: str, status: Status | None = None, reason: str = "") -> CheckResult:
        """The check's end: `status`, or by default fail where there are findings and pass where there are none."""
        if self._findings or status is None:
            status = Status.FAIL if self._findings else Status.PASS
        findings, notes = tuple(self._findings), tuple(self._notes)
        return CheckResult(
            self.number, self.title, status, printable(checked), printable(reason), findings, self._omitted, notes
        )


def shown(value: object) -> str:
    """A value as a finding quotes it."""
    if value is None:
        return "nothing"
    return value.hex() if isinstance(value, bytes) else str(value)


def counted(number: int, noun: str) -> str:
    """A number with its noun, as a report says it: 1 round, 2 rounds."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
