"""The demonstration with every way to cheat over a proof at once, as its documentation has it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from auditor import audit
from verifl.commands import root as cli

DOCUMENT = Path(__file__).parents[3] / "docs" / "misbehaviour.md"
CHECKS = {
    "wrong-ciphertext": "linear-relation",
    "wrong-key": "opening",
    "oversized-key": "linear-relation",
    "oversized-error": "linear-relation",
    "wrong-blinding": "linear-relation",
    "out-of-range": "linear-relation",
    "value-in-padding": "linear-relation",
    "quotient-out-of-range": "quotient-range",
    "mixed-up-chunks": "linear-relation",
}


def documented() -> list[str]:
    """The command's arguments, from the document."""
    text = DOCUMENT.read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"^verifl (demo .*--clients .*)$", text, re.MULTILINE)
    return shlex.split(command)


def test_nine_liars_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = documented()
    assert {each for each in arguments if each in CHECKS} == set(CHECKS)
    assert arguments.count("--inject") == len(CHECKS)
    out = tmp_path / "out"
    assert cli.invoke([*arguments, "--rounds", "2", "--out", str(out), "--format", "json"]) == 0

    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["audit"]["accepted"] is True
    liars = dict(re.findall(r"^injected in round 2: ([a-z-]+) \(([a-z0-9-]+)\)", told.err, re.MULTILINE))
    assert set(liars) == set(CHECKS)
    _, lied = document["rounds"]
    assert lied["aborted"] is None
    assert len(lied["accepted"]) == 5
    assert lied["excluded"] == dict.fromkeys(liars.values(), "invalid-proof")
    assert lied["failed_checks"] == {liars[kind]: check for kind, check in CHECKS.items()}

    notes = audit(out / "transcript", out / "policy.cbor").check("I7").notes
    for kind, client in liars.items():
        (note,) = [each for each in notes if each.startswith(f"{client} is named: ")]
        assert note.startswith(f"{client} is named: invalid-proof in round 2, ")
        assert note.endswith(f" ({CHECKS[kind]})")
