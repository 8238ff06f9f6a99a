"""One round over a public directory: the coordinator's host in this process, all other parties together in another.

What is measured is the host, above all its memory: the largest resident size so far whenever it waits for answers, by
what it waits for, and at the end. All the others share the machine, so that the time of the round is an upper bound.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from proofs.machine.workers import worker_count
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import Question, SubmissionPackage
from protocols.rounds.proposals import OF_CLIENTS, OF_TRUSTEES
from protocols.rounds.submitting import Update
from verifl.agents.client import accept_round
from verifl.agents.clock import ONE_PROCESS, CosignatureClock, MachineClock
from verifl.agents.party import Party, PublicLog
from verifl.agents.trustee import TrusteeAgent
from verifl.bench.machine import peak_bytes
from verifl.bench.processes import POLICY
from verifl.bench.setting import Setting, describe_setting, describe_sizes, in_units, make_setting, random_delta
from verifl.bench.stopwatch import Stopwatch
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.participant import Participant
from verifl.carriers.exchange.public import PublicDirectory
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.serving import HostPlan, opened_host
from verifl.config import DeadlinesConfig
from verifl.enrolment.keys import read_keys, write_key
from verifl.progress import NoProgress
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import DirectoryStore, make_private_directory

_POLL = 0.05  # seconds
_NEVER = 1e6  # seconds: everybody answers
_PUBLIC, _KEYS = "public", "keys"


def measure_exchange(dimension: int, clients: int, directory: str) -> dict[str, Any]:
    """Run the host for one round of `clients` clients, all honest, in `directory`, and start the others beside it."""
    folder, setting, watch = Path(directory), make_setting(dimension, clients), Stopwatch()
    _write_parties(folder, setting)
    own = PartyDirectory(folder / COORDINATOR)
    make_private_directory(own.path)
    party = Party(COORDINATOR, (setting.enrolment.coordinator,), own)
    seat = Seat(setting.pinned, party, PublicDirectory(folder / _PUBLIC))
    deadlines = DeadlinesConfig(clients=_NEVER, trustees=_NEVER, give_up=_NEVER, quorum=0, poll=_POLL)
    plan = HostPlan(1, deadlines, setting.model, lambda _model, _number: {}, NoProgress())
    with opened_host(seat, plan, CoordinatorHost) as (host, _), _others(folder) as others, watch.phase("round"):
        peaks = _played(host, others)
    [summary] = host.summaries
    if len(summary.accepted) != clients:
        raise Rejected("round", f"{clients} clients in the sum", summary.aborted or str(len(summary.accepted)))
    return {
        "setting": describe_setting(setting.pinned),
        "threads": worker_count(),
        "phases": watch.phases(),
        "bytes": {"blobs of a submission": describe_sizes(setting.pinned, 0)["submission"]},
        "peaks": peaks,
    }


def measure_parties(directory: str) -> dict[str, Any]:
    """All trustees and clients of `measure_exchange`, one after another, until this process is ended."""
    folder, everybody = Path(directory), list[Participant]()
    pinned, keys = PinnedPolicy.open((folder / POLICY).read_bytes()), read_keys(folder / _KEYS)
    public, update = PublicDirectory(folder / _PUBLIC), in_units(pinned, random_delta(pinned.policy.dimension))
    for member in (*pinned.policy.trustees, *pinned.policy.roster):
        own = PartyDirectory(folder / "homes" / member.id)
        make_private_directory(own.store)
        party = Party(member.id, (keys[member.public_key],), own)
        if member in pinned.policy.trustees:
            trustee = TrusteeAgent.open(pinned, party, ONE_PROCESS, CosignatureClock())
            part = (OF_TRUSTEES, trustee.answer, trustee.expire)
            everybody.append(Participant(public, pinned, member.id, *part, MachineClock()))
        else:
            answer = _Untrained(pinned, party, update).answer
            everybody.append(Participant(public, pinned, member.id, OF_CLIENTS, answer, _nothing, MachineClock()))
    while True:
        for participant in everybody:
            participant.look()
        time.sleep(_POLL)


class _Untrained:
    """A client that submits an update that it was given."""

    def __init__(self, pinned: PinnedPolicy, party: Party, update: Update) -> None:
        store, [key] = DirectoryStore(party.directory.store), party.keys
        self._pinned, self._update = pinned, update
        self._client = Client(pinned, key, party.name, store, get_engine("native"), os.urandom)

    def answer(self, question: Question, log: PublicLog) -> SubmissionPackage:
        """See `ClientAgent.answer`."""
        del question
        opened = accept_round(self._pinned, self._client, log)
        return self._client.answered(opened) or self._client.submit(opened, self._update)


def _nothing() -> None:
    """A client's part of what is done at every look."""


def _played(host: CoordinatorHost, others: subprocess.Popen[bytes]) -> dict[str, int]:
    """Peaks so far, in bytes, by what was waited for."""
    peaks: dict[str, int] = {}
    while (awaited := host.advance()) is not None:
        if others.poll() is not None:
            raise Misuse(f"bench: the process of the parties ended, with status {others.returncode}")
        if awaited.stage is not Stage.COSIGN:
            peaks[f"host, {awaited.stage.value}"] = peak_bytes(resource.getrusage(resource.RUSAGE_SELF))
        time.sleep(_POLL)
    return peaks


def _write_parties(folder: Path, setting: Setting) -> None:
    (folder / POLICY).write_bytes(setting.pinned.data)
    make_private_directory(folder / _KEYS)
    for name, key in (*setting.enrolment.trustees.items(), *setting.enrolment.clients.items()):
        write_key(folder / _KEYS / f"{name}.pem", key)


@contextmanager
def _others(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process of all other parties, for the block."""
    command = [sys.executable, "-P", "-m", "verifl", "bench", "measure", "parties"]
    with subprocess.Popen([*command, json.dumps({"directory": str(folder)})]) as process:
        try:
            yield process
        finally:
            process.kill()
