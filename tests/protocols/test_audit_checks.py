"""The numbered checks are in one registry: the auditor has each, the second auditor and the specification list the
same, and prose that counts them counts right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from auditor import checks
from auditor.checks import CHECKS
from auditor.checks import numbered as making
from auditor.checks.graph import Graphs, Needs
from auditor.findings import Findings
from proofs.errors import Misuse
from protocols.audit_checks import AUDIT_CHECKS, AuditCheck, in_words
from tests.independent.case import CHECKS as SECOND
from verifl.config import Config

REPOSITORY = Path(__file__).parents[2]
RANGE = re.compile(r"\b([IP])1`? (?:to|\.\.) `?\1(\d+)\b")


def test_the_auditor_makes_every_check_and_no_other() -> None:
    assert tuple(CHECKS) == AUDIT_CHECKS.names


def test_the_second_auditor_has_the_same() -> None:
    assert tuple(SECOND) == AUDIT_CHECKS.names


def test_the_specification_has_a_section_for_each() -> None:
    """In their order, under their titles; and says which may be skipped or not apply."""
    text = (REPOSITORY / "docs/spec/9-audit.md").read_text(encoding="utf-8")
    sections = re.findall(r"^### ([IP]\d+) (.*)$", text, re.MULTILINE)
    assert [(number, title.lower()) for number, title in sections] == [(each.id, each.title) for each in AUDIT_CHECKS]
    acceptance = " ".join(text.partition("An audit **accepts**")[2].partition("**rejects**")[0].split())
    for each in AUDIT_CHECKS:
        assert (f"{each.id} may end as `skipped`" in acceptance) == each.may_be_skipped
        assert (f"{each.id} may end as `not-applicable`" in acceptance) == each.may_not_apply


def test_prose_that_counts_the_checks_counts_right() -> None:
    last = {name[0]: name[1:] for name in AUDIT_CHECKS.names}
    sources = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("verifl/templates/*")]
    for package in ("protocols", "verifl", "auditor", "tests"):
        sources += (REPOSITORY / package).rglob("*.py")
    found = [(path, *match) for path in sources for match in RANGE.findall(path.read_text(encoding="utf-8"))]
    assert len(found) >= 4
    assert [each for each in found if last[each[1]] != each[2]] == []


def test_checks_in_words() -> None:
    last = {name[0]: name for name in AUDIT_CHECKS.names}
    assert in_words("or") == f"I1 to {last['I']} or P1 to {last['P']}"


@pytest.mark.parametrize("name", AUDIT_CHECKS.names)
def test_every_check_may_be_required(name: str) -> None:
    assert Config.of(audit={"required": [name]}).audit.required == (name,)


@pytest.mark.parametrize("name", ["I0", "I99", "P99", "i1", "I1 ", "I01", ""])
def test_a_check_that_there_is_not_cannot_be_required(name: str) -> None:
    with pytest.raises(Misuse, match=re.escape(f"expected a check, {in_words('or')}, found {name!r}")):
        Config.of(audit={"required": [name]})


def test_no_check_is_registered_twice() -> None:
    with pytest.raises(Misuse, match="check 'I9' is registered twice"):
        AUDIT_CHECKS.extended(AuditCheck("I9", "another"))


def test_a_check_that_two_functions_make_or_only_one_side_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever registers a check without making it, or makes one that is not registered, is told when it is imported."""

    def another(given: Needs, findings: Findings) -> Graphs:
        return Graphs()

    monkeypatch.setattr(making, "_numbered", dict(CHECKS))
    with pytest.raises(Misuse, match="two functions make the check I9: check_replay, another"):
        making.numbered("I9")(another)
    making.numbered("P99")(another)
    with pytest.raises(Misuse, match="but not in both: P99"):
        making.all_numbered(checks.__name__, checks.__path__)
    monkeypatch.setattr(making, "_numbered", {name: each for name, each in CHECKS.items() if name != "I9"})
    with pytest.raises(Misuse, match="but not in both: I9"):
        making.all_numbered(checks.__name__, checks.__path__)
