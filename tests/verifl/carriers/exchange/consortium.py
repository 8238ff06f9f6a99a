"""A consortium on one disk: every party a process with a directory of its own, which meets the others in public/."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from verifl.config import Config, read_config
from verifl.federation import Federation, FederationResult
from verifl.reports.events import EVENTS, ON_TRAINING
from verifl.tasks.loading import load_task

ROOT = Path(__file__).parents[4]
PATIENCE = 300.0  # seconds, for machines that do much else
CLIENTS, TRUSTEES = ("x", "y", "z"), ("trustee-1", "trustee-2", "trustee-3")
TASK = """
import torch

class Noisy:
    def clients(self): return ["x", "y", "z"]
    def model(self): return torch.nn.Linear(3, 2)
    def data(self, client): return torch.randn(8, 3)
    def train(self, model, client, data):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(3):
            optimizer.zero_grad()
            model(data + 0.1 * torch.randn(8, 3)).square().mean().backward()
            optimizer.step()
    def evaluate(self, model): return {"weight": float(model.weight.detach().sum())}

def task():
    return Noisy()
"""
CONFIG = """
[task]
file = "task.py"
[federation]
name = "consortium"
rounds = 2
seed = 7
[trustees]
count = 3
corrupt = 0
threshold = 2
[deadlines]
clients = 120
trustees = 1.0
quorum = 0
poll = 0.05
"""
# A party that leaves a note of what it has opened and imported, if it is not killed.
WATCHED = """
import json, sys
from proofs.machine.interrupts import stop_before_anything
stop_before_anything()
from pathlib import Path
from tests.verifl.agents.alone import PATHS, watch
watch()
from verifl.commands.root import invoke
status, seen = invoke(sys.argv[2:]), list(PATHS)
with open(sys.argv[1], "a") as file:
    file.write(json.dumps({"paths": seen, "modules": sorted(sys.modules)}) + "\\n")
sys.exit(status)
"""


@dataclass
class Consortium:
    """The parties' directories, each beside the others, and the processes that run."""

    folder: Path
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    way: Callable[[str], list[str]] | None = None  # the options by which a party other than the coordinator gets there

    @property
    def public(self) -> Path:
        return self.folder / "public"

    @property
    def policy(self) -> Path:
        return self.folder / "policy.cbor"

    @property
    def config(self) -> Config:
        return read_config(self.folder / "config.toml")

    def home(self, name: str) -> Path:
        return self.folder / "homes" / name

    def started_in(self, name: str) -> Path:
        """An empty directory, so that no path counts for the place that somebody stands in."""
        here = self.folder / "nowhere"
        here.mkdir(exist_ok=True)
        return here

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def command(self, name: str, *more: str) -> list[str]:
        """What the party types."""
        role = "coordinator" if name == "coordinator" else "client" if name in CLIENTS else "trustee"
        config = [] if role == "trustee" else [str(self.folder / "config.toml")]
        here = self.way is None or name == "coordinator"
        public = ["--public", str(self.public)] if here else self.way(name)
        places = [*public, "--state", str(self.home(name)), "--policy", str(self.policy)]
        return [role, "run", *config, *places, "--log-format", "json", *more]

    def program(self, name: str) -> list[str]:
        """What runs the command that the party types."""
        return [sys.executable, "-c", WATCHED, str(self.folder / f"{name}.opened")]

    def environment(self, name: str) -> dict[str, str]:
        """The variables of its process."""
        common = {"PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **common, "TORCHINDUCTOR_CACHE_DIR": str(self.home(name))}

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        more = more if name == "coordinator" else ("--poll", "0.05", *more)
        command = [*self.program(name), *self.command(name, *more)]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=self.environment(name), cwd=self.started_in(name)
            )
        self.running[name] = process
        return process

    def events(self, name: str, event: str) -> list[dict[str, object]]:
        """What a party has logged of this kind."""
        lines = self.log(name).read_text().splitlines() if self.log(name).exists() else []
        parsed = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [each for each in parsed if each["event"] == event]

    def opened(self, name: str) -> list[str]:
        """Every path that the party's processes opened, without those that were killed."""
        notes = map(json.loads, (self.folder / f"{name}.opened").read_text().splitlines())
        return [path for note in notes for path in note["paths"]]

    def imported(self, name: str) -> set[str]:
        """The modules that they had in the end."""
        notes = map(json.loads, (self.folder / f"{name}.opened").read_text().splitlines())
        return {module for note in notes for module in note["modules"]}

    def breaches(self, name: str) -> list[str]:
        """Lines that a party has logged and that are not as the schema of log records says; fewer a test cannot see."""
        fixed = {"time", "level", "event", "message"}
        lines = [json.loads(each) for each in self.log(name).read_text().splitlines() if each.startswith("{")]
        known = {**EVENTS, **ON_TRAINING}
        return [str(line) for line in lines if set(line) != fixed | set(known.get(line["event"], ("unknown",)))]

    def asked_for(self, stage: str) -> int:
        """How often the coordinator began to ask for something."""
        return sum(each["stage"] == stage for each in self.events("coordinator", "asks"))

    def wait(self, what: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not what():
            for name, process in self.running.items():
                assert process.poll() in (None, 0), f"{name}: {self.log(name).read_text()[-2000:]}"
            assert time.monotonic() < until, self.log("coordinator").read_text()[-2000:]
            time.sleep(0.02)

    def end(self, name: str) -> int:
        """The exit status of a process that ends by itself."""
        return self.running.pop(name).wait(PATIENCE)

    def stop(self, name: str, how: signal.Signals = signal.SIGTERM) -> int:
        """SIGTERM comes again and again, as from a supervisor that is impatient."""
        self.running[name].send_signal(how)
        while self.running[name].poll() is None:
            time.sleep(0.01)
            self.running[name].send_signal(how)
        return self.end(name)


@contextmanager
def gathered(folder: Path, config: str = CONFIG) -> Iterator[Consortium]:
    """A consortium with its keys at home and its policy pinned; whatever still runs at the end is killed."""
    (folder / "config.toml").write_text(config)
    (folder / "task.py").write_text(TASK)
    consortium = Consortium(folder)
    try:
        yield consortium
    finally:
        for process in consortium.running.values():
            process.kill()
            process.wait()


def run_in_one_process(consortium: Consortium) -> FederationResult:
    """The same federation by the in-process carrier. Its keys and policy become those of the consortium."""
    folder = consortium.folder
    task = load_task(consortium.config, folder)
    result = Federation(task, consortium.config, folder / "alone", device="cpu").run()
    consortium.public.mkdir()
    shutil.copy(result.policy, consortium.policy)
    names = {"coordinator": "coordinator"}
    names |= {name: f"clients/{name}" for name in CLIENTS} | {name: f"trustees/{name}" for name in TRUSTEES}
    for name, place in names.items():
        consortium.home(name).mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.copy(result.state / place / "identity.pem", consortium.home(name) / "identity.pem")
    return result
