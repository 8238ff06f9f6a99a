"""docs/tutorial.md, block by block: whoever saves and types what the page says sees what it says."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli import main as verifl_audit
from verifl.commands.root import invoke

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"
FENCED = re.compile(r"```(python|toml|console)\n(.*?)```", re.DOTALL)


def typed(line: str, folder: Path) -> tuple[str, int]:
    """What a line of the page prints, on both streams, and its exit status. Our own commands run in this process, which
    has torch already; tests/packaging starts the installed ones."""
    program, *arguments = shlex.split(line, comments=True)
    if program == "verifl":
        with contextlib.chdir(folder), redirect_stdout(StringIO()) as told, redirect_stderr(told):
            status = invoke(arguments)
        return told.getvalue(), status
    if program == "verifl-audit":
        with contextlib.chdir(folder):
            audited = CliRunner().invoke(verifl_audit, arguments)
        return audited.output, audited.exit_code
    command = [sys.executable if program == "python" else program, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The directory at the end, and what each line printed; every line ended as the page says, with 0 unless told."""
    folder = tmp_path_factory.mktemp("laboratories")
    printed = {}
    for kind, text in FENCED.findall(PAGE.read_text(encoding="utf-8")):
        if kind != "console":
            name = text.splitlines()[0].removeprefix("# ")
            (folder / name).write_text(text, encoding="utf-8")
            continue
        for line in text.splitlines():
            key = line if line not in printed else f"{line} (again)"
            printed[line], status = typed(line, folder)
            said = re.search(r"# status (\d)", line)
            assert status == (int(said[1]) if said else 0), (key, printed[line])
    return folder, printed


def test_the_honest_run_is_accepted_and_learns(session: tuple[Path, dict[str, str]]) -> None:
    _, printed = session
    assert "4 scaled back" in printed["verifl run config.toml --out out"]
    assert "ACCEPTED" in printed["verifl-audit out/transcript --policy out/policy.cbor"]
    right, _, count = printed["python use.py"].split()[:3]
    assert int(right) >= 0.9 * int(count)


def test_a_laboratory_that_cheats_is_named(session: tuple[Path, dict[str, str]]) -> None:
    told = session[1]["verifl-audit cheated/transcript --policy cheated/policy.cbor --explain lab-2"]
    assert "ACCEPTED" in told
    assert "invalid-proof" in told


def test_a_server_that_lies_is_told_from_a_damaged_copy(session: tuple[Path, dict[str, str]]) -> None:
    lied = session[1]["verifl-audit lied/transcript --policy lied/policy.cbor # status 1"]
    damaged = session[1]["verifl-audit out/transcript --policy out/policy.cbor # status 1"]
    assert "A RULE WAS BROKEN" in lied
    assert "DAMAGED OR INCOMPLETE" in damaged
    assert "A RULE WAS BROKEN" not in damaged
