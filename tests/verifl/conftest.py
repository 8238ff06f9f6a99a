"""A signed enrolment, made once for each module that wants one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.verifl.office import Office, set_up


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """Of `set_up`; never changed."""
    return set_up(tmp_path_factory.mktemp("office"))


@pytest.fixture
def office(desk: Office, tmp_path: Path) -> Office:
    """A copy, to be changed."""
    shutil.copytree(desk.folder, tmp_path / "office")
    return Office(tmp_path / "office")
