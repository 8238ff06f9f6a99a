"""docs/deployment.md, command by command: five clients, five trustees, one of them away, a coordinator, and nginx."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from safetensors import safe_open

from auditor.cli import main as audit_command
from tests.nginx import HOST, free_port, nginx
from tests.required import needs
from tests.verifl.agents.alone import strangers
from tests.verifl.carriers.exchange.consortium import Consortium
from tests.verifl.carriers.exchange.website import USER, prepare
from tests.web import Authority
from verifl.commands import root as cli

PAGE = Path(__file__).parents[4] / "docs" / "deployment.md"
CLIENTS = tuple(f"hospital-{letter}" for letter in "abcde")
TRUSTEES = tuple(f"trustee-{number}" for number in range(1, 6))
ABSENT, KILLED = TRUSTEES[4], CLIENTS[2]
DEADLINES = "\n[deadlines]\nclients = 120\ntrustees = 0.1\npoll = 0.05\n"
pytestmark = pytest.mark.organisations


def commands(section: str) -> Iterator[list[str]]:
    """The commands of one section of the page, in order, as words."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", "").splitlines():
            yield shlex.split(line, comments=True)


class Deployed(Consortium):
    """Who types what the page says, each in its own directory. url: of the web server; ca: who certified it."""

    url = ""
    ca = Path()

    def started_in(self, name: str) -> Path:
        return self.home(name)

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        """Temporary files, too, are in its own directory, so that everything else that it opens is seen."""
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TMPDIR", str(self.home(name)))
            return super().start(name, *more)

    def command(self, name: str, *more: str) -> list[str]:
        """As the page has it, of another place and name, and with logs that a test can read."""
        (coordinator,), (trustee, client) = commands("The coordinator"), commands("Trustees and clients")
        if name == "coordinator":
            return [*self.here(coordinator[1:]), "--log-format", "json", *more]
        words = self.here((client if name in CLIENTS else trustee)[1:])
        named = [word.replace("hospital-a", name).replace("trustee-1", name) for word in words]
        return [*named, "--ca-file", str(self.ca), "--log-format", "json", *more]

    def here(self, words: list[str]) -> list[str]:
        """Words of the page, with this machine's places in them."""
        places = {"/srv/cardio/public": str(self.public), "https://fl.example.org": self.url}
        for before, after in places.items():
            words = [word.replace(before, after) for word in words]
        return words


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Deployed]:
    """In a directory that other users can reach; whatever still runs at the end is killed."""
    needs("nginx")
    monkeypatch.setenv("NO_PROXY", HOST)
    folder = Path(tempfile.mkdtemp(prefix="verifl-page-"))
    folder.chmod(0o755)
    consortium = Deployed(folder)
    try:
        yield consortium
    finally:
        for process in consortium.running.values():
            process.kill()
            process.wait()
        shutil.rmtree(folder)


def typed(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints; it has to succeed."""
    assert words[0] in ("verifl", "verifl-audit"), words
    capsys.readouterr()
    if words[0] == "verifl-audit":
        result = CliRunner().invoke(audit_command, words[1:])
        assert result.exit_code == 0, (words, result.output)
        return result.stdout
    assert cli.invoke(words[1:]) == 0, (words, capsys.readouterr().err)
    return capsys.readouterr().out


def enrol(place: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What docs/enrolment.md says, without passphrases; each party then has what the page says that it has."""
    office = place.folder / "office"
    for words in ("keys new issuer.pem", "roster init office", "init office"):
        monkeypatch.chdir(place.folder)
        typed(["verifl", *words.split()], capsys)
    members = {"coordinator": ("log", "fl.example.org/cardio")}
    members |= {name: ("client", name) for name in CLIENTS} | {name: ("trustee", name) for name in TRUSTEES}
    for name, (role, known_as) in members.items():
        place.home(name).mkdir(parents=True, mode=0o700)
        monkeypatch.chdir(place.home(name))
        typed(["verifl", "keys", "new", f"{name}.pem"], capsys)
        request = ["--federation", "cardio", "--role", role, "--name", known_as, "--out", str(office / name)]
        typed(["verifl", "keys", "request", f"{name}.pem", *request], capsys)
    monkeypatch.chdir(office)
    for file, before, after in (
        ("roster.toml", "my-federation", "cardio"),
        ("config.toml", "my-federation", "cardio"),
        ("task.py", '"workshop-1", "workshop-2", "workshop-3", "workshop-4"', ", ".join(map(repr, CLIENTS))),
    ):
        text = Path(file).read_text()
        assert before in text
        Path(file).write_text(text.replace(before, after))
    typed(["verifl", "roster", "admit", *members], capsys)
    sign = ["--config", "config.toml", "--key", "../issuer.pem", "--out", "policy.cbor", "--pin-task"]
    typed(["verifl", "roster", "sign", "roster.toml", *sign], capsys)
    for name in members:
        needed = ["policy.cbor"] if name in TRUSTEES else ["policy.cbor", "config.toml", "task.py"]
        for file in needed:
            shutil.copy(file, place.home(name))
    approvals = []
    for name in (*CLIENTS, *TRUSTEES):
        approvals.append(f"{name}.approval")
        key = ["--key", str(place.home(name) / f"{name}.pem"), "--out", approvals[-1]]
        typed(["verifl", "policy", "approve", "policy.cbor", *key], capsys)
    collected = str(place.home("coordinator") / "policy.approvals")
    typed(["verifl", "policy", "collect", "policy.cbor", *approvals, "--out", collected], capsys)
    with (place.home("coordinator") / "config.toml").open("a") as config:
        config.write(DEADLINES)


def website(place: Deployed, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The printed configuration, with the lines of tokens that everybody made at home; its directories are made."""
    (token,) = commands("Who may put files there")
    lines = []
    for name in (*CLIENTS, *TRUSTEES):
        monkeypatch.chdir(place.home(name))
        lines.append(typed([name if word == "hospital-a" else word for word in token[: token.index(">>")]], capsys))
    tokens = place.folder / "tokens"
    tokens.write_text("".join(lines))
    authority = Authority(place.folder)
    place.url, place.ca = f"https://{HOST}:{port}", authority.file
    printing, *installing = commands("The web server")
    assert [words[0] for words in installing] == ["ln", "nginx"]  # which the test does by a nginx of its own
    monkeypatch.chdir(place.home("coordinator"))
    words = place.here(printing[: printing.index(">")])
    words = [{"fl.example.org": HOST, "/etc/nginx/cardio-tokens": str(tokens)}.get(word, word) for word in words]
    certificate = str(authority.issue(""))
    own = ["--certificate", certificate, "--certificate-key", certificate, "--listen", f"{HOST}:{port}"]
    configuration = typed([*words, *own, "--coordinator", "COORDINATOR", "--user", USER], capsys)
    prepare(configuration, place.public)
    return configuration


def three_rounds(place: Deployed) -> None:
    """One trustee is never started; one client is killed while the second round waits for it, and comes back."""
    place.start("coordinator")
    present = [name for name in (*TRUSTEES, *CLIENTS) if name != ABSENT]
    for name in present:
        place.start(name, "--poll", "0.2")
    place.wait(lambda: place.asked_for("submissions") == 2)
    place.stop(KILLED, signal.SIGKILL)
    place.start(KILLED, "--poll", "0.2")
    place.wait(lambda: place.running["coordinator"].poll() is not None)
    assert place.end("coordinator") == 0
    receipts = [place.home(name) / "state/receipts/round-3.cbor" for name in CLIENTS]
    place.wait(lambda: all(file.exists() for file in receipts) and all(final_model(place, name) for name in CLIENTS))
    assert len({final_model(place, name) for name in CLIENTS}) == 1
    for name in present:
        assert place.stop(name) == 0


def final_model(place: Deployed, name: str) -> str:
    """The hash that the metadata of a client's model have, of the third round; nothing before that."""
    file = place.home(name) / "state/model.safetensors"
    if not file.exists():
        return ""
    with safe_open(file, "pt") as model:
        metadata = model.metadata()
    return metadata["model"] if metadata["round"] == "3" else ""


def check_opened(place: Deployed, name: str) -> None:
    """Each opened its own directory, libraries, what certifies the web server, and nothing of another's."""
    home, seen = place.home(name), place.opened(name)
    public = [place.public] if name == "coordinator" else [place.ca]
    reached = ("socket.connect: ", "socket.bind: ")
    paths = [os.path.normpath(home / path) for path in seen if not path.startswith(reached)]
    holding = {str(place.public.parent)} if name == "coordinator" else set()  # whose entry is synced
    assert set(strangers(paths, [home, *public])) <= holding
    assert str(home / f"{name}.pem") in paths
    if name in TRUSTEES:
        assert place.imported(name).isdisjoint({"torch", "flwr", "sklearn"})


def test_the_page(deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    enrol(deployed, monkeypatch, capsys)
    port = free_port()
    configuration = website(deployed, port, monkeypatch, capsys)
    with nginx(deployed.folder / "nginx", port, configuration, USER):
        three_rounds(deployed)
        status, audit, receipt = commands("Who looks")
        trusted = ["--ca-file", str(deployed.ca)]
        monkeypatch.chdir(deployed.home(KILLED))
        receipt = [word.replace("round-1", "round-2") for word in receipt]  # of the round in which it was killed
        assert "ACCEPTED" in typed([*deployed.here(receipt), *trusted], capsys)
        assert "3 closed, 0 aborted" in typed([*deployed.here(status), *trusted], capsys)
        assert "ACCEPTED" in typed([*deployed.here(audit), *trusted], capsys)
    for name in ("coordinator", *CLIENTS, *TRUSTEES[:4]):
        check_opened(deployed, name)
