"""A party that reads the exchange at an address: what it fetches, how often, and what it makes of lying servers."""

from __future__ import annotations

import gzip
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.blobs import blob_hash
from protocols.log import connection
from protocols.log.connection import NOBODY, Remote, Unreachable
from protocols.log.files import Damaged
from protocols.log.tiles import blob_path
from protocols.rounds.proposals import PROPOSAL_LIMIT
from tests.protocols.log.transcripts import blob, build, extend, open_writer
from tests.web import Site, certificates, hostile, site
from verifl.carriers.exchange import website as websites
from verifl.carriers.exchange.access import NO_ACCESS, WebAccess, check_place, exchange_at, remote_of
from verifl.carriers.exchange.participant import Outage
from verifl.carriers.exchange.public import PROPOSAL, PublicDirectory
from verifl.carriers.exchange.tokens import new_token, token_line
from verifl.carriers.exchange.website import PublicSite

pytest.importorskip("httpx", reason="reading from a web server needs httpx")
FULL = "transcript/tile/entries/000"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(connection, "PAUSES", (0.01,))
    monkeypatch.setattr(connection, "READ_TIMEOUT", 0.4)
    monkeypatch.setattr(connection, "GRACE", 0.6)
    monkeypatch.setattr(connection, "LEAST_RATE", 1 << 24)


def seen(url: str, folder: Path) -> PublicSite:
    """As a process sees it that is started anew."""
    (folder / "kept").mkdir(exist_ok=True)
    return PublicSite(Remote(url), folder / "kept")


def entries(public: PublicSite) -> int:
    """Read all of the log."""
    reader = public.reader()
    assert reader is not None
    return len(reader.entries(0, reader.size))


def fetched(found: Site, public: PublicSite) -> list[str]:
    """What reading the whole log asks for."""
    before = len(found.asked)
    entries(public)
    return [path.removeprefix("/transcript/") for _, path in found.asked[before:]]


def test_a_log_is_not_fetched_again_and_again(tmp_path: Path) -> None:
    """Full bundles once, by this process or one before it; else no more than the last bundle, and the checkpoint."""
    build(tmp_path / "public/transcript", 600)
    with site(tmp_path / "public") as found:
        public, full = seen(found.url, tmp_path), ["tile/entries/000", "tile/entries/001"]
        assert fetched(found, public) == ["checkpoint", *full, "tile/entries/002.p/88"]
        assert fetched(found, public) == ["checkpoint"]
        with open_writer(tmp_path / "public/transcript") as writer:
            extend(writer, 610)
        assert fetched(found, public) == ["checkpoint", "tile/entries/002.p/98"]
        assert fetched(found, seen(found.url, tmp_path)) == ["checkpoint", "tile/entries/002.p/98"]


def test_what_does_not_fit_together_is_fetched_anew_and_not_at_every_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(tmp_path / "public/transcript", 300)
    file = tmp_path / "public" / FULL
    true = file.read_bytes()
    with site(tmp_path / "public") as found:
        file.write_bytes(true[:-1] + b"!")
        public = seen(found.url, tmp_path)
        assert fetched(found, public)[1:] == ["tile/entries/000", "tile/entries/001.p/44"]
        file.write_bytes(true)
        assert fetched(found, public) == ["checkpoint"]
        public.distrust()
        assert fetched(found, public)[1:] == ["tile/entries/000", "tile/entries/001.p/44"]
        public.distrust()
        assert fetched(found, public) == ["checkpoint"]
        monkeypatch.setattr(websites, "_FORGOTTEN", 0.0)
        public.distrust()
        assert len(fetched(found, public)) == 3


def test_there_is_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    with site(tmp_path / "public") as found:
        public = seen(found.url, tmp_path)
        assert public.reader() is None
        assert public.proposal() is None
        build(tmp_path / "public/transcript", 3)
        assert entries(public) == 3
        with pytest.raises(Damaged, match="blob-missing"):
            public.blob(bytes(32), 100)


def test_a_blob_that_is_another_or_too_long(tmp_path: Path) -> None:
    """And no more of it is read than it may have."""
    build(tmp_path / "public/transcript", 3)
    name = blob_hash(blob(0))
    file = tmp_path / "public/transcript" / blob_path(name)
    with site(tmp_path / "public") as found:
        assert seen(found.url, tmp_path).blob(name, 1000) == blob(0)
        file.write_bytes(bytes(len(blob(0))))
        with pytest.raises(Damaged, match="blob-hash"):
            seen(found.url, tmp_path).blob(name, 1000)
        file.write_bytes(bytes(1001))
        with pytest.raises(Damaged, match="blob-size"):
            seen(found.url, tmp_path).blob(name, 1000)


# --- Servers that lie


def head(status: str, *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def endless(stream: socket.socket) -> None:
    stream.sendall(head("200 OK", "Transfer-Encoding: chunked"))
    while True:
        stream.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")


Talk = Callable[[socket.socket], object]
PACKED = gzip.compress(b"a proposal")
ANSWERS: dict[str, tuple[Talk, type[Exception], str]] = {
    "cut off": (lambda s: s.sendall(head("200 OK", "Content-Length: 9") + b"a"), Unreachable, "RemoteProtocolError"),
    "endless": (endless, Damaged, f"file-size: expected exchange/proposal of at most {PROPOSAL_LIMIT} bytes"),
    "too long": (
        lambda s: s.sendall(head("200 OK", f"Content-Length: {PROPOSAL_LIMIT + 1}")),
        Damaged,
        f"found {PROPOSAL_LIMIT + 1} bytes",
    ),
    "elsewhere": (
        lambda s: s.sendall(head("307 Go", "Location: https://127.0.0.1:1/", "Content-Length: 0")),
        Unreachable,
        "redirects .307.",
    ),
    "packed": (
        lambda s: s.sendall(head("200 OK", "Content-Encoding: gzip", f"Content-Length: {len(PACKED)}") + PACKED),
        Unreachable,
        "compresses",
    ),
    "unchanged, unasked": (lambda s: s.sendall(head("304 Not Modified")), Unreachable, "redirects .304.|answers 304"),
    "silent": (lambda s: s.recv(1), Unreachable, "ReadTimeout|sends too slowly"),
    "garbage": (lambda s: s.sendall(bytes(1000)), Unreachable, "RemoteProtocolError"),
}


@pytest.mark.parametrize("answer", ANSWERS)
def test_a_proposal_that_is_none(answer: str, tmp_path: Path) -> None:
    talk, kind, why = ANSWERS[answer]
    with hostile(lambda stream, _: talk(stream)) as url, pytest.raises(kind, match=why):
        seen(url, tmp_path).proposal()


def test_a_server_that_says_that_nothing_changed_is_not_believed_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = (head("200 OK", 'ETag: "1"', "Content-Length: 3") + each for each in (b"one", b"two"))
    told = [first, head("304 Not Modified"), head("304 Not Modified"), other]
    with hostile(lambda stream, _: stream.sendall(told.pop(0))) as url:
        public = seen(url, tmp_path)
        assert [public.proposal() for _ in range(3)] == [b"one"] * 3
        monkeypatch.setattr(websites, "TRUSTED", 0.0)
        assert public.proposal() == b"two"


REFUSED = {
    400: "it does not take this request; is the certificate of an authority that it knows",
    401: "it does not know this token",
    403: "it does not let this party put anything there",
    404: "it has no such inbox",
    405: "it takes no answers there",
    413: "the answer is longer than it takes",
    429: "it has been asked too often",
    500: "it failed",
    503: "it is busy",
    507: "its disk is full",
    302: "which is no answer to a file that is put there",
}


@pytest.mark.parametrize("status", REFUSED)
def test_an_answer_that_is_not_taken(status: int, tmp_path: Path) -> None:
    """One line, which says what to look at."""
    refusal = head(f"{status} No", "Content-Length: 2") + b"no"
    with hostile(lambda stream, _: stream.sendall(refusal)) as url:
        public = seen(url, tmp_path)
        with pytest.raises(Unreachable, match=f"answers {status} to 9 bytes: {REFUSED[status]}") as raised:
            public.put("x", b"an answer")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("status", [200, 201, 204, 412])
def test_an_answer_that_is_there(status: int, tmp_path: Path) -> None:
    asked = []

    def answer(stream: socket.socket, path: str) -> None:
        asked.append(path)
        stream.sendall(head(f"{status} Yes") if status == 204 else head(f"{status} Yes", "Content-Length: 0"))

    with hostile(answer) as url:
        seen(url, tmp_path).put("x", b"an answer")
    assert asked == ["/exchange/inbox/x/" + asked[0][-64:]]


def test_an_outage_is_told_once_and_waited_for_longer_and_longer(caplog: pytest.LogCaptureFixture) -> None:
    outage, error = Outage(), Unreachable("https://v.example/exchange/proposal", "the server answers 502")
    assert [outage.begun(error, 5.0) for _ in range(6)] == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert [record.message for record in caplog.records] == [
        "https://v.example/exchange/proposal: the server answers 502; tries again"
    ]
    outage.ended()
    assert outage.begun(error, 120.0) == 120.0
    assert len(caplog.records) == 2


# --- What a party is told


def test_secrets_that_others_can_read_are_refused(tmp_path: Path) -> None:
    token, key = tmp_path / "token", tmp_path / "key.pem"
    certificates(tmp_path)
    for file in (token, key):
        file.write_text("secret\n")
        file.chmod(0o640)
    url = "https://v.example/cardio"
    shown = (WebAccess(token_file=token), WebAccess(client_certificate=key), WebAccess(None, tmp_path / "ca.pem", key))
    for access in shown:
        with pytest.raises(Misuse, match="is a secret but has mode 640"):
            remote_of(url, access)
    token.chmod(0o600)
    remote = remote_of(url, WebAccess(token_file=token))
    assert remote.credentials.headers("x") == {"Authorization": "Basic eDpzZWNyZXQ="}
    assert "secret" not in repr(remote)
    assert NOBODY.headers("x") == {}


@pytest.mark.parametrize(
    ("public", "access", "why"),
    [
        ("nowhere", NO_ACCESS, "no such directory"),
        (".", WebAccess(token_file=Path("token")), "--token-file: is for a --public that is the address"),
        (".", WebAccess(plain_http=True), "--plain-http: is for a --public that is the address"),
        ("http://v.example/", NO_ACCESS, "use https, or --plain-http"),
        ("https://x:y@v.example/", NO_ACCESS, "expected none with a name or a password"),
        ("https://v.example/", WebAccess(client_key=Path("key.pem")), "of no use without --client-certificate"),
    ],
)
def test_places_that_are_none(public: str, access: WebAccess, why: str, tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=why):
        exchange_at(public, access, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_coordinator_writes_a_directory() -> None:
    with pytest.raises(Misuse, match="a coordinator writes a directory by --public"):
        check_place("https://v.example/", NO_ACCESS, writes=True)
    check_place("not/there/yet", NO_ACCESS, writes=True)


def test_tokens_are_secret_and_their_lines_are_not() -> None:
    one, other = new_token(), new_token()
    assert one != other
    assert len(one) == 43
    lines = {token_line("x", one), token_line("x", one)}
    assert len(lines) == 2  # salted
    assert all(line.startswith("x:{SSHA}") and one not in line for line in lines)


def test_each_proposal_has_a_second_of_its_own(tmp_path: Path) -> None:
    """A web server that tells files apart by second and size sees each of them; so does one that was stopped."""
    seconds = []
    for _ in range(2):
        board = PublicDirectory(tmp_path)
        board.create()
        for _ in range(2):
            board.propose(b"asked", {})
            seconds.append(int((tmp_path / PROPOSAL).stat().st_mtime))
    assert seconds == sorted(set(seconds))
