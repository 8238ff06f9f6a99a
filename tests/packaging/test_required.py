"""What a test needs is there, or it skips by name; where it is said to be there and is not, the test fails."""

from __future__ import annotations

import pytest

from tests.required import REQUIRED, needs, program

THERE, ABSENT = "sh", "no-such-program"


def test_it_skips_by_name_unless_it_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    for listed in ("", ABSENT):
        monkeypatch.setenv(REQUIRED, listed)
        with pytest.raises(pytest.skip.Exception, match=f'needs {THERE}: {REQUIRED}="{THERE}" runs it'):
            needs(THERE)


def test_what_is_listed_and_missing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for listed in (f"{THERE} {ABSENT}", "all"):
        monkeypatch.setenv(REQUIRED, listed)
        with pytest.raises(pytest.fail.Exception, match=ABSENT):
            needs(THERE, ABSENT)


def test_what_is_listed_and_there_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program(THERE)
    for listed in (f"{THERE} pytest", "all"):
        monkeypatch.setenv(REQUIRED, listed)
        needs(THERE, "pytest")
