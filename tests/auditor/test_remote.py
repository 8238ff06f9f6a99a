"""Audits of what a web server publishes: the same report as of the directory, and no server that can do more than
withhold."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor import audit, commands, following
from auditor.cli import main
from auditor.reports.report import Report
from protocols.envelopes import open_envelope
from protocols.log import connection, remote
from protocols.log.connection import Connection, Remote, Unreachable
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.log.remote import RemoteDirectory
from protocols.log.tiles import blob_path
from protocols.messages import Genesis
from protocols.receipts import encode_receipt, make_receipts
from tests.web import Site, certificates, hostile, site

pytest.importorskip("httpx", reason="reading from a web server needs httpx")

GOLDEN = Path(__file__).parents[1] / "golden"
POLICY = GOLDEN / "honest" / "policy.cbor"


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(connection, "PAUSES", (0.01,))


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    return certificates(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "honest" / "transcript", tmp_path / "transcript"))


@pytest.fixture
def served(golden: Path) -> Iterator[Site]:
    with site(golden) as found:
        yield found


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def verdicts(report: Report) -> list[object]:
    """What must be the same wherever a transcript is: all but the count of files, and the note that says why."""
    return [
        (
            each.id,
            each.status,
            each.reason,
            [(str(one.where), one.expected, one.found, one.kind) for one in each.findings],
        )
        for each in report.checks
    ]


def remove(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).unlink()


def flip(path: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = bytearray((folder / path).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / path).write_bytes(data)

    return change


def longer(path: str) -> Callable[[Path], object]:
    return lambda folder: (folder / path).write_bytes((folder / path).read_bytes() + bytes(10))


def sizes() -> list[int]:
    return TranscriptReader(GOLDEN / "honest" / "transcript").checkpoints()


def some_blob(position: int) -> str:
    root = GOLDEN / "honest" / "transcript"
    return sorted(path.relative_to(root).as_posix() for path in (root / "blobs").rglob("*") if path.is_file())[position]


def needed_blob() -> str:
    """One that may not be pruned: the initial model."""
    reader = TranscriptReader(GOLDEN / "honest" / "transcript")
    genesis = open_envelope(reader.entries(0, 1)[0]).message
    assert isinstance(genesis, Genesis)
    return blob_path(genesis.model)


def all_of(size: int) -> tuple[str, ...]:
    """A checkpoint, and what it alone needs."""
    return f"checkpoints/{size}", f"tile/0/000.p/{size}", f"tile/entries/000.p/{size}"


DAMAGES: dict[str, Callable[[Path], object]] = {
    "none": lambda folder: None,
    "a blob removed": remove(needed_blob()),
    "a blob changed": flip(some_blob(5)),
    "a blob made longer": longer(some_blob(9)),
    "an early checkpoint removed": lambda folder: [remove(path)(folder) for path in all_of(sizes()[2])],
    "the last checkpoint removed": remove(f"checkpoints/{sizes()[-1]}"),
    "a checkpoint changed": flip(f"checkpoints/{sizes()[3]}"),
    "the latest changed": flip("checkpoint"),
    "the entries changed": flip(f"tile/entries/000.p/{sizes()[-1]}"),
    "the entries removed": remove(f"tile/entries/000.p/{sizes()[-1]}"),
    "a tile removed": remove(f"tile/0/000.p/{sizes()[-1]}"),
    "a tile made longer": longer(f"tile/0/000.p/{sizes()[-1]}"),
    "an early bundle changed": flip(f"tile/entries/000.p/{sizes()[2]}"),
    "the policy removed": remove("policy.cbor"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_report_is_that_of_the_directory(golden: Path, served: Site, damage: str) -> None:
    DAMAGES[damage](golden)
    local, over = audit(golden, POLICY), audit(served.url, POLICY)
    assert verdicts(over) == verdicts(local)
    assert (over.accepted, over.outcome) == (local.accepted, local.outcome)
    assert over.checkpoint == local.checkpoint
    assert over.accepted == (damage in {"none"})


def test_a_lie_is_found_over_https(tls: tuple[Path, ssl.SSLContext]) -> None:
    ca_file, context = tls
    place, policy = GOLDEN / "rejected" / "transcript", GOLDEN / "rejected" / "policy.cbor"
    with site(place, context) as found:
        over = audit(Remote(found.url, ca_file), policy)
    assert verdicts(over) == verdicts(audit(place, policy))
    assert not over.accepted


def test_everything_is_fetched_once(served: Site) -> None:
    assert audit(served.url, POLICY).accepted
    fetched = [path for method, path in served.asked if method == "GET" and path != "/checkpoint"]
    assert len(fetched) == len(set(fetched))
    assert served.count("GET", "checkpoint") <= 2


def test_files_of_others_are_not_seen_and_that_is_said(golden: Path, served: Site) -> None:
    stranger = blob_path(bytes(32))
    (golden / stranger).parent.mkdir()
    (golden / stranger).write_bytes(b"x")
    (golden / "notes.txt").write_bytes(b"x")
    assert not audit(golden, POLICY).accepted
    report = audit(served.url, POLICY)
    assert report.accepted
    assert "could not be seen (rule 6, I12 and P7)" in report.checks[0].notes[-1]


@pytest.mark.parametrize("form", ["txt", "json"])
def test_the_command(served: Site, form: str) -> None:
    found = run(served.url, "--policy", POLICY, "--format", form)
    assert found.exit_code == 0, found.output
    assert served.url in found.stdout
    assert run(served.url + "/", "--unpinned").exit_code == 0


def test_compare_and_follow(golden: Path, served: Site, tmp_path: Path) -> None:
    compared = run("compare", served.url, golden, "--policy", POLICY, "--format", "json")
    assert compared.exit_code == 0, compared.output
    assert json.loads(compared.stdout)["copies"][0]["size"] == sizes()[-1]
    assert run("compare", golden, served.url, "--unpinned").exit_code == 0
    state = ("--policy", POLICY, "--state", tmp_path / "state.cbor", "--once")
    assert run("follow", served.url, *state).exit_code == 0
    assert run("follow", served.url, *state).exit_code == 0
    assert run("follow", golden, *state).exit_code == 0
    flip(some_blob(5))(golden)
    assert run("follow", served.url, *state).exit_code == 1


def test_a_receipt(simulations, tmp_path: Path) -> None:
    simulation = simulations("quiet")
    reader, file = TranscriptReader(simulation.path), tmp_path / "receipt.cbor"
    made = make_receipts(simulation.pinned, reader.latest(), reader.entries(0, reader.size), 1)
    file.write_bytes(encode_receipt(made["client-00"]))
    with site(simulation.path) as found:
        accepted = run("receipt", file, "--transcript", found.url, "--unpinned", "--format", "json")
    assert accepted.exit_code == 0, accepted.output
    assert json.loads(accepted.stdout)["transcript"] == found.url
    with site(GOLDEN / "honest" / "transcript") as found:
        refused = run("receipt", file, "--transcript", found.url, "--unpinned")
    assert refused.exit_code == 1


def test_following_goes_on_when_the_server_is_back(
    golden: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Down at first, then there, then no longer read: each is one turn of `follow`."""
    with site(golden) as found:
        turns = iter([True, False])
        monkeypatch.setattr(commands, "is_read", lambda seconds: next(turns))
        asked, notes = [], following.latest_note

        def latest_note(place: Remote) -> bytes | None:
            asked.append(place)
            return notes(place if len(asked) > 1 else Remote("http://127.0.0.1:1"))

        monkeypatch.setattr(following, "latest_note", latest_note)
        followed = run("follow", found.url, "--policy", POLICY, "--state", tmp_path / "state.cbor")
    assert followed.exit_code == 0, followed.output
    assert "cannot read http://127.0.0.1:1/" in followed.stderr
    assert "; asked again" in followed.stderr
    assert f"ACCEPTED up to entry {sizes()[-1] - 1}" in followed.stdout


def test_a_growing_log_is_read_as_of_its_checkpoint(golden: Path, served: Site) -> None:
    """What a writer adds later is not asked for, and `checkpoint` is asked for again by the next audit."""
    before = (golden / "checkpoint").read_bytes()
    (golden / "checkpoint").write_bytes((golden / f"checkpoints/{sizes()[-2]}").read_bytes())
    early = audit(served.url, POLICY)
    (golden / "checkpoint").write_bytes(before)
    assert early.checkpoint is not None
    assert early.checkpoint.size == sizes()[-2]
    assert early.checks[0].findings == ()
    assert audit(served.url, POLICY).accepted


# --- Addresses and connections


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.org/log", "use https, or --plain-http"),
        ("http://127.0.0.1.example.org/log", "use https, or --plain-http"),
        ("http://localhost.example.org/log", "use https, or --plain-http"),
        ("https://", "no address of a web server"),
        ("https://host:port/", "no address of a web server"),
        ("https://[::1", "no address of a web server"),
        ("https://me:secret@example.org/", "without"),
        ("https://example.org/?a=1", "without"),
        ("https://example.org/a b", "without"),
    ],
)
def test_addresses_that_are_refused(url: str, why: str) -> None:
    found = run(url, "--policy", POLICY)
    assert found.exit_code == 2
    assert why.replace("without", "expected") in found.stderr
    assert "secret" not in found.output


def test_a_policy_is_not_pinned_by_an_address(served: Site) -> None:
    found = run(served.url, "--policy", served.url + "/policy.cbor")
    assert found.exit_code == 2
    assert "a pinned policy is a file of your own" in found.stderr


def test_a_certificate_of_nobody_known(tls: tuple[Path, ssl.SSLContext], golden: Path) -> None:
    ca_file, context = tls
    with site(golden, context) as found:
        accepted = run(found.url, "--policy", POLICY, "--ca-file", ca_file)
        assert accepted.exit_code == 0
        assert f"audit again: verifl-audit {found.url} --ca-file {ca_file} --policy {POLICY}" in accepted.stdout
        refused = run(found.url, "--policy", POLICY)
    assert refused.exit_code == 2
    assert "CERTIFICATE_VERIFY_FAILED" in refused.stderr
    refused = run(found.url, "--policy", POLICY, "--ca-file", POLICY)
    assert (refused.exit_code, "expected certificates in PEM" in refused.stderr) == (2, True)


def test_nobody_there(golden: Path, tmp_path: Path) -> None:
    with site(golden) as found:
        url = found.url
    refused = run(url, "--policy", POLICY)
    assert refused.exit_code == 2
    assert f"cannot read {url}/" in refused.stderr
    with site(tmp_path / "transcript" / "blobs") as found:
        refused = run(found.url, "--policy", POLICY)
    assert refused.exit_code == 2
    assert "holds no transcript" in refused.stderr


# --- Hostile servers


def head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def drip(stream: socket.socket, first: bytes, piece: bytes, pause: float = 0.02) -> None:
    """Send without end."""
    stream.sendall(first)
    while True:
        stream.sendall(piece)
        time.sleep(pause)


BOMB = gzip.compress(bytes(1 << 20))
ANSWERS: dict[str, tuple[Callable[[socket.socket], object], str]] = {
    "redirects elsewhere": (
        lambda s: s.sendall(head("302 Found", "Location: http://127.0.0.1:1/", "Content-Length: 0")),
        "redirects (302)",
    ),
    "redirects to a file": (
        lambda s: s.sendall(head("301 Moved", "Location: file:///etc/passwd", "Content-Length: 0")),
        "redirects (301)",
    ),
    "says no": (lambda s: s.sendall(head("403 Forbidden", "Content-Length: 0")), "answers 403"),
    "fails": (lambda s: s.sendall(head("500 Oh", "Content-Length: 0")), "answers 500"),
    "sends a part": (lambda s: s.sendall(head("206 Part", "Content-Length: 3") + b"abc"), "answers 206"),
    "compresses": (
        lambda s: s.sendall(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}") + BOMB),
        "the server compresses files",
    ),
    "says no length": (lambda s: s.sendall(head("200 OK") + b"abc"), "says no length"),
    "cuts off": (lambda s: s.sendall(head("200 OK", "Content-Length: 100") + b"abc"), "RemoteProtocolError"),
    "cuts off chunks": (
        lambda s: s.sendall(head("200 OK", "Transfer-Encoding: chunked") + b"64\r\nabc"),
        "RemoteProtocolError",
    ),
    "speaks otherwise": (lambda s: s.sendall(b"SSH-2.0\r\n\r\n"), "RemoteProtocolError"),
    "closes": (lambda s: None, "RemoteProtocolError"),
    "stalls": (lambda s: time.sleep(3), "ReadTimeout"),
    "stalls in the body": (
        lambda s: (s.sendall(head("200 OK", "Content-Length: 100") + b"abc"), time.sleep(3)),
        "ReadTimeout",
    ),
    "drips headers": (lambda s: drip(s, b"HTTP/1.1 200 OK\r\nX: ", b"a"), "sends too slowly"),
    "drips interim answers": (lambda s: drip(s, b"", head("103 Hints")), "sends too slowly"),
    "drips a body": (lambda s: drip(s, head("200 OK", "Content-Length: 60000"), b"a"), "sends too slowly"),
    "drips a chunk's length": (
        lambda s: drip(s, head("200 OK", "Transfer-Encoding: chunked"), b"0"),
        "sends too slowly",
    ),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same limits, with shorter times."""
    monkeypatch.setattr(connection, "READ_TIMEOUT", 0.4)
    monkeypatch.setattr(connection, "GRACE", 0.6)
    monkeypatch.setattr(connection, "LEAST_RATE", 1 << 24)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.usefixtures("impatient")
def test_an_answer_that_is_none(name: str) -> None:
    """Nothing about the log: status 2, and why."""
    answer, why = ANSWERS[name]
    with hostile(lambda stream, path: answer(stream)) as url:
        with pytest.raises(Unreachable) as raised:
            RemoteDirectory(Remote(url)).read("tile/entries/000", 60000)
        assert why in str(raised.value)
        refused = run(url, "--policy", POLICY)
    assert refused.exit_code == 2
    assert f"cannot read {url}/" in refused.stderr
    assert "Traceback" not in refused.output


@pytest.mark.parametrize("tag", ['"\xff\xfe"', "\xe9", '"a\tb"', '"' + "a" * 300 + '"'])
def test_a_tag_that_cannot_be_sent_back_is_none(tag: str) -> None:
    """Nobody who asks again for what has changed stops at it."""
    answer = head("200 OK", "ETag: TAG", "Content-Length: 3").replace(b"TAG", tag.encode("latin-1")) + b"abc"
    with hostile(lambda stream, path: stream.sendall(answer)) as url:
        assert Connection(Remote(url)).fetch(f"{url}/proposal", "proposal", 3, "") == (b"abc", "")


@pytest.mark.parametrize("name", [each for each in ANSWERS if each.startswith("drips")])
@pytest.mark.usefixtures("impatient")
def test_no_time_is_gained_by_what_may_still_come(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of which a gibibyte would be read has no more time than others, while nothing comes."""
    monkeypatch.setattr(connection, "LEAST_RATE", 1 << 12)
    with hostile(lambda stream, path: ANSWERS[name][0](stream)) as url, pytest.raises(Unreachable) as raised:
        RemoteDirectory(Remote(url)).is_named("blobs/00/00", bytes(32))
    assert ANSWERS[name][1] in str(raised.value)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (("Content-Length: 4611686018427387904",), b"a" * 1000),
        (("Transfer-Encoding: chunked",), b"10000\r\n" + b"a" * 65536 + b"\r\n"),
    ],
)
def test_no_more_than_the_limit_is_read(headers: tuple[str, ...], body: bytes, tmp_path: Path) -> None:
    sent = [0]

    def answer(stream: socket.socket, path: str) -> None:
        stream.sendall(head("200 OK", *headers))
        while True:
            stream.sendall(body)
            sent[0] += len(body)

    with hostile(answer) as url, pytest.raises(Damaged) as raised:
        RemoteDirectory(Remote(url)).read("tile/0/000", 8192)
    assert raised.value.check == "file-size"
    assert sent[0] < 1 << 25  # what the sockets between hold


def test_an_error_page_that_says_it_is_well() -> None:
    page = b"<html>Not found</html>"
    ok = head("200 OK", f"Content-Length: {len(page)}", "Connection: close") + page
    with hostile(lambda stream, path: stream.sendall(ok)) as url:
        found = run(url, "--policy", POLICY, "--format", "json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["outcome"] == "damaged"


@pytest.mark.usefixtures("impatient")
def test_sizes_without_end_are_not_asked_for() -> None:
    """A checkpoint that nobody signed says any size, and the server that every file is there."""
    note = (GOLDEN / "honest" / "transcript" / "checkpoint").read_bytes()
    note = note.replace(f"\n{sizes()[-1]}\n".encode(), f"\n{2**62}\n".encode())
    asked = []

    def answer(stream: socket.socket, path: str) -> None:
        asked.append(path)
        data = note if path == "/checkpoint" else b"a"
        stream.sendall(head("200 OK", f"Content-Length: {len(data)}") + data)

    with hostile(answer) as url:
        found = run(url, "--policy", POLICY)
    assert found.exit_code in (1, 2)
    assert len(asked) < 100


def test_what_is_kept_has_a_limit_and_is_gone_after(served: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "KEPT_LIMIT", 3000)
    directory = RemoteDirectory(Remote(served.url))
    folder = directory._kept.folder
    for path in ("policy.cbor", *(f"checkpoints/{size}" for size in sizes())):
        directory.read(path, 1 << 20)
        assert sum(each.stat().st_size for each in folder.iterdir()) <= max(3000, len(directory.read(path, 1 << 20)))
    del directory
    assert not folder.exists()
