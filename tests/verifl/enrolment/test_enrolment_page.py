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


def request(keys: Path, requests: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What each party types, with its own role and name."""
    members = {"coordinator": ("log", "fl.example.org/study-7")}
    members |= {name: ("trustee", name) for name in TRUSTEES} | {name: ("client", name) for name in CLIENTS[1:]}
    requests.mkdir()
    for file, (role, name) in members.items():
        words = ["--federation", "my-federation", "--role", role, "--name", name, "--out", f"{requests}/{file}.request"]
        typed(["verifl", "keys", "request", f"{keys}/{file}.pem", *words], capsys)


def approve(policy: str, folder: Path, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What everybody but the first client types."""
    folder.mkdir(exist_ok=True)
    for name in (*TRUSTEES, *CLIENTS[1:]):
        words = ["--key", f"{keys}/{name}.pem", "--out", f"{folder}/{name}.approval"]
        typed(["verifl", "policy", "approve", policy, *words], capsys)


def globbed(words: list[str]) -> list[str]:
    """As a shell does it."""
    return [found for word in words for found in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def test_the_page(newcomer: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    keys, office = newcomer / "keys", newcomer / "office"
    keys.mkdir()
    made, requested = [typed(words, capsys) for words in commands("Every party: a key")]
    assert made == requested
    shutil.copy("clinic-1.pem", keys)
    for name in ("coordinator", *TRUSTEES, *CLIENTS[1:]):
        typed(["verifl", "keys", "new", str(keys / f"{name}.pem")], capsys)

    for words in commands("The issuer: roster and policy"):
        if words[0] == "cd":
            monkeypatch.chdir(words[1])
            request(keys, office / "requests", capsys)
            shutil.copy("../clinic-1.request", "requests")
            workshops = ", ".join(f'"workshop-{number}"' for number in range(1, 5))
            edit("task.py", workshops, ", ".join(f'"{name}"' for name in CLIENTS))
            edit("config.toml", "rounds = 3", "rounds = 1")
        else:
            said = typed(globbed(words), capsys)
    digest = hashlib.sha256(Path("policy.cbor").read_bytes()).hexdigest()
    assert said.split()[-1] == digest

    for file in (newcomer / "clinic-1.pem", newcomer / "issuer.pem"):
        shutil.copy(file, office)
    keys = keys.rename(office / "keys")
    checksum, policy, grep, approval = commands("Client and trustee: before the first round")
    assert checksum == ["sha256sum", "policy.cbor"]
    assert "min_cohort" in typed(policy, capsys)
    show, looked_for = grep[: grep.index("|")], grep[-1]
    assert typed(looked_for.removeprefix("$(").removesuffix(")").split(), capsys).strip() in typed(show, capsys)
    typed([digest if word == "SHA256" else word for word in approval], capsys)
    approve("policy.cbor", office / "approvals", keys, capsys)
    shutil.copy("clinic-1.approval", "approvals")

    for section in ("The server: a run", "The client: after every round", "The auditor, and everybody else"):
        for words in commands(section):
            if "compare" in words:
                shutil.copytree("run/transcript", "other-copy")
            once = ["--once", "--state", "followed"] if "follow" in words else []
            typed(globbed([*words, *once]), capsys)

    for words in commands("When a key leaks, or a party leaves"):
        if words[0] == "cp":
            shutil.copy(words[1], words[2])
        else:
            said = typed(words, capsys)
    assert "clinic-1, from here on" in said
    assert "revoked (key-compromised)  trustee-5" in said
    typed(["verifl-audit", "run/transcript", "--policy", "policy.cbor"], capsys)

    close, sign, run, last = commands("Going on with other members, or under another policy")
    edit("config.toml", "close = false", "close = true")
    typed(close, capsys)
    for file in ("roster.toml", "config.toml"):
        edit(file, 'name = "my-federation"', 'name = "next"')
    edit("roster.toml", "fl.example.org/study-7", "fl.example.org/next")
    typed(sign, capsys)
    approve("next.cbor", office / "further", keys, capsys)
    words = ["--key", "clinic-1.pem", "--out", "further/clinic-1.approval"]
    typed(["verifl", "policy", "approve", "next.cbor", *words], capsys)
    collect = globbed(["verifl", "policy", "collect", "next.cbor", "further/*.approval"])
    typed([*collect, "--out", "next.approvals"], capsys)
    typed(run, capsys)
    assert "I14  pass" in typed(last, capsys)
