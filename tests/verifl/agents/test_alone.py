"""Each agent by itself: it holds one key, its own, and opens nothing but its own directory, the policy, the transcript
if it writes it, and libraries.

A federation is run once, and what each agent is asked and reads of the log is recorded. Then the run's directory is
removed, and every agent is asked the same again in a process of its own, with its directory as it was in the beginning.
Its randomness is the same, so its answers have to be the same.
"""

from __future__ import annotations

import gc
import os
import pickle
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from protocols.envelopes import open_envelope
from protocols.identities import SigningKey
from protocols.log.reader import TranscriptReader
from protocols.log.writer import DiskWatch
from protocols.messages import Submission
from protocols.receipts import Receipt
from protocols.rounds.evidence import Evidence
from protocols.rounds.exchange import Question, SubmissionPackage
from tests.verifl.agents.alone import ROOT, Asked, Heard, Tape, draws, local_training, strangers
from tests.verifl.recovery import CONFIG, Remembering
from verifl import Federation
from verifl.agents.client import ClientAgent, TurnObserver
from verifl.agents.clock import ONE_PROCESS, CosignatureClock
from verifl.agents.party import Party, PublicLog
from verifl.agents.server import ServerAgent
from verifl.agents.trustee import TrusteeAgent
from verifl.carriers.base import Parties, Session
from verifl.carriers.company import Company
from verifl.carriers.in_process import InProcess

PARTIES = ("a", "b", "c", "trustee-1", "trustee-2", "trustee-3", "coordinator")


class _Reading:
    """A log that remembers what was read of it."""

    def __init__(self, log: PublicLog) -> None:
        self._log, self.reads = log, list[tuple[str, tuple[Any, ...], Any]]()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def read(*arguments: Any) -> Any:
            result = getattr(self._log, method)(*arguments)
            self.reads.append((method, arguments, result))
            return result

        return read


@dataclass
class _Recorded:
    """An agent, with a tape of what it is asked."""

    agent: Any
    tape: Tape

    @property
    def name(self) -> str:
        return str(self.agent.name)

    @property
    def size(self) -> int:
        return int(self.agent.size)

    def prepare(self, question: Question, log: PublicLog) -> None:
        self.agent.prepare(question, log)

    def answer(self, question: Question, log: PublicLog, *observer: TurnObserver) -> Any:
        reading = _Reading(log)
        answer = self.agent.answer(question, reading, *observer)
        self.tape.asked.append(Asked(question, reading.reads, answer))
        return answer

    def keep_receipt(self, number: int, receipt: Receipt) -> None:
        self.agent.keep_receipt(number, receipt)


@dataclass
class Played:
    """A federation that was run, and is gone. beginnings: the files of each party's directory before it was asked
    anything, by path in it. keys: every party's. held: the keys that each agent held at the end."""

    policy: bytes
    beginnings: dict[str, dict[str, bytes]]
    tapes: dict[str, Tape]
    keys: dict[str, SigningKey]
    held: dict[str, list[SigningKey]]
    session: Session
    entries: list[bytes]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("agents")
    beginnings: dict[str, dict[str, bytes]] = {}
    tapes: dict[str, Tape] = {}
    agents: dict[str, Any] = {}
    keys: dict[str, SigningKey] = {}
    sessions: list[Session] = []

    def begin(kind: str, party: Party) -> Tape:
        path = party.directory.path
        files = [file for file in path.rglob("*") if file.is_file()]
        beginnings[party.name] = {str(file.relative_to(path)): file.read_bytes() for file in files}
        keys[party.name] = party.keys[0]
        tapes[party.name] = Tape(kind, party.name)
        return tapes[party.name]

    def cast(
        session: Session, parties: Parties, evidence: Mapping[str, Evidence], clock: CosignatureClock, watch: DiskWatch
    ) -> Company:
        pinned = session.pinned
        sessions.append(session)
        begin("coordinator", parties.coordinator)
        for name, party in parties.trustees.items():
            begin("trustee", party)
            now = CosignatureClock(lambda: 1_700_000_000)
            agents[name] = TrusteeAgent.open(pinned, party, ONE_PROCESS, now, evidence[name], draws(name), watch)
        for name, party in parties.clients.items():
            begin("client", party)
            agents[name] = ClientAgent.open(pinned, party, session.training, evidence[name], draws(name), watch)
        recorded = {name: _Recorded(agents[name], tapes[name]) for name in agents}
        return Company(
            {name: recorded[name] for name in parties.trustees}, {name: recorded[name] for name in parties.clients}
        )

    with pytest.MonkeyPatch.context() as patch:
        _listen_to_server(patch, tapes, agents)
        carrier = InProcess(cast=cast)
        result = Federation(Remembering(), CONFIG, folder / "run", carrier=carrier, device="cpu").run()
    policy = result.policy.read_bytes()
    reader = TranscriptReader(result.transcript)
    entries = list(reader.entries(0, reader.size))
    held = {name: list(signing_keys(agent)) for name, agent in agents.items()}
    shutil.rmtree(result.directory)
    return Played(policy, beginnings, tapes, keys, held, sessions[0], entries)


def _listen_to_server(patch: pytest.MonkeyPatch, tapes: dict[str, Tape], agents: dict[str, Any]) -> None:
    """Record what the server takes and does, from its beginning on."""

    def listen(method: str) -> None:
        original = getattr(ServerAgent, method)

        def heard(self: ServerAgent, *arguments: Any) -> Any:
            agents["coordinator"] = self
            tapes["coordinator"].asked.append(Asked((method, arguments), [], None))
            return original(self, *arguments)

        patch.setattr(ServerAgent, method, heard)

    for method in ("take", "proceed", "open_round", "change", "end"):
        listen(method)


def signing_keys(root: object) -> Iterator[SigningKey]:
    """All that can be reached from an object, but for code, and what code has in common."""
    skipped = (type, types.ModuleType, types.CodeType, types.BuiltinFunctionType)
    seen, waiting = {id(root)}, [root]
    while waiting:
        each = waiting.pop()
        if isinstance(each, SigningKey):
            yield each
        if isinstance(each, types.FunctionType):  # its module's globals are common to all
            found: list[Any] = [each.__closure__, each.__defaults__, each.__kwdefaults__, vars(each)]
        else:
            found = gc.get_referents(each)
        for other in found:
            if id(other) not in seen and not isinstance(other, skipped):
                seen.add(id(other))
                waiting.append(other)


@pytest.mark.parametrize("name", PARTIES)
def test_an_agent_holds_its_own_key_and_no_other(played: Played, name: str) -> None:
    assert set(played.held) == set(PARTIES)
    assert {key.public_key for key in played.held[name]} == {played.keys[name].public_key}


def test_what_a_carrier_is_given_for_itself_holds_no_key(played: Played) -> None:
    assert list(signing_keys(played.session)) == []


def test_what_clients_share_keeps_nothing_of_them(played: Played) -> None:
    """Their batch norms have counted batches, each its own."""
    fresh = local_training()
    assert [played.session.training.kept(name) for name in "abc"] == [fresh.kept(name) for name in "abc"]


def test_the_search_for_keys_finds_them(played: Played) -> None:
    """In closures, bound methods, defaults and containers."""
    key, other = played.keys["a"], played.keys["b"]

    class Holder:
        def __init__(self) -> None:
            self.kept = {"list": [(other,)]}

        def method(self) -> None:
            pass

    def default(value: SigningKey = key) -> SigningKey:
        return value

    for holder in (Holder(), Holder().method, {1: lambda: Holder().kept if other else None}):
        assert other.public_key in {each.public_key for each in signing_keys(holder)}, holder
    assert [each.public_key for each in signing_keys(default)] == [key.public_key]


def alone(played: Played, name: str, folder: Path) -> Heard:
    """Ask an agent in a process of its own, from an empty directory. Of its federation there is nothing on this machine
    but what is below `folder`: its own directory as in the beginning, and the policy."""
    here = folder / "here"
    for path, data in played.beginnings[name].items():
        file = folder / "own" / path
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(0o600)
        file.write_bytes(data)
    (folder / "policy.cbor").write_bytes(played.policy)
    here.mkdir()
    own = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / "own")}
    environment = {**os.environ, **own}
    command = [sys.executable, "-P", "-m", "tests.verifl.agents.alone", str(folder)]
    tape = pickle.dumps(played.tapes[name])
    done = subprocess.run(command, input=tape, cwd=here, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert list(here.iterdir()) == []
    heard = pickle.loads(done.stdout)  # noqa: S301 - the test's own
    assert isinstance(heard, Heard)
    return heard


def said(answer: Any) -> Any:
    """An answer; of a submission what does not follow from the keys under which its shares are sealed: those are drawn
    by the library that seals."""
    if not isinstance(answer, SubmissionPackage):
        return answer
    message = open_envelope(answer.entry).message
    assert isinstance(message, Submission)
    return replace(message, shares=(), proof=bytes(32))


@pytest.mark.parametrize("name", ["b", "trustee-2", "coordinator"])
def test_an_agent_opens_only_what_is_its_own(played: Played, tmp_path: Path, name: str) -> None:
    heard, tape = alone(played, name, tmp_path), played.tapes[name]
    writes = ["public"] if tape.kind == "coordinator" else []
    assert strangers(heard.paths, [tmp_path / each for each in ("own", "policy.cbor", *writes)]) == []
    assert any(Path(path).is_relative_to(tmp_path / "own") for path in heard.paths)
    if tape.kind == "coordinator":
        assert heard.answers == played.entries
    else:
        assert list(map(said, heard.answers)) == [said(each.answer) for each in tape.asked]
        assert len(heard.answers) >= CONFIG.federation.rounds
    if tape.kind == "trustee":
        assert {"torch", "sklearn", "verifl.config", "verifl.training"}.isdisjoint(heard.modules)


@pytest.mark.parametrize("path", ["own-2/identity.pem", "../state/clients/b/identity.pem", "transcript", "..", "."])
def test_what_is_not_its_own_is_noticed(tmp_path: Path, path: str) -> None:
    own = [tmp_path / "own", tmp_path / "policy.cbor"]
    allowed = [str(tmp_path / "own" / "store"), "6c6f67.value", str(tmp_path / "policy.cbor"), os.__file__]
    assert strangers([*allowed, str(tmp_path / path)], own) == [str(tmp_path / path)]
    assert strangers(["..", ".", "socket.connect: (('192.0.2.1', 80),)"], own) != []
