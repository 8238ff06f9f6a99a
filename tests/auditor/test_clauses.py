"""The annex on duties: it names checks that exist, and the page is what the auditor has."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditor.reports.clauses import CLAUSES, Clause, page
from protocols.audit_checks import AUDIT_CHECKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clauses.md"


def test_the_page_is_the_annex() -> None:
    """`python -c "from auditor.reports.clauses import page; print(page(), end='')" > docs/clauses.md` writes it."""
    assert PAGE.read_text() == page()


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: f"{clause.law.split(',')[0]} {clause.article[:14]}")
def test_each_clause_names_checks_in_order_and_says_what_it_leaves_open(clause: Clause) -> None:
    places = [AUDIT_CHECKS.names.index(number) for number in clause.checks]
    assert places == sorted(set(places))
    assert places
    for text in (clause.duty, clause.shows, clause.leaves_open):
        assert text.endswith(".")


def test_every_check_is_evidence_for_something() -> None:
    assert {number for clause in CLAUSES for number in clause.checks} == set(AUDIT_CHECKS.names)
