"""The kill and fault matrix: every row, and what is done in it. `test_matrix` plays all of it in one federation.

A row begins in a round whose submissions are asked for and held, and ends one round later, or two. What it says of its
own is here; what holds whatever goes wrong is judged at the end of all rows (`field.judge`).
"""

from __future__ import annotations

import shutil
import signal
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from protocols.blobs import blob_hash
from protocols.encoding import decode, encode
from protocols.log.connection import Unreachable
from protocols.messages import COORDINATOR
from protocols.rounds.answers import AnswerFile, decode_answer
from protocols.rounds.exchange import SubmissionPackage
from tests.nginx import HOST
from tests.verifl.carriers.exchange.consortium import CLIENTS, ROOT, TRUSTEES
from tests.verifl.carriers.exchange.field import AHEAD, Field, eventually, inbox, slowly, times

OUTDATED = "this state is older than what its party said"
NO_ROOM = "No space left on device"
STAGES = (
    "submissions",
    "acknowledgements",
    "releases",
    "cosignatures",
    "round keys",
)  # of a round, from where it is held
HERE = "tests/verifl/carriers/exchange"
FLOWER = "tests/verifl/carriers/flower"


@dataclass(frozen=True)
class Row:
    """what: goes wrong. play: does it. quick: part of `tox run -e organisations`; all of them are with -m exhaustive.
    needs: disks of their own, or a compiler."""

    what: str
    play: Callable[[Field], None]
    quick: bool = False
    needs: str = ""


def _until(field: Field, stage: str) -> None:
    """From where the round is held to the first moment at which this is asked for: of the next round, where round keys
    are, or what is published between the two."""
    if stage == "submissions":
        return
    if stage in ("acknowledgements", "releases"):
        field.let_go()
        field.until(stage)
        return
    field.submits()
    field.wait(lambda: field.asks(stage, field.round + 1))


def _closes(field: Field) -> None:
    field.closes()


def killed_when_asked_for(name: str, stage: str) -> Callable[[Field], None]:
    """Whatever it is at when the coordinator has begun to ask for this."""

    def play(field: Field) -> None:
        field.ready(name)
        _until(field, stage)
        field.kill(name)
        _closes(field)

    return play


def killed_when_it_has_answered(name: str, kind: str) -> Callable[[Field], None]:
    def play(field: Field) -> None:
        field.ready(name)
        number = field.round + (kind == "round-key")
        if kind == "submission":
            field.let_go()
        else:
            field.submits()

        def answered() -> bool:
            said = field.events(name, "answered")
            return any((each["kind"], each["round"]) == (kind, number) for each in said)

        field.wait(answered)
        field.kill(name)
        _closes(field)

    return play


def a_trustee_is_absent(field: Field) -> None:
    """It was never started; rounds close with the other two."""
    _closes(field)
    assert not field.log(TRUSTEES[2]).exists()


def another_version(field: Field) -> None:
    """The third trustee comes, of a program that has another version of the exchange: it refuses and says why, and the
    others go on; then it is installed anew, and takes part."""
    other = field.folder / "other"
    for name in ("proofs", "protocols", "verifl"):
        shutil.copytree(ROOT / name, other / name, ignore=shutil.ignore_patterns("__pycache__"))
    file = other / "protocols/rounds/versions.py"
    text = file.read_text()
    assert "EXCHANGE_VERSION = 1\n" in text
    file.write_text(text.replace("EXCHANGE_VERSION = 1\n", "EXCHANGE_VERSION = 2\n"))
    name = TRUSTEES[2]
    field.otherwise[name] = other
    field.start(name)
    field.wait(lambda: bool(field.events(name, "refuses")))
    assert [each["check"] for each in field.events(name, "refuses")] == ["exchange-version"]
    assert "expected version 2 of the exchange" in field.log(name).read_text()
    _closes(field)
    assert not field.events(name, "answered")
    del field.otherwise[name]
    assert field.stop(name) == 0
    field.start(name)
    field.wait(lambda: bool(field.events(name, "looked")) or field.running[name].poll() is None)


def clocks_apart(field: Field) -> None:
    """A client's and a trustee's, of everybody else's, from the first round on; two trustees cosign so far apart."""
    _closes(field)
    found = times(field)
    apart = found[TRUSTEES[1]] - found[TRUSTEES[0]]
    assert abs(apart - AHEAD[TRUSTEES[1]]) < 120


def the_web_server_is_killed_in_the_middle_of_an_answer(field: Field) -> None:
    assert field.website is not None
    name, server = CLIENTS[0], field.website.server
    incoming = field.public / "exchange/.incoming"
    with slowly(field, name, 40_000):
        field.let_go()
        field.wait(lambda: any(path.stat().st_size > 0 for path in incoming.rglob("*") if path.is_file()))
        server.kill()
        field.wait(lambda: bool(field.events(name, "unreachable")))
        server.start()
        field.wait(lambda: field.answered(name, "submission"))
        _closes(field)


def the_web_server_is_away(stage: str) -> Callable[[Field], None]:
    def play(field: Field) -> None:
        assert field.website is not None
        before = {name: len(field.events(name, "unreachable")) for name in TRUSTEES[:2]}
        _until(field, stage)
        field.website.server.stop()
        field.wait(lambda: any(len(field.events(name, "unreachable")) > count for name, count in before.items()))
        field.website.server.start()
        _closes(field)

    return play


def a_slow_line(field: Field) -> None:
    """Of 1 Mbit/s."""
    with slowly(field, CLIENTS[2], 125_000):
        _closes(field)


def a_full_disk(name: str) -> Callable[[Field], None]:
    """Its process ends and says why; with room again, the same command goes on."""

    def play(field: Field) -> None:
        field.fill(field.home(name))
        field.let_go()
        assert field.end(name) == 2
        assert NO_ROOM in field.log(name).read_text()[-2000:]
        field.empty(field.home(name))
        field.start(name)
        _closes(field)

    return play


def a_full_disk_at_the_web_server(field: Field) -> None:
    """It takes no answer, and parties try again; the coordinator cannot ask for anything, and ends."""
    exchange = field.public / "exchange"
    name = CLIENTS[0]
    before = len(field.events(name, "unreachable"))
    field.fill(exchange)
    field.let_go()
    field.wait(lambda: len(field.events(name, "unreachable")) > before)
    assert "the web server answers 5" in str(field.events(name, "unreachable")[-1]), field.events(name, "unreachable")
    field.empty(exchange)
    if field.running[COORDINATOR].poll() is not None:
        assert field.end(COORDINATOR) == 2
        field.start(COORDINATOR)
    _closes(field)


def an_old_copy(name: str) -> Callable[[Field], None]:
    """It does not start: the log has more of it than it remembers; with its newest state it does."""

    def play(field: Field) -> None:
        old = field.copied(name)
        _closes(field)
        assert field.stop(name, signal.SIGKILL) == -signal.SIGKILL
        newest = field.copied(name)
        field.put_back(old, field.home(name))
        assert OUTDATED in field.refuses_to_start(name)
        field.put_back(newest, field.home(name))
        field.start(name)
        _closes(field)

    return play


def an_old_coordinator(field: Field) -> None:
    """State and public log of two rounds ago, as whoever restores a machine has them: it asks for what was asked then,
    and whoever is asked refuses a log that is shorter than the one it knows. With the newest of both it goes on."""
    name, public = COORDINATOR, field.public / "transcript"
    old, old_public = field.copied(name), field.folder / f"copy-public-{field.round}"
    shutil.copytree(public, old_public)
    _closes(field)
    _closes(field)
    _stopped(field, name, *CLIENTS)
    newest, newest_public = field.copied(name), field.folder / f"copy-public-{field.round}"
    shutil.copytree(public, newest_public)
    log = field.log(name).read_text()
    field.put_back(old, field.home(name))
    field.put_back(old_public, public)
    models = {each: (field.home(each) / "model.safetensors").read_bytes() for each in CLIENTS}
    for each in (name, *CLIENTS):
        field.start(each)
    eventually(lambda: all(_refuses(field, each) for each in CLIENTS))
    _stopped(field, name, *CLIENTS)
    assert models == {each: (field.home(each) / "model.safetensors").read_bytes() for each in CLIENTS}
    field.log(name).write_text(log)  # without what it asked there, which was never in force
    field.put_back(newest, field.home(name))
    field.put_back(newest_public, public)
    for each in (name, *CLIENTS):
        field.start(each)
    _closes(field)


def _stopped(field: Field, *names: str) -> None:
    """By SIGKILL, if they have not ended."""
    for name in names:
        if field.running[name].poll() is None:
            field.stop(name, signal.SIGKILL)
        else:
            field.end(name)


def _refuses(field: Field, name: str) -> bool:
    """Whether a client goes no way along with a log that is rolled back."""
    found = {str(each["check"]) for each in field.events(name, "refuses")}
    return bool(found & {"since", "rollback"}) or field.running[name].poll() not in (None, 0)


def put(field: Field, name: str, data: bytes) -> None:
    """As this party, by its own token."""
    assert field.website is not None
    field.website.seen_by(name, field.folder / "kept").put(name, data)


def refused(field: Field, name: str, check: str) -> None:
    """The coordinator has refused something of this party by this check."""
    field.wait(lambda: (name, check) in {(e["party"], e["check"]) for e in field.events(COORDINATOR, "refused")})
    field.expected.add((name, check))


def hostile_answers(field: Field) -> None:
    """Of a client who has its token: no answer, too long, of another party, of a round that is over, twice, of another
    version, cut off in the middle, and very many."""
    assert field.website is not None
    name, other = CLIENTS[1], CLIENTS[2]
    earlier = {each: _submission(field, each, field.round - 1) for each in (name, other)}
    put(field, name, b"no answer")
    refused(field, name, "malformed")
    put(field, name, earlier[other])
    refused(field, name, "foreign")
    put(field, name, earlier[name])
    put(field, name, earlier[name])
    refused(field, name, "round")
    file = decode(AnswerFile, earlier[name], len(earlier[name]))
    put(field, name, encode(replace(file, version=2), len(earlier[name])))
    refused(field, name, "exchange-version")
    with pytest.raises(Unreachable, match="413"):
        put(field, name, bytes(1 << 21))
    for number in range(100):
        put(field, name, b"flood %d" % number)
    _half_an_answer(field, name)
    field.wait(lambda: not list(inbox(field, name).iterdir()))
    field.let_go()
    field.wait(lambda: field.answered(name, "submission"))
    _closes(field)
    refusals = field.home(COORDINATOR) / "refusals.jsonl"
    assert refusals.read_text().count('"malformed"') == 101
    field.expected |= {(name, "malformed")}


def _submission(field: Field, name: str, number: int) -> bytes:
    for path in field.said(name).iterdir():
        received = decode_answer(path.read_bytes(), 1 << 40)
        if isinstance(received.answer, SubmissionPackage) and received.round == number:
            return path.read_bytes()
    raise AssertionError(f"{name} said nothing in round {number}")


def _half_an_answer(field: Field, name: str) -> None:
    """And then nothing: the connection is left open while others go on."""
    import socket

    assert field.website is not None
    site = field.website
    context = ssl.create_default_context(cafile=str(site.authority.file))
    stream = context.wrap_socket(socket.create_connection((HOST, site.server.port), 30), server_hostname=HOST)
    shown = [f"{key}: {value}" for key, value in site.remote(name).credentials.headers(name).items()]
    path = f"/exchange/inbox/{name}/{blob_hash(b'half').hex()}"
    head = [f"PUT {path} HTTP/1.1", f"Host: {HOST}", "Content-Length: 20000", *shown, "", ""]
    stream.sendall("\r\n".join(head).encode() + bytes(10_000))
    field.open.append(stream)


def a_client_comes_late(field: Field) -> None:
    """It is away while the others answer; the round waits for it, as `[deadlines]` says, and closes with it."""
    name = CLIENTS[2]
    assert field.stop(name, signal.SIGKILL) == -signal.SIGKILL
    field.let_go()
    field.wait(lambda: all(field.answered(each, "submission") for each in CLIENTS[:2]))
    time.sleep(1.0)
    assert not field.asks("acknowledgements", field.round)
    field.start(name)
    _closes(field)


def a_client_is_started_twice(field: Field) -> None:
    """On one state directory: the second process ends and says why, and changes nothing."""
    name = CLIENTS[0]
    first = field.running[name]
    before = len(field.log(name).read_text())
    field.start(name)
    assert field.end(name) == 2
    assert "another" in field.log(name).read_text()[before:]
    field.running[name] = first
    _closes(field)


_CLIENT, _TRUSTEE = CLIENTS[0], TRUSTEES[1]
ROWS = (
    Row("a trustee is absent", a_trustee_is_absent, True),
    Row("clocks are 10 minutes apart", clocks_apart, True, "cc"),
    Row("a trustee of another version of the format", another_version, True),
    Row("a client is killed while it trains", killed_when_asked_for(_CLIENT, "submissions"), True),
    Row("a client is killed when it has answered", killed_when_it_has_answered(_CLIENT, "submission")),
    Row("a client is killed when releases are asked for", killed_when_asked_for(_CLIENT, "releases")),
    *(Row(f"a trustee is killed when {stage} are asked for", killed_when_asked_for(_TRUSTEE, stage))
      for stage in ("acknowledgements", "releases", "cosignatures", "round keys")),
    Row("a trustee is killed when it has acknowledged", killed_when_it_has_answered(_TRUSTEE, "share-ack"), True),
    Row("a trustee is killed when it has released", killed_when_it_has_answered(_TRUSTEE, "release")),
    Row("a trustee is killed when it has offered a key", killed_when_it_has_answered(_TRUSTEE, "round-key")),
    *(Row(f"the coordinator is killed when it asks for {stage}", killed_when_asked_for(COORDINATOR, stage),
          stage == "releases") for stage in STAGES),
    Row("the web server is killed in the middle of an answer", the_web_server_is_killed_in_the_middle_of_an_answer,
        True),
    *(Row(f"the web server is away when {stage} are asked for", the_web_server_is_away(stage)) for stage in STAGES),
    Row("a client's line has 1 Mbit/s", a_slow_line),
    Row("a client comes late", a_client_comes_late),
    Row("a client is started twice", a_client_is_started_twice),
    Row("a client's answers are hostile", hostile_answers, True),
    Row("a client's disk is full", a_full_disk(_CLIENT), False, "disks"),
    Row("a trustee's disk is full", a_full_disk(_TRUSTEE), True, "disks"),
    Row("the coordinator's disk is full", a_full_disk(COORDINATOR), False, "disks"),
    Row("the web server's disk is full", a_full_disk_at_the_web_server, False, "disks"),
    Row("a client's state is an old copy", an_old_copy(_CLIENT)),
    Row("a trustee's state is an old copy", an_old_copy(_TRUSTEE), True),
    Row("the coordinator's state and log are old copies", an_old_coordinator),
)  # fmt: skip

# Rows that are played by other tests, as real processes too.
ELSEWHERE = {
    "a whole federation from docs/deployment.md, one trustee off, one client killed": f"{HERE}/test_deployment_page.py",
    "parties on one disk, without a web server, killed": f"{HERE}/test_consortium.py",
    "the model is that of one process, by tokens and by certificates": f"{HERE}/test_website.py",
    "what a web server lets nobody do; 60 MB; 20 MB at 1 Mbit/s": f"{HERE}/test_website_refusals.py",
    "SuperLink, SuperNodes and ServerApp": f"{FLOWER}/test_network.py",
    "a run in one process is killed before each step on disk": "tests/verifl/carriers/test_recovery.py",
    "units of systemd run as an unprivileged user on a read-only system": f"{HERE}/test_systemd_for_real.py",
}


def missing() -> list[str]:
    """Tests that are said to play a row, and are not there."""
    return [path for path in ELSEWHERE.values() if not (Path(ROOT) / path).is_file()]
