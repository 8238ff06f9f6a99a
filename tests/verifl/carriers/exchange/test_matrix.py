"""The kill and fault matrix, with real processes: one federation, and in each of its rounds another row of `faults`.

Rows are played in their order, each in the rounds after those of the one before; the last test judges all of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.required import needs
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES
from tests.verifl.carriers.exchange.faults import ROWS, Row, missing
from tests.verifl.carriers.exchange.field import Field, judge, opened_field


@pytest.fixture(scope="module")
def field() -> Iterator[Field]:
    """In a directory that other users can reach."""
    needs("nginx")
    folder = Path(tempfile.mkdtemp(prefix="verifl-matrix-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        with opened_field(folder) as opened:
            yield opened
    shutil.rmtree(folder)


def _marks(row: Row) -> list[pytest.MarkDecorator]:
    return [pytest.mark.organisations] if row.quick else [pytest.mark.organisations, pytest.mark.exhaustive]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.what, marks=_marks(row)) for row in ROWS])
def test_row(row: Row, field: Field) -> None:
    if row.needs == "cc":
        needs("cc")
    if row.needs == "disks" and not field.disks:
        pytest.skip("needs a machine that lets tests mount disks (tmpfs)")
    row.play(field)


def _judged(field: Field) -> None:
    for name in ("coordinator", *CLIENTS, *TRUSTEES):
        if name in field.running:
            field.let_go()
            assert field.stop(name) == 0
    judge(field)


@pytest.mark.organisations
def test_whatever_went_wrong_one_log_is_accepted(field: Field) -> None:
    _judged(field)


def test_every_row_is_played_somewhere() -> None:
    assert missing() == []
    assert len({row.what for row in ROWS}) == len(ROWS)
