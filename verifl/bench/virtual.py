"""Rounds of Flower's simulation: a virtual node for each client, the coordinator and the trustees in the ServerApp.

Flower's own programs are started as somebody who tries verifl out types them; nothing of Flower is replaced. All of it
shares the machine, so the time of a round is an upper bound.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proofs.errors import Misuse, Rejected
from proofs.machine.installing import install_hint
from proofs.machine.workers import worker_count
from protocols.pinned import PinnedPolicy
from verifl.bench.machine import peak_bytes
from verifl.bench.processes import audit_apart
from verifl.bench.setting import describe_setting
from verifl.bench.stopwatch import Stopwatch

_STARTING = 60.0  # seconds for a SuperLink to listen
_TEXT_SHOWN = 2000  # characters of a program's output
_PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "virtual-app"
version = "1.0.0"
description = "A model of one tensor, which each client moves"
license = "Apache-2.0"
dependencies = ["flwr"]

[tool.flwr.app]
publisher = "verifl"

[tool.flwr.app.components]
serverapp = "virtual_app.server_app:app"
clientapp = "virtual_app.client_app:app"

[tool.flwr.app.config]
num-server-rounds = 1
verifl-coordinator = ""
"""
_CLIENT = """
import numpy as np
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.clientapp import ClientApp

from verifl.flower import verified

app = ClientApp(mods=[verified])


@app.train()
def train(message, context):
    weight = message.content["arrays"]["weight"].numpy()
    moved = weight + np.random.default_rng().normal(size=weight.shape) / np.sqrt(weight.size)
    arrays = ArrayRecord({"weight": Array(moved.astype(weight.dtype))})
    return Message(RecordDict({"arrays": arrays}), reply_to=message)
"""
_SERVER = """
import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from verifl.flower import Verified

app = ServerApp()


@app.main()
def main(grid, context):
    strategy = Verified(FedAvg(fraction_evaluate=0.0), context, weighting="equal")
    arrays = ArrayRecord({"weight": Array(np.zeros((1, %d), dtype=np.float32))})
    strategy.start(grid, arrays, num_rounds=context.run_config["num-server-rounds"])
"""


def measure_virtual(dimension: int, clients: int, rounds: int, directory: str) -> dict[str, Any]:
    """Run so many rounds of `clients` virtual clients, all honest, in `directory`, and audit them."""
    folder, watch = Path(directory), Stopwatch()
    federation = folder / "federation"
    with watch.phase("enrol"):
        _enrol(federation, dimension, clients)
    _write_app(folder / "app", dimension)
    values = {"verifl-coordinator": str(federation), "num-server-rounds": rounds}
    words = " ".join(f"{key}={json.dumps(value)}" for key, value in values.items())
    with _superlink(folder, clients) as environment, watch.phase("whole run"):
        _run([_program("flwr"), "run", str(folder / "app"), "bench", "--stream", "--run-config", words], environment)
    closed = [each for each in _rounds(federation) if each["aborted"] is None]
    if [len(each["accepted"]) for each in closed] != [clients] * rounds:
        raise Rejected(
            "rounds", f"{rounds} with {clients} clients each", (folder / "run.log").read_text()[-_TEXT_SHOWN:]
        )
    for each in closed:
        watch.add("round", each["seconds"], 0.0)
    audited = audit_apart(federation / "public" / "transcript", federation / "policy.cbor")
    watch.add("audit", audited.seconds, audited.cpu)
    pinned = PinnedPolicy.open((federation / "policy.cbor").read_bytes())
    return {
        "setting": describe_setting(pinned),
        "threads": worker_count(),
        "phases": watch.phases(),
        "bytes": {"transcript of a round": max(each["bytes"] for each in closed)},
        "peaks": {"largest process": peak_bytes(resource.getrusage(resource.RUSAGE_CHILDREN))},
    }


def _enrol(federation: Path, dimension: int, clients: int) -> None:
    try:
        from verifl.carriers.flower.simulation import enrol_simulation
    except ImportError:
        raise Misuse(
            f"Flower is not installed; {install_hint('federation,flower')}, and pip install 'flwr[simulation]'"
        ) from None
    from torch import nn

    enrol_simulation(federation, lambda: nn.Linear(dimension, 1, bias=False), clients)


def _write_app(folder: Path, dimension: int) -> None:
    code = folder / "virtual_app"
    code.mkdir(parents=True)
    (folder / "pyproject.toml").write_text(_PROJECT)
    texts = {"__init__": '"""A model of one tensor."""\n', "client_app": _CLIENT, "server_app": _SERVER % dimension}
    for name, text in texts.items():
        (code / f"{name}.py").write_text(text)


@contextmanager
def _superlink(folder: Path, clients: int) -> Iterator[dict[str, str]]:
    """A SuperLink with a simulation of so many nodes, for the block; the environment of whoever asks it."""
    home, port = folder / "home", _free_port()
    home.mkdir()
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "bench"\n[superlink.bench]\naddress = "127.0.0.1:{port}"\ninsecure = true\n'
        f"options.num-supernodes = {clients}\noptions.backend.client-resources.num-cpus = 1\n"
    )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    command = [_program("flower-superlink"), "--insecure", "--simulation", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "superlink.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--disable-runtime-dependency-installation"], stdout=log, stderr=log, env=environment
        )
    try:
        _await(port, process)
        yield environment
    finally:
        process.terminate()
        process.wait()


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + _STARTING
    while True:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > until:
            raise Misuse("flower-superlink does not start; is 'flwr[simulation]' installed?")
        time.sleep(0.1)


def _run(command: list[str], environment: dict[str, str]) -> None:
    log = Path(environment["FLWR_HOME"]).parent / "run.log"
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=output, env=environment, check=False).returncode
    if status != 0:
        raise Misuse(f"flwr run ended with status {status}: {log.read_text()[-_TEXT_SHOWN:]}")


def _rounds(federation: Path) -> list[dict[str, Any]]:
    file = federation / "state" / "metrics.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [each for each in map(json.loads, lines) if each["round"] > 0]


def _program(name: str) -> str:
    """Of the environment that this runs in."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        raise Misuse(f"{name}: not installed beside {sys.executable}; pip install 'flwr[simulation]'")
    return found


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
