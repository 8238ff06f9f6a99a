"""A federation of real processes over a stock nginx in which round after round something else goes wrong.

Each client waits in its training until the round is let go, so that whoever does harm has all the time to do it. At
the end `judge` says what holds, whatever went wrong.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from auditor import audit
from protocols.envelopes import open_envelope
from protocols.key_files import read_key
from protocols.log.checkpoint import SignedNote, check_note, cosigner_of, parse_note, timestamp_of
from protocols.log.reader import TranscriptReader
from protocols.messages import CohortClosed, RoundClosed
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import decode_answer
from protocols.rounds.exchange import Cosignature
from tests.required import program
from tests.verifl.carriers.exchange.consortium import (
    CLIENTS,
    CONFIG,
    PATIENCE,
    ROOT,
    TASK,
    TRUSTEES,
    Consortium,
)
from tests.verifl.carriers.exchange.consortium import run_in_one_process as run_alone
from tests.verifl.carriers.exchange.website import TOKENS, Website, published
from tests.web import slow
from verifl.carriers.exchange.public import INBOX
from verifl.config import read_config
from verifl.federation import Federation
from verifl.tasks.loading import load_task

ROUNDS = 60  # more than there are rows
PRESENT = TRUSTEES[:2]  # who are there from the first round on; the third one comes later
HELD = """        import os, time
        while os.path.isfile(os.environ.get("HOLD", "")): time.sleep(0.02)
"""
AHEAD = {CLIENTS[0]: 600, TRUSTEES[1]: 600}  # seconds, of clocks; nobody else's is wrong
DISK = "24m"  # of each machine
BALLAST = "ballast"
RUN = "from tests.verifl.carriers.exchange.journal import main; main()"


@dataclass
class Field(Consortium):
    """round: the one that is played, whose submissions are asked for and held. disks: whether each machine has a disk
    of its own. clock: a library by which a process sees another time. expected: refusals that the coordinator has to
    have made, party and check. otherwise: by party, where else its program is. ways: by party, another address of the
    web server. open: connections that were left open. begun: by party, where its log was when it was started last."""

    website: Website | None = None
    round: int = 1
    disks: bool = False
    clock: Path | None = None
    expected: set[tuple[str, str]] = field(default_factory=set)
    otherwise: dict[str, Path] = field(default_factory=dict)
    ways: dict[str, str] = field(default_factory=dict)
    open: list[socket] = field(default_factory=list)
    begun: dict[str, int] = field(default_factory=dict)

    # ---- processes ----

    def said(self, name: str) -> Path:
        """Where its answers are kept."""
        path = self.folder / "said" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def program(self, name: str) -> list[str]:
        return [sys.executable, "-c", RUN, str(self.said(name))]

    def environment(self, name: str) -> dict[str, str]:
        path = os.pathsep.join(str(each) for each in (self.otherwise.get(name), ROOT) if each is not None)
        found = {**super().environment(name), "PYTHONPATH": path, "HOLD": str(self.hold)}
        if name in AHEAD and self.clock is not None:
            found |= {"LD_PRELOAD": str(self.clock), "CLOCK_AHEAD": str(AHEAD[name])}
        return found

    def command(self, name: str, *more: str) -> list[str]:
        words = super().command(name, *more)
        return [self.ways.get(name, word) if self.website and word == self.website.url else word for word in words]

    def start(self, name: str, *more: str) -> subprocess.Popen[bytes]:
        self.begun[name] = len(self.log(name).read_bytes()) if self.log(name).exists() else 0
        return super().start(name, *more)

    def ready(self, name: str) -> None:
        """Until the process that was started last is at work, and a trustee has a key in the round: else the others go
        on without it, and nothing of the row happens."""
        if name == "coordinator":
            return
        self.wait(lambda: b'"event": "note"' in self.log(name).read_bytes()[self.begun[name] :])
        for _ in range(3):
            if name in TRUSTEES and not self.answered(name, "round-key"):
                self.closes()

    def kill(self, name: str) -> None:
        """And start it again at once."""
        assert self.stop(name, signal.SIGKILL) == -signal.SIGKILL
        self.start(name)

    def refuses_to_start(self, name: str) -> str:
        """What it says."""
        before = len(self.log(name).read_text())
        self.start(name)
        assert self.end(name) != 0
        return self.log(name).read_text()[before:]

    # ---- rounds ----

    @property
    def hold(self) -> Path:
        return self.folder / "hold"

    def asks(self, stage: str, number: int) -> bool:
        """Whether the coordinator has asked for this in the round of that number."""
        asked = self.events("coordinator", "asks")
        return any((each["stage"], each["round"]) == (stage, number) for each in asked)

    def answered(self, name: str, kind: str) -> bool:
        """Whether a party has sent such an answer in this round."""
        return any((each["kind"], each["round"]) == (kind, self.round) for each in self.events(name, "answered"))

    def until(self, stage: str) -> None:
        """Until this is asked for in this round; releases are asked for again where a release is missing."""
        self.wait(lambda: self.asks(stage, self.round))

    def let_go(self) -> None:
        """The clients' training ends; that of the next round is held again."""
        self.hold.unlink(missing_ok=True)

    def submits(self) -> None:
        """Everybody submits; the next round is held."""
        if not self.asks("acknowledgements", self.round):
            self.let_go()
            self.wait(lambda: self.asks("acknowledgements", self.round))
        self.hold.touch()

    def closes(self) -> None:
        """The round closes, and the next one is held."""
        self.submits()
        self.round += 1
        self.wait(lambda: self.asks("submissions", self.round))

    # ---- disks ----

    def fill(self, folder: Path) -> None:
        """Its disk, to the last byte."""
        with (folder / BALLAST).open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def empty(self, folder: Path) -> None:
        (folder / BALLAST).unlink()

    def copied(self, name: str) -> Path:
        """A copy of a party's directory, as it is now."""
        copy = self.folder / f"copy-{name}-{self.round}"
        shutil.copytree(self.home(name), copy)
        return copy

    def put_back(self, copy: Path, home: Path) -> None:
        """A copy in the place of a directory that stays where it is."""
        for path in home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(copy, home, dirs_exist_ok=True)


@contextmanager
def mounted(folders: list[Path]) -> Iterator[bool]:
    """Each on a disk of its own for the block, where this machine lets us; whether it does."""
    with ExitStack() as stack:
        for folder in folders:
            folder.mkdir(parents=True, mode=0o700 if folder.parent.name == "homes" else 0o755)
            options = f"size={DISK},mode={folder.stat().st_mode & 0o777:o}"
            command = ["mount", "-t", "tmpfs", "-o", options, "verifl-test", str(folder)]
            if program("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode != 0:
                yield False
                return
            stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=False)
        yield True


def skewed_clock(folder: Path) -> Path | None:
    """Compiled, where there is a compiler."""
    compiler, made = program("cc"), folder / "skewed_clock.so"
    if compiler is None:
        return None
    source = str(ROOT / "tests/skewed_clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-nostdlib", "-fno-builtin", "-o", str(made), source], check=True)
    return made


@contextmanager
def opened_field(folder: Path) -> Iterator[Field]:
    """Everybody but the third trustee at work; the clients are held in the first round."""
    (folder / "task.py").write_text(TASK.replace("        optimizer = ", HELD + "        optimizer = ", 1))
    (folder / "config.toml").write_text(CONFIG.replace("rounds = 2", "rounds = 1"))
    everybody = ("coordinator", *CLIENTS, *TRUSTEES)
    playing = Field(folder, clock=skewed_clock(folder))
    with mounted([playing.home(name) for name in everybody]) as disks, ExitStack() as stack:
        playing.disks = disks
        stack.callback(lambda: [_end(process) for process in playing.running.values()])
        run_alone(playing)
        stack.enter_context(mounted([playing.public / "exchange"]))
        (folder / "config.toml").write_text(CONFIG.replace("rounds = 2", f"rounds = {ROUNDS}"))
        website = stack.enter_context(published(folder / "web", TOKENS, playing.policy, playing.public))
        playing.website, playing.way = website, website.way
        playing.hold.touch()
        for name in everybody:
            if name in ("coordinator", *CLIENTS, *PRESENT):
                playing.start(name)
        playing.until("submissions")
        yield playing


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def slowly(playing: Field, name: str, rate: float) -> Iterator[None]:
    """The party is started again behind a line of so many bytes a second, for the block."""
    assert playing.website is not None
    port, end = slow(playing.website.server.port, rate)
    playing.ways[name] = playing.website.url.rsplit(":", 1)[0] + f":{port}"
    assert playing.stop(name, signal.SIGKILL) == -signal.SIGKILL
    playing.start(name)
    try:
        yield
    finally:
        del playing.ways[name]
        playing.kill(name)
        end()


# ---- what must hold in the end ----


def judge(playing: Field) -> None:
    """Everything is stopped."""
    transcript = playing.public / "transcript"
    report = audit(transcript, playing.policy)
    assert report.accepted, str(report)
    reader = TranscriptReader(transcript)
    entries = reader.entries(0, reader.size)
    messages = [open_envelope(entry).message for entry in entries]
    closed = [message for message in messages if isinstance(message, RoundClosed)]
    assert len(closed) == playing.round - 1
    assert [len(each.accepted) for each in messages if isinstance(each, CohortClosed)] == [len(CLIENTS)] * len(closed)
    assert [each.model for each in closed] == models_alone(playing, len(closed))
    nobody_says_two_things(playing, entries)
    one_log(playing, reader)
    keys_are_where_they_belong(playing)
    found = {(str(each["party"]), str(each["check"])) for each in playing.events("coordinator", "refused")}
    late = {(name, "late") for name in TRUSTEES}  # whom the others did not wait for
    assert found - late == playing.expected


def models_alone(playing: Field, rounds: int) -> list[bytes]:
    """The models of as many rounds in one process."""
    config = CONFIG.replace("rounds = 2", f"rounds = {rounds}")
    (playing.folder / "config.toml").write_text(config)
    task = load_task(playing.config, playing.folder)
    result = Federation(task, read_config(playing.folder / "config.toml"), playing.folder / "alone", device="cpu").run(
        resume=True
    )
    reader = TranscriptReader(result.transcript)
    messages = (open_envelope(entry).message for entry in reader.entries(0, reader.size))
    return [message.model for message in messages if isinstance(message, RoundClosed)]


def nobody_says_two_things(playing: Field, entries: list[bytes]) -> None:
    """Of a kind, in a round, in whatever was sent, whether it arrived or not."""
    said: dict[tuple[str, str, int], set[bytes]] = {}
    for name in (*CLIENTS, *TRUSTEES):
        for path in playing.said(name).iterdir():
            answer = decode_answer(path.read_bytes(), 1 << 40).answer
            if not isinstance(answer, Cosignature):
                envelope = open_envelope(answer.entry)
                said.setdefault((envelope.signer, envelope.type, envelope.message.round), set()).add(answer.entry)
    assert {key: len(different) for key, different in said.items() if len(different) > 1} == {}
    kinds = {"round-key", "submission", "share-ack", "release"}
    logged = [entry for entry in entries if open_envelope(entry).type in kinds]
    assert set(logged) <= set().union(*said.values())


def one_log(playing: Field, reader: TranscriptReader) -> None:
    """Every cosignature that was ever sent is of a checkpoint of the log that there is."""
    pinned = PinnedPolicy.open(playing.policy.read_bytes())
    heads = [parse_note(reader.note(size)) for size in reader.checkpoints()]
    lines = set()
    for name in TRUSTEES:
        for path in playing.said(name).iterdir():
            answer = decode_answer(path.read_bytes(), 1 << 40).answer
            if isinstance(answer, Cosignature):
                lines.add(answer.line)
    assert lines
    assert [line for line in lines if not any(_signs(line, head, pinned) for head in heads)] == []


def _signs(line: bytes, head: SignedNote, pinned: PinnedPolicy) -> bool:
    from proofs.errors import Rejected
    from protocols.log.checkpoint import add_cosignatures, render_note

    alone = render_note(SignedNote(head.checkpoint, head.signatures[:1]))
    try:
        check_note(parse_note(add_cosignatures(alone, [line])), pinned.policy.log_key, pinned.policy.trustees, 1)
    except Rejected:
        return False
    return cosigner_of(line) in TRUSTEES


def times(playing: Field) -> dict[str, int]:
    """When each trustee last cosigned, by its own clock."""
    reader = TranscriptReader(playing.public / "transcript")
    note = parse_note(reader.note(reader.size))
    return {signature.name: timestamp_of(signature) for signature in note.signatures[1:]}


def keys_are_where_they_belong(playing: Field) -> None:
    """No machine has the signing key of another, and neither has the web server's."""
    owners = ("coordinator", *CLIENTS, *TRUSTEES)
    places = {
        **{name: playing.home(name) for name in owners},
        "public": playing.public,
        "said": playing.folder / "said",
    }
    contents = {name: [path.read_bytes() for path in _files(place)] for name, place in places.items()}
    for owner in owners:
        file = playing.home(owner) / "identity.pem"
        secrets = (read_key(file).seed, b"".join(file.read_bytes().splitlines()[1:-1]))
        holders = {name for name, found in contents.items() for data in found if any(each in data for each in secrets)}
        assert holders == {owner}


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file() and path.name != BALLAST]


def inbox(playing: Field, name: str) -> Path:
    return playing.public / INBOX / name


def eventually(what: Callable[[], bool]) -> None:
    """Like `Field.wait`, where a process may have ended."""
    until = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)
