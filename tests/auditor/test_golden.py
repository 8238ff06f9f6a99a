"""The golden transcripts of format version 1 are judged as they were when they were made (docs/compatibility.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from auditor import Status, audit
from protocols.audit_checks import AUDIT_CHECKS
from tests.golden.regenerate import DIRECTORY, NAMES, verdicts

HOW = (
    "the auditor judges a golden transcript otherwise than when it was made. If the format of transcripts was not "
    "meant to change, something else is wrong; only if it was, and no transcript of the old one is out there: "
    "python -m tests.golden.regenerate (docs/compatibility.md)"
)
SIZE_LIMIT = 1_500_000  # bytes of all golden files


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DIRECTORY / name / "expected.json").read_text(encoding="ascii"))
    return found


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_judged_as_it_was(name: str, engine: str) -> None:
    golden = DIRECTORY / name
    report = audit(golden / "transcript", golden / "policy.cbor", engine=engine)
    found = [(result.id, finding) for result in report.checks for finding in result.findings]
    assert verdicts(report) == expected(name), f"{HOW}; findings: {found}"


def test_what_they_are_for() -> None:
    """Five that every auditor accepts; one that it rejects for its sum, and for nothing that its signers could see."""
    rejected = expected("rejected")
    for honest in (expected(name) for name in NAMES if name != "rejected"):
        assert honest["accepted"] is True
        assert list(honest["checks"]) == list(AUDIT_CHECKS.names)
        assert set(honest["checks"].values()) == {Status.PASS.value, Status.NOT_APPLICABLE.value}
    assert rejected["accepted"] is False
    failing = {number for number, status in rejected["checks"].items() if status == Status.FAIL.value}
    assert failing == {"I9", "I10", "I11"}


def test_they_are_small_and_complete() -> None:
    files = [path for name in NAMES for path in (DIRECTORY / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < SIZE_LIMIT
    for name in NAMES:
        assert (DIRECTORY / name / "policy.cbor").read_bytes() == (
            DIRECTORY / name / "transcript" / "policy.cbor"
        ).read_bytes()
        assert not list(Path(DIRECTORY / name).rglob("*.tmp"))
