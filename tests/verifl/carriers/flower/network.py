"""A federation over Flower as processes: a SuperLink with TLS that lets in registered SuperNodes, a node a client, and
trustees that know nothing of Flower. Every process has a directory of its own."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.pinned import PinnedPolicy
from protocols.rounds.proposals import open_proposal
from tests.nginx import free_port
from tests.verifl.carriers.exchange.website import TOKENS, Website, published
from tests.web import HOST, Authority
from verifl.config import Config
from verifl.federation import Federation, FederationResult
from verifl.tasks.loading import load_task
from verifl.training.initial_files import initial_file
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import TensorFilter

ROOT = Path(__file__).parents[4]
APPS = ROOT / "examples" / "flower-quickstart"
PATIENCE = 300.0
GUARDED = "client-1"  # the client whose node lets no application run but the one that it names
CLIENTS, TRUSTEES = ("client-1", "client-2", "client-3"), ("trustee-1", "trustee-2", "trustee-3")
CONFIG = Config.of(
    federation={"name": "digits", "rounds": 2, "seed": 7},
    trustees={"count": 3, "corrupt": 0, "threshold": 2},
    update={"clip_norm": 4.0},
)
DEADLINES = "[deadlines]\nclients = 240\ntrustees = 1.0\nquorum = 0\npoll = 0.2\n"
RECORDING = Path(__file__).parent / "recording"
# The application as a task of ours: the same functions, in the same order.
TASK = """
import sys
sys.path.insert(0, {app!r})
from digits_app.task import Net, accuracy, load_site, train

class Digits:
    def clients(self): return {clients!r}
    def model(self): return Net()
    def data(self, client): return load_site(int(client.removeprefix("client-")) - 1, {count})
    def train(self, model, client, data):
        net = Net()
        net.load_state_dict(model.state_dict())
        train(net, data, 2, 0.1)
        model.load_state_dict(net.state_dict())
    def evaluate(self, model): return {{"accuracy": accuracy(model, load_site(-1, 1))}}

def task():
    return Digits()
"""


@dataclass
class Network:
    """Directories and processes of everybody, and the ports."""

    folder: Path
    port: int = 0
    authority: Path = Path()  # the certificate of who issued the SuperLink's
    certificate: Path = Path()  # and that, with its key
    website: Website | None = None  # of the public directory
    clients: tuple[str, ...] = CLIENTS
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def coordinator(self) -> Path:
        return self.folder / "coordinator"

    @property
    def public(self) -> Path:
        return self.coordinator / "public"

    @property
    def transcript(self) -> Path:
        return self.public / "transcript"

    @property
    def policy(self) -> Path:
        return self.coordinator / "policy.cbor"

    def home(self, name: str) -> Path:
        return self.folder / "homes" / name

    def flower_home(self, name: str) -> Path:
        """Where a process of Flower keeps what is its own; it is started there."""
        return self.folder / "flwr" / name

    def opened(self, name: str) -> list[str]:
        """Every path that a party's processes, and what they started, have opened."""
        return (self.folder / f"{name}.opened").read_text().splitlines()

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def text(self, name: str) -> str:
        return self.log(name).read_text(errors="replace") if self.log(name).exists() else ""

    # ---- enrolment ----

    def enrol(self) -> FederationResult:
        """By the in-process carrier, which also says what the model has to be."""
        count = len(CLIENTS)
        text = TASK.format(app=str(APPS / "plain"), clients=list(CLIENTS), count=count)
        (self.folder / "task.py").write_text(text)
        config = Config.of(**{**CONFIG.model_dump(exclude_none=True, exclude={"task"}), "task": {"file": "task.py"}})
        task = load_task(config, self.folder)
        result = Federation(task, config, self.folder / "alone", device="cpu").run()
        (self.coordinator / "state").mkdir(parents=True, mode=0o700)
        shutil.copy(result.policy, self.policy)
        (self.coordinator / "config.toml").write_text(DEADLINES)
        training = LocalTraining(task, TensorFilter(), "cpu", config.federation.seed)
        (self.coordinator / "policy.initial.safetensors").write_bytes(initial_file(training, training.initial()))
        shutil.copy(result.state / "coordinator" / "identity.pem", self.coordinator / "state" / "identity.pem")
        for name in (*CLIENTS, *TRUSTEES):
            kind = "clients" if name in CLIENTS else "trustees"
            self.home(name).mkdir(parents=True, mode=0o700)
            shutil.copy(result.state / kind / name / "identity.pem", self.home(name) / "identity.pem")
            shutil.copy(self.policy, self.home(name) / "policy.cbor")
            shutil.copy(self.coordinator / "policy.initial.safetensors", self.home(name))
        self.public.mkdir()
        return result

    # ---- processes ----

    def start(self, name: str, command: list[str], *programs: Path) -> subprocess.Popen[bytes]:
        """programs: directories that are looked into before this environment's."""
        home = self.flower_home(name)
        home.mkdir(parents=True, exist_ok=True)
        environment = {
            **os.environ,
            "PYTHONPATH": f"{RECORDING}{os.pathsep}{ROOT}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "VERIFL_OPENED": str(self.folder / f"{name}.opened"),
            "NO_PROXY": HOST,
            **dict.fromkeys(("HOME", "TMPDIR", "FLWR_HOME", "TORCHINDUCTOR_CACHE_DIR"), str(home)),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": os.pathsep.join([*map(str, programs), str(Path(sys.executable).parent), os.environ["PATH"]]),
        }
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, cwd=home, start_new_session=True
            )
        self.running[name] = process
        return process

    def flower(self, program: str) -> str:
        return str(Path(sys.executable).parent / program)

    def start_superlink(self) -> None:
        self.start("superlink", [
            self.flower("flower-superlink"), "--host", "127.0.0.1", "--port", str(self.port),
            "--enable-supernode-auth", "--disable-runtime-dependency-installation",
            "--database", str(self.flower_home("superlink") / "superlink.db"),
            "--ssl-certfile", str(self.certificate), "--ssl-keyfile", str(self.certificate),
            "--ssl-ca-certfile", str(self.authority),
        ])  # fmt: skip
        self.wait_for_port("superlink")

    def wait_for_port(self, name: str) -> None:
        """Until the SuperLink listens."""
        self.wait(lambda: _is_open(self.port), name)

    def start_node(self, name: str) -> None:
        assert self.website is not None
        config = {
            "partition-id": self.clients.index(name), "num-partitions": len(self.clients), "verifl-seed": 7,
            "verifl-state": str(self.home(name)),
            "verifl-public": self.website.url, "verifl-ca-file": str(self.website.authority.file),
        }  # fmt: skip
        programs = [self.guarded(name)] if name == GUARDED else []
        config |= {"verifl-apps": self.built(APPS / "verified")} if programs else {}
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in config.items())
        self.start(name, [
            self.flower("flower-supernode"), "--superlink", f"127.0.0.1:{self.port}",
            "--root-certificates", str(self.authority),
            "--auth-supernode-private-key", str(self.folder / "nodes" / name),
            "--port", str(free_port()), "--node-config", words,
        ], *programs)  # fmt: skip

    def guarded(self, name: str) -> Path:
        """A directory in which verifl-clientapp stands in the place of Flower's program."""
        folder = self.flower_home(name) / "bin"
        if not folder.is_dir():
            folder.mkdir(parents=True)
            (folder / "flwr-clientapp").symlink_to(self.flower("verifl-clientapp"))
        return folder

    def built(self, app: Path) -> str:
        """The SHA-256 of an application, as its developer ships it."""
        home = self.flower_home("developer")
        if not home.is_dir():
            self.start("developer", [self.flower("flwr"), "build", "--app", str(app)])
            assert self.running.pop("developer").wait(PATIENCE) == 0, self.text("developer")
        (file,) = home.glob("*.fab")
        return hashlib.sha256(file.read_bytes()).hexdigest()

    def start_trustee(self, name: str) -> None:
        assert self.website is not None
        home = self.home(name)
        places = [*self.website.way(name), "--state", str(home), "--policy", str(home / "policy.cbor")]
        self.start(name, [sys.executable, "-P", "-m", "verifl", "trustee", "run", *places, "--poll", "0.1"])

    def configure(self) -> None:
        """Certificates, nodes' keys, and what `flwr` knows of the SuperLink."""
        self.port = free_port()
        authority = Authority(self.folder)
        self.authority, self.certificate = authority.file, authority.issue("")
        (self.folder / "nodes").mkdir()
        for name in self.clients:
            key = ec.generate_private_key(ec.SECP384R1())
            private = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
            )
            public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
            (self.folder / "nodes" / name).write_bytes(private)
            (self.folder / "nodes" / name).chmod(0o600)
            (self.folder / "nodes" / f"{name}.pub").write_bytes(public)
        home = self.folder / "flwr" / "operator"
        home.mkdir(parents=True)
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "deployment"\n[superlink.deployment]\naddress = "127.0.0.1:{self.port}"\n'
            f'root-certificates = "{self.authority}"\n'
        )

    def register(self) -> None:
        for name in self.clients:
            self.operate("supernode", "register", str(self.folder / "nodes" / f"{name}.pub"), "deployment")

    def operate(self, *words: str) -> None:
        """A command of whoever runs the federation, which ends by itself."""
        process = self.start("operator", [self.flower("flwr"), *words])
        status = self.running.pop("operator").wait(PATIENCE)
        assert status == 0, (process.args, self.text("operator")[-2000:])

    def run(self, rounds: int, app: Path = APPS / "verified", **settings: object) -> None:
        """`flwr run`: the ServerApp runs at the SuperLink; the command shows its log."""
        values = {"verifl-coordinator": str(self.coordinator), "num-server-rounds": rounds, **settings}
        words = " ".join(f"{key}={json.dumps(value)}" for key, value in values.items())
        self.start("operator", [self.flower("flwr"), "run", str(app), "deployment", "--stream", "--run-config", words])

    def closed(self) -> int:
        """Rounds that the coordinator has told of as closed."""
        file = self.coordinator / "state" / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return sum(each["round"] > 0 and each["aborted"] is None for each in map(json.loads, lines))

    def wait(self, what: Callable[[], bool], *watched: str, kept: tuple[str, ...] = ()) -> None:
        """Until it is so. watched: processes that may not end. kept: nodes that are started again."""
        until = time.monotonic() + PATIENCE
        while not what():
            self.keep(*kept)
            for name in watched:
                assert self.running[name].poll() is None, f"{name}: {self.text(name)[-3000:]}"
            assert time.monotonic() < until, "\n".join(f"{each}: {self.text(each)[-1500:]}" for each in self.running)
            time.sleep(0.1)

    def asked(self) -> str:
        """What the coordinator asks now; empty for nothing."""
        file = self.public / "exchange" / "proposal"
        try:
            return open_proposal(PinnedPolicy.open(self.policy.read_bytes()), file.read_bytes()).question
        except FileNotFoundError:
            return ""

    def ended(self) -> bool:
        """Whether the run that was started last is over."""
        return self.running["operator"].poll() is not None

    def keep(self, *names: str) -> None:
        """Start nodes again that have ended by themselves, as a service manager does."""
        for name in names:
            if self.running[name].poll() is not None:
                time.sleep(2.0)
                self.start_node(name)

    def kill_server_app(self) -> None:
        """The process that Flower runs the ServerApp in."""
        found = [pid for pid in _descendants(self.running["superlink"].pid) if b"flwr-serverapp" in _command(pid)]
        assert found
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """A process and all that it started."""
        process = self.running.pop(name)
        for pid in (*_descendants(process.pid), process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, how)
        process.wait(PATIENCE)

    @contextmanager
    def published(self) -> Iterator[None]:
        """For the block a web server has the public directory, with an inbox for each trustee; no client of Flower puts
        anything there."""
        with published(self.folder / "web", TOKENS, self.policy, self.public, TRUSTEES) as self.website:
            yield


Some = TypeVar("Some", bound=Network)


@contextmanager
def network(kind: type[Some]) -> Iterator[Some]:
    """Nobody runs yet, in a directory that other users can reach; whoever does at the end is killed."""
    folder = Path(tempfile.mkdtemp(prefix="verifl-flower-"))
    folder.chmod(0o755)
    made = kind(folder)
    try:
        yield made
    finally:
        for name in list(made.running):
            made.kill(name)
        shutil.rmtree(folder)


def libraries(paths: Iterable[str]) -> set[str]:
    """The installed packages that files are of."""
    parts = [Path(path).parts for path in paths]
    return {each[each.index("site-packages") + 1] for each in parts if "site-packages" in each[:-1]}


def _descendants(pid: int) -> list[int]:
    """All that a process has started, and those have."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    found, waiting = [], [pid]
    while waiting:
        children = [each for each, parent in parents.items() if parent in waiting]
        found += children
        waiting = children
    return found


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _is_open(port: int) -> bool:
    with socket.socket() as tried:
        tried.settimeout(0.5)
        return tried.connect_ex(("127.0.0.1", port)) == 0
