"""docs/enrolment.md, command by command: whoever types what the page says ends with a transcript that audits."""

from __future__ import annotations

import hashlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from auditor.cli import main as audit_command
from verifl.commands import root as cli

PAGE = Path(__file__).parents[3] / "docs" / "enrolment.md"
SECRET = "correct horse"
TRUSTEES = tuple(f"trustee-{number}" for number in range(1, 6))
CLIENTS = ("clinic-1", "clinic-2", "clinic-3")


def commands(section: str) -> Iterator[list[str]]:
    """The commands of one section of the page, in order, as words."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        yield from (shlex.split(line, comments=True) for line in block.splitlines())


@pytest.fixture
def newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In an empty directory, at a terminal, with one passphrase for everything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: SECRET)
    return tmp_path


def typed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints; it has to succeed."""
    if words[0] == "verifl-audit":
        result = CliRunner().invoke(audit_command, words[1:])
        assert result.exit_code == 0, (words, result.output)
        return result.stdout
    capsys.readouterr()
    assert words[0] == "verifl"
    assert cli.invoke(words[1:]) == 0, (words, capsys.readouterr().err)
    return capsys.readouterr().out


def edit(file: str, before: str, after: str) -> None:
    text = Path(file).read_text(encoding="utf-8")
    assert before in text
    Path(file).write_text(text.replace(before, after), encoding="utf-8")


def enrol(words: list[str], keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A `roster add` of the page, once for each party of its role."""
    role = words[3]
    for name in {"log": (words[4],), "trustee": TRUSTEES, "client": CLIENTS}[role]:
        file = keys / ("coordinator.pem" if role == "log" else f"{name}.pem")
        public = typed(["verifl", "keys", "show", str(file)], capsys).strip()
        typed([*words[:4], name, public], capsys)


def test_the_page(newcomer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    keys, office = newcomer / "keys", newcomer / "office"
    keys.mkdir()
    made, shown = [typed(words, capsys) for words in commands("Every party: a key")]
    assert made == shown
    shutil.copy("clinic-1.pem", keys)
    for name in ("coordinator", *TRUSTEES, *CLIENTS[1:]):
        typed(["verifl", "keys", "new", str(keys / f"{name}.pem")], capsys)

    for words in commands("The issuer: roster and policy"):
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
            workshops = ", ".join(f'"workshop-{number}"' for number in range(1, 5))
            edit("task.py", workshops, ", ".join(f'"{name}"' for name in CLIENTS))
            edit("config.toml", "rounds = 3", "rounds = 1")
        elif words[:3] == ["verifl", "roster", "add"]:
            enrol(words, keys, capsys)
        else:
            said = typed(words, capsys)
    assert said.split()[-1] == hashlib.sha256(Path("policy.cbor").read_bytes()).hexdigest()

    for file in (newcomer / "clinic-1.pem", newcomer / "issuer.pem"):
        shutil.copy(file, office)
    keys.rename(office / "keys")
    checksum, policy, grep = commands("Client and trustee: before the first round")
    assert checksum == ["sha256sum", "policy.cbor"]
    assert "min_cohort" in typed(policy, capsys)
    show, looked_for = grep[: grep.index("|")], grep[-1]
    assert typed(looked_for.removeprefix("$(").removesuffix(")").split(), capsys).strip() in typed(show, capsys)

    for section in ("The server: a run", "The client: after every round", "The auditor, and everybody else"):
        for words in commands(section):
            if "compare" in words:
                shutil.copytree("run/transcript", "other-copy")
            once = ["--once", "--state", "followed"] if "follow" in words else []
            typed([*words, *once], capsys)

    for words in commands("When a key leaks, or a party leaves"):
        if words[0] == "cp":
            shutil.copy(words[1], words[2])
        else:
            said = typed(words, capsys)
    assert "clinic-1, from here on" in said
    assert "revoked (key-compromised)  trustee-5" in said
    typed(["verifl-audit", "run/transcript", "--policy", "policy.cbor"], capsys)
