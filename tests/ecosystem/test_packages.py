"""A package that is missing is a skip in an environment of one's own, and a failure in one that was made to have it."""

from __future__ import annotations

import pytest

from tests.ecosystem.packages import REQUIRED, needs


def test_a_missing_package_is_skipped_unless_the_environment_lists_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "pytest another")
    needs("pytest")
    with pytest.raises(pytest.skip.Exception, match="needs no_such_package;"):
        needs("pytest", "no_such_package")
    monkeypatch.setenv(REQUIRED, "no_such_package")
    with pytest.raises(pytest.fail.Exception, match="no_such_package: not installed, although VERIFL_ECOSYSTEM lists"):
        needs("pytest", "no_such_package")
