"""One round over a public directory: the coordinator's host in this process, all other parties together in another.

What is measured is the host, above all its memory: the largest resident size so far whenever it waits for answers, by
what it waits for, and at the end. All the others share the machine, one after another in one process, so that the time
of the round is an upper bound. Of them: what each spends, looking and answering, and over HTTPS the bytes.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import astuple
from pathlib import Path
from typing import Any

from proofs.engines import get_engine
from proofs.errors import Misuse, Rejected
from proofs.machine.workers import worker_count
from protocols.key_files import read_keys, write_key
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import Question, SubmissionPackage
from protocols.rounds.proposals import OF_CLIENTS, OF_TRUSTEES
from protocols.rounds.submitting import Update
from verifl.agents.accepting import accept_round
from verifl.agents.clock import ONE_PROCESS, CosignatureClock, MachineClock
from verifl.agents.party import Party, PublicLog
from verifl.agents.trustee import TrusteeAgent
from verifl.bench.machine import peak_bytes
from verifl.bench.processes import POLICY
from verifl.bench.setting import Setting, describe_setting, describe_sizes, in_units, make_setting, random_delta
from verifl.bench.stopwatch import Stopwatch
from verifl.bench.website import Address, Website, website
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.participant import Participant
from verifl.carriers.exchange.public import PublicDirectory, PublicView
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.serving import HostPlan, opened_host
from verifl.config import DeadlinesConfig
from verifl.progress import NoProgress
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import DirectoryStore, make_private_directory, replacing

_POLL = 0.05  # seconds
_NEVER = 1e6  # seconds: everybody answers
_PUBLIC, _KEYS, _WEB, _ADDRESSES, _COSTS = "public", "keys", "web", "addresses.json", "costs.json"


def measure_exchange(dimension: int, clients: int, directory: str, https: bool = False) -> dict[str, Any]:
    """Run the host for one round of `clients` clients, all honest, in `directory`, and start the others beside it.
    https: with a stock nginx between them."""
    folder, setting, watch = Path(directory), make_setting(dimension, clients), Stopwatch()
    _write_parties(folder, setting)
    own = PartyDirectory(folder / COORDINATOR)
    make_private_directory(own.path)
    party = Party(COORDINATOR, (setting.enrolment.coordinator,), own)
    seat = Seat(setting.pinned, party, PublicDirectory(folder / _PUBLIC))
    deadlines = DeadlinesConfig(clients=_NEVER, trustees=_NEVER, give_up=_NEVER, quorum=0, poll=_POLL)
    plan = HostPlan(1, deadlines, setting.model, lambda _model, _number: {}, NoProgress())
    names = [member.id for member in (*setting.pinned.policy.trustees, *setting.pinned.policy.roster)]
    with ExitStack() as stack:
        site = stack.enter_context(_website(folder, setting, names)) if https else None
        host, _ = stack.enter_context(opened_host(seat, plan, CoordinatorHost))
        others = stack.enter_context(_others(folder))
        with watch.phase("round"):
            peaks = _played(host, others)
        sizes = _traffic(site.traffic(), len(setting.pinned.policy.trustees)) if site is not None else {}
    for name, wall, cpu in json.loads((folder / _COSTS).read_text()):
        watch.add(name, wall, cpu)
    [summary] = host.summaries
    if len(summary.accepted) != clients:
        raise Rejected("round", f"{clients} clients in the sum", summary.aborted or str(len(summary.accepted)))
    return {
        "setting": describe_setting(setting.pinned),
        "threads": worker_count(),
        "phases": watch.phases(),
        "bytes": {"blobs of a submission": describe_sizes(setting.pinned, 0)["submission"], **sizes},
        "peaks": peaks,
    }


def measure_parties(directory: str) -> dict[str, Any]:
    """All trustees and clients of `measure_exchange`, one after another, until this process is ended."""
    folder, everybody = Path(directory), list[tuple[str, Participant]]()
    pinned, keys = PinnedPolicy.open((folder / POLICY).read_bytes()), read_keys(folder / _KEYS)
    update, costs = in_units(pinned, random_delta(pinned.policy.dimension)), dict[str, list[float]]()
    trustees = {member.id for member in pinned.policy.trustees}
    for member in (*pinned.policy.trustees, *pinned.policy.roster):
        own = PartyDirectory(folder / "homes" / member.id)
        make_private_directory(own.store)
        party, public = Party(member.id, (keys[member.public_key],), own), _view(folder, member.id)
        if member in pinned.policy.trustees:
            trustee = TrusteeAgent.open(pinned, party, ONE_PROCESS, CosignatureClock())
            part = (OF_TRUSTEES, trustee.answer, trustee.expire)
            everybody.append((member.id, Participant(public, pinned, member.id, *part, MachineClock())))
        else:
            answer = _Untrained(pinned, party, update).answer
            participant = Participant(public, pinned, member.id, OF_CLIENTS, answer, _nothing, MachineClock())
            everybody.append((member.id, participant))
    while True:
        for name, participant in everybody:
            wall, cpu = time.perf_counter(), time.process_time()
            participant.look()
            spent = costs.setdefault(name, [0.0, 0.0])
            spent[0] += time.perf_counter() - wall
            spent[1] += time.process_time() - cpu
        found = [("trustee" if name in trustees else "client", *spent) for name, spent in costs.items()]
        with replacing(folder / _COSTS) as temporary:
            temporary.write_text(json.dumps(found))
        time.sleep(_POLL)


@contextmanager
def _website(folder: Path, setting: Setting, names: Sequence[str]) -> Iterator[Website]:
    """In front of the public directory; the others find their addresses in a file."""
    web = folder / _WEB
    web.mkdir()
    with website(web, setting.pinned, folder / _PUBLIC, names) as site:
        (web / _ADDRESSES).write_text(json.dumps({name: astuple(each) for name, each in site.addresses.items()}))
        yield site


def _view(folder: Path, name: str) -> PublicView:
    """The exchange as a party sees it."""
    addresses = folder / _WEB / _ADDRESSES
    if not addresses.exists():
        return PublicDirectory(folder / _PUBLIC)
    return Address(*json.loads(addresses.read_text())[name]).view(folder / _WEB, folder / "homes" / name / "fetched")


def _traffic(sizes: dict[str, tuple[int, int]], trustees: int) -> dict[str, int]:
    """The most bytes of a trustee, and of a client, in each direction; trustees come first."""
    pairs = list(sizes.values())
    groups = {"a trustee": pairs[:trustees], "a client": pairs[trustees:]}
    sent = {f"{who} sends": max(sent for sent, _ in each) for who, each in groups.items()}
    return sent | {f"{who} reads": max(got for _, got in each) for who, each in groups.items()}


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
