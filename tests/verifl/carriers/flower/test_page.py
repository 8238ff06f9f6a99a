"""docs/flower.md, command by command: five hospitals, five trustees of whom one is away, a coordinator, and nginx.

VERIFL_BARE names the programs of another virtual environment for trustees and auditor, one without torch and Flower.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.nginx import Nginx, nginx
from tests.required import needs
from tests.verifl.agents.alone import strangers
from tests.verifl.carriers.exchange.website import USER, prepare
from tests.verifl.carriers.flower.network import APPS, PATIENCE, ROOT, Network, free_port, libraries, network
from tests.web import HOST, Authority

PAGES = ROOT / "docs"
CLIENTS = tuple(f"hospital-{letter}" for letter in "abcde")
TRUSTEES = tuple(f"trustee-{number}" for number in range(1, 6))
ABSENT, KILLED = TRUSTEES[4], CLIENTS[2]
ROUNDS = "From nothing to three rounds"
BARE = os.environ.get("VERIFL_BARE", str(Path(sys.executable).parent))
pytestmark = [pytest.mark.organisations, pytest.mark.exhaustive]


def blocks(page: str, section: str, kind: str) -> Iterator[str]:
    """What stands in the blocks of one section of a page, in order, lines that go on as one."""
    text = (PAGES / page).read_text(encoding="utf-8").split(f"## {section}\n")[1].split("\n## ")[0]
    for block in re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL):
        assert not [quoted for quoted in re.findall(r"'[^']*'", block) if "\\\n" in quoted]  # where it is no line's end
        yield block.replace("\\\n", "")


def commands(page: str, section: str) -> list[list[str]]:
    """The commands in there, as words."""
    return [
        shlex.split(line, comments=True) for block in blocks(page, section, "console") for line in block.splitlines()
    ]


@dataclass
class Page(Network):
    """The network of the page: other names and places than it has, and nothing else changed."""

    clients: tuple[str, ...] = CLIENTS
    web: int = 0  # nginx's port
    places: dict[str, str] = field(default_factory=dict)
    typed: dict[str, list[str]] = field(default_factory=dict)  # what the page says, by its first words

    @property
    def office(self) -> Path:
        return self.folder / "office"

    def read(self) -> None:
        """The page's commands, and what they have here in place of its names."""
        self.port, self.web = free_port(), free_port()
        for words in commands("flower.md", ROUNDS):
            self.typed[" ".join(words[:2] if words[0] in ("verifl", "flwr") else words[:1])] = words
        authority = Authority(self.folder)
        self.authority, self.certificate = authority.file, authority.issue("")
        self.places = {
            "/srv/verifl/coordinator": str(self.coordinator),
            "https://fl.example.org": f"https://{HOST}:{self.web}",
            "fl.example.org:8000": f"{HOST}:{self.port}",
            "0.0.0.0": HOST,  # noqa: S104
            "8000": str(self.port),
            "/srv/verifl/ca.crt": str(self.authority),
            "ca.crt": str(self.authority),
            "server.crt": str(self.certificate),
            "server.key": str(self.certificate),
            "/etc/nginx/verifl-tokens": str(self.folder / "tokens"),
            "examples/flower-quickstart/verified": str(APPS / "verified"),
        }

    def here(self, what: str, name: str = "") -> list[str]:
        """A command of the page, with this machine's places and a party's name in it."""
        places = {**self.places, "hospital-a": name or "hospital-a", "trustee-1": name or "trustee-1"}
        if name:
            places["/srv/verifl/client"] = str(self.home(name))
        words = self.typed[what]
        words = words[: words.index(">")] if ">" in words else words
        pattern = re.compile("|".join(map(re.escape, sorted(places, key=len, reverse=True))))
        return [pattern.sub(lambda found: places[found[0]], word) for word in words]

    def type(self, words: list[str], place: Path, bare: bool = False, **environment: str) -> str:
        """What a command prints that ends by itself; it has to succeed."""
        path = f"{BARE if bare else Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        own = {**os.environ, "PATH": path, "NO_PROXY": HOST, "PYTHONPATH": str(ROOT), **environment}
        done = subprocess.run(words, cwd=place, env=own, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    # ---- what is done before anything runs ----

    def make_keys(self) -> None:
        """Of everybody, with requests, by docs/enrolment.md; and of the nodes, by this page."""
        for words in ("keys new issuer.pem", "roster init office", "init office"):
            self.type(["verifl", *words.split()], self.folder)
        self.coordinator.mkdir()
        members = {"coordinator": ("log", "fl.example.org/cardio", self.coordinator)}
        members |= {name: ("client", name, self.home(name)) for name in CLIENTS}
        members |= {name: ("trustee", name, self.home(name)) for name in TRUSTEES}
        for name, (role, known_as, place) in members.items():
            place.mkdir(parents=True, exist_ok=True)
            bare = role == "trustee"
            self.type(["verifl", "keys", "new", f"{name}.pem"], place, bare)
            request = ["--federation", "cardio", "--role", role, "--name", known_as, "--out", str(self.office / name)]
            self.type(["verifl", "keys", "request", f"{name}.pem", *request], place, bare)
        for name in CLIENTS:
            self.type(self.here("ssh-keygen"), self.home(name))

    def sign(self) -> None:
        """The policy, which everybody approves, and who gets what of it."""
        config, roster = self.office / "config.toml", self.office / "roster.toml"
        roster.write_text(roster.read_text().replace("my-federation", "cardio"))
        config.write_text(without(config.read_text().replace("my-federation", "cardio"), "task"))
        self.type(["verifl", "roster", "admit", "coordinator", *CLIENTS, *TRUSTEES], self.office)
        self.type(self.here("verifl roster"), self.office, PYTHONPATH=f"{APPS / 'verified'}{os.pathsep}{ROOT}")
        policy, initial = self.office / "policy.cbor", self.office / "policy.initial.safetensors"
        approvals = []
        for name in (*CLIENTS, *TRUSTEES):
            shutil.copy(policy, self.home(name))
            approvals.append(str(self.office / f"{name}.approval"))
            own = ["--key", f"{name}.pem", "--out", approvals[-1]]
            self.type(["verifl", "policy", "approve", "policy.cbor", *own], self.home(name), name in TRUSTEES)
        for place in (self.coordinator, *map(self.home, CLIENTS)):
            shutil.copy(policy, place)
            shutil.copy(initial, place)
        collected = ["--out", str(self.coordinator / "policy.approvals")]
        self.type(["verifl", "policy", "collect", "policy.cbor", *approvals, *collected], self.office)

    def seat(self) -> str:
        """The coordinator's key and directory, and the configuration of the web server, with the trustees' tokens."""
        (token,) = commands("deployment.md", "Who may put files there")
        lines = []
        for name in TRUSTEES:
            words = [name if word == "hospital-a" else word for word in token[: token.index(">>")]]
            lines.append(self.type(words, self.home(name), bare=True))
        (self.folder / "tokens").write_text("".join(lines))
        for words in (self.here("mkdir"), self.here("mv")):
            self.type(words, self.coordinator)
        (self.coordinator / "config.toml").write_text("[deadlines]\nclients = 240\ntrustees = 1.0\npoll = 0.2\n")
        self.public.mkdir()
        words = [HOST if word == "fl.example.org" else word for word in self.here("verifl exchange")]
        own = ["--certificate", str(self.certificate), "--certificate-key", str(self.certificate)]
        own += ["--listen", f"{HOST}:{self.web}", "--coordinator", "COORDINATOR", "--user", USER]
        configuration = self.type([*words, *own], self.coordinator)
        prepare(configuration, self.public)
        return configuration

    # ---- what runs ----

    def start_superlink(self) -> None:
        self.start("superlink", self.here("flower-superlink"))
        self.wait_for_port("superlink")

    def start_node(self, name: str) -> None:
        words = self.here("flower-supernode", name)
        key = words.index("--auth-supernode-private-key") + 1
        words[key] = str(self.home(name) / words[key])
        config = words.index("--node-config") + 1
        words[config] = words[config].replace("partition-id=0", f"partition-id={CLIENTS.index(name)}")
        words[config] += f' verifl-ca-file="{self.authority}"'
        self.start(name, [*words, "--port", str(free_port())])

    def start_trustee(self, name: str) -> None:
        words = self.here("verifl trustee", name)
        home = self.home(name)
        files = {each: str(home / each) for each in ("state", f"{name}.pem", "policy.cbor", "token")}
        words = [files.get(word, word) for word in words]
        self.start(name, [f"{BARE}/{words[0]}", *words[1:], "--ca-file", str(self.authority), "--poll", "0.2"])

    def operator(self) -> None:
        """Whoever runs the federation: knows the SuperLink, and lets the nodes in."""
        (config,) = blocks("flower.md", ROUNDS, "toml")
        assert tomllib.loads(config)["superlink"]["default"] == "consortium"
        for place in sorted(self.places, key=len, reverse=True):
            config = config.replace(place, self.places[place])
        home = self.flower_home("operator")
        home.mkdir(parents=True)
        (home / "config.toml").write_text(config)
        for name in CLIENTS:
            register, key = self.here("flwr supernode"), str(self.home(name) / "node.key.pub")
            self.operate(*[key if word == "node.key.pub" else word for word in register[1:]])

    def run_app(self) -> None:
        words = self.here("flwr run")
        words[-1] += f' verifl-coordinator="{self.coordinator}"'
        self.start("operator", [self.flower(words[0]), *words[1:]])


def without(text: str, table: str) -> str:
    """A TOML file without one of its tables."""
    parts = re.split(r"(?m)^(?=\[)", text)
    assert any(part.startswith(f"[{table}]") for part in parts)
    return "".join(part for part in parts if not part.startswith(f"[{table}]"))


def final_model(net: Page, name: str) -> str:
    """The hash that the metadata of a client's model have, of the third round; nothing before that."""
    file = net.home(name) / "state" / "model.safetensors"
    if not file.exists():
        return ""
    with safe_open(file, "np") as model:
        metadata = model.metadata()
    return str(metadata["model"]) if metadata["round"] == "3" else ""


def three_rounds(net: Page) -> None:
    """One trustee is never started; one node is killed while the second round waits for it, and comes back."""
    net.start_superlink()
    net.operator()
    present = [name for name in TRUSTEES if name != ABSENT]
    for name in present:
        net.start_trustee(name)
    for name in CLIENTS:
        net.start_node(name)
    net.run_app()
    net.wait(lambda: net.closed() == 1 and net.asked() == "submission", "superlink", *present)
    net.kill(KILLED)
    net.start_node(KILLED)
    net.wait(net.ended, "superlink", *present, kept=CLIENTS)
    assert net.running["operator"].returncode == 0
    assert net.closed() == 3, net.text("operator")[-3000:]


def check_opened(net: Page) -> None:
    """Each opened its own directory, libraries, certificates, and nothing of another's."""
    own = {name: [net.home(name), net.authority] for name in (*CLIENTS, *TRUSTEES[:4])}
    own |= {"superlink": [net.coordinator, net.authority, net.certificate]}
    bare = [Path(BARE).parent]
    for name, places in own.items():
        paths = [path for path in net.opened(name) if ": " not in path]
        assert strangers(paths, [*places, net.flower_home(name), *bare]) == [], name
        assert libraries(paths) & {"torch", "flwr"} == (set() if name in TRUSTEES else {"torch", "flwr"}), name


def check_results(net: Page, server: Nginx) -> None:
    """Each hospital has the same last model and its receipts, and the audit at the address accepts."""
    assert len({final_model(net, name) for name in CLIENTS}) == 1
    assert final_model(net, KILLED)
    for name in CLIENTS:
        for number in (1, 2, 3):
            receipt = str(net.home(name) / f"state/receipts/round-{number}.cbor")
            told = net.type(["verifl-audit", "receipt", receipt, "--policy", "policy.cbor"], net.home(name))
            assert "ACCEPTED" in told
    auditor = net.folder / "auditor"
    auditor.mkdir()
    shutil.copy(net.office / "policy.cbor", auditor)
    words = [*net.here("verifl-audit"), "--ca-file", str(net.authority)]
    assert "ACCEPTED" in net.type(words, auditor, bare=True)
    put = {each.uri.split("/")[3] for each in server.requests() if each.method == "PUT"}
    assert put == set(TRUSTEES[:4])  # a hospital's answers go by Flower


def test_the_page() -> None:
    needs("flwr", "nginx", "ssh-keygen")
    with network(Page) as net:
        net.read()
        net.make_keys()
        net.sign()
        configuration = net.seat()
        with nginx(net.folder / "nginx", net.web, configuration, USER) as server:
            three_rounds(net)
            check_results(net, server)
        check_opened(net)
