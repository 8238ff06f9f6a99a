"""When a report accepts, and that nothing a transcript says can act on the reader's terminal."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor import CheckResult, Report, Status, audit
from auditor.findings import Findings
from auditor.reports.results import MAX_FINDINGS, MAX_TEXT, printable
from auditor.reports.text import write_text
from proofs.errors import Misuse
from protocols.audit_checks import AUDIT_CHECKS


def report_of(**statuses: Status) -> Report:
    results = tuple(CheckResult(each.id, each.title, statuses.get(each.id, Status.PASS), "") for each in AUDIT_CHECKS)
    return Report("t", "0", "native", True, None, None, None, results, (), 0.0)


def test_all_pass_is_accepted() -> None:
    assert report_of().accepted


@pytest.mark.parametrize("number", list(AUDIT_CHECKS.names))
def test_any_failure_is_rejected(number: str) -> None:
    assert not report_of(**{number: Status.FAIL}).accepted


@pytest.mark.parametrize("number", list(AUDIT_CHECKS.names))
def test_only_the_replay_and_the_link_to_another_may_be_skipped(number: str) -> None:
    assert report_of(**{number: Status.SKIPPED}).accepted == (number in ("I9", "I14"))


@pytest.mark.parametrize("number", list(AUDIT_CHECKS.names))
def test_only_what_the_policy_does_not_ask_for_may_not_apply(number: str) -> None:
    assert report_of(**{number: Status.NOT_APPLICABLE}).accepted == (number in ("I13", "I14", "P5"))


def test_a_missing_check_is_rejected() -> None:
    report = report_of()
    assert not replace(report, checks=report.checks[:-1]).accepted
    assert not replace(report, checks=()).accepted
    with pytest.raises(KeyError):
        report.check("I99")


@given(st.text(max_size=400))
def test_printable_is_printable(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown) <= MAX_TEXT


def test_findings_are_capped_and_counted() -> None:
    findings = Findings("I1", "log")
    for number in range(MAX_FINDINGS + 7):
        findings.add(f"entry {number}", "a", "b")
    result = findings.result("")
    assert (len(result.findings), result.omitted, result.status) == (MAX_FINDINGS, 7, Status.FAIL)


def test_findings_outweigh_a_skip() -> None:
    findings = Findings("I9", "replay")
    findings.add("entry 1", "a", "b")
    assert findings.result("", Status.SKIPPED, "pruned").status is Status.FAIL


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_the_same_words(simulations) -> None:
    report = audit(simulations("quiet").path, None)
    plain, coloured = io.StringIO(), Terminal()
    write_text(report, ["verifl-audit"], plain)
    write_text(report, ["verifl-audit"], coloured)
    words = coloured.getvalue()
    for line in ("UNPINNED", "ACCEPTED, unpinned", "evidence graph"):
        assert line in plain.getvalue()
        assert line in words


def test_wrong_arguments_are_misuse(simulations) -> None:
    path = simulations("quiet").path
    with pytest.raises(Misuse, match="there is no check I99"):
        audit(path, None, required=["I99"])
    with pytest.raises(Misuse, match="native or reference"):
        audit(path, None, engine="abacus")
