"""What stock nginx, configured by `verifl exchange nginx`, lets nobody do; and what a party makes of its refusals."""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from proofs.errors import Malformed
from protocols.blobs import blob_hash
from protocols.log import connection
from protocols.log.connection import Unreachable
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import answer_limit
from tests.nginx import HOST, Request
from tests.required import needs, needs_root, program
from tests.verifl.carriers.exchange.website import (
    CERTIFICATES,
    TOKENS,
    USER,
    Website,
    command,
    prepare,
    printed,
    published,
)
from tests.web import Authority, slow
from verifl.carriers.exchange.inbox import Inbox, Refusals
from verifl.carriers.exchange.nginx import Site, nginx_configuration
from verifl.carriers.exchange.public import INBOX, PublicDirectory

pytestmark = pytest.mark.organisations

POLICY = Path(__file__).parents[3] / "golden/honest/policy.cbor"
PINNED = PinnedPolicy.open(POLICY.read_bytes())
TRUSTEE, CLIENT, OTHER = PINNED.policy.trustees[0].id, PINNED.policy.roster[0].id, PINNED.policy.roster[1].id
PARTIES = [member.id for member in (*PINNED.policy.trustees, *PINNED.policy.roster)]
MIB = 1 << 20
DATA = b"an answer"
NAME = blob_hash(DATA).hex()


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that other users can reach."""
    needs("nginx")
    folder = Path(tempfile.mkdtemp(prefix="verifl-web-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", HOST)
        patch.setattr(connection, "PAUSES", (0.05,))
        yield folder
    shutil.rmtree(folder)


def opened(folder: Path) -> PublicDirectory:
    """A public directory with its inboxes."""
    public = PublicDirectory(folder)
    public.create()
    Inbox(folder, PINNED, Refusals(folder.parent / "refusals.jsonl", time.time)).create()
    return public


@pytest.fixture(scope="module", params=[TOKENS, CERTIFICATES])
def site(request: pytest.FixtureRequest, place: Path) -> Iterator[Website]:
    folder = place / request.param
    folder.mkdir()
    with published(
        folder / "web", request.param, POLICY, folder / "public", PARTIES, client_body_timeout="1s"
    ) as website:
        opened(website.public)
        transcript = POLICY.parent / "transcript"
        shutil.copytree(transcript, website.public / "transcript", copy_function=shutil.copyfile)
        yield website


def inbox(website: Website, party: str) -> list[str]:
    return sorted(path.name for path in (website.public / INBOX / party).iterdir())


def left(website: Website) -> list[Path]:
    """What is there of files that are not complete."""
    return [path for path in (website.public / "exchange/.incoming").rglob("*") if path.is_file()]


def ask(
    website: Website, method: str, path: str, who: str | None = None, body: bytes = b"", headers: tuple[str, ...] = ()
) -> tuple[int, bytes]:
    """Status and page of a request with exactly this path, by a party or by nobody; status 0 where the connection is
    closed without any."""
    head = [f"{method} {path} HTTP/1.1", f"Host: {HOST}", "Connection: close", f"Content-Length: {len(body)}"]
    own = [] if who is None else website_headers(website, who)
    with spoken(website, who) as stream, suppress(OSError):
        stream.sendall("\r\n".join([*head, *own, *headers, "", ""]).encode() + body)
        answer = b"".join(iter(lambda: stream.recv(65536), b""))
        top, _, page = answer.partition(b"\r\n\r\n")
        return int(top.split(b" ")[1]), page
    return 0, b""


def website_headers(site: Website, who: str) -> list[str]:
    return [f"{name}: {value}" for name, value in site.remote(who).credentials.headers(who).items()]


def spoken(website: Website, who: str | None) -> ssl.SSLSocket:
    """A TLS connection."""
    context = ssl.create_default_context(cafile=str(website.authority.file))
    if who is not None and website.how == CERTIFICATES:
        context.load_cert_chain(website.file(who))
    port = urlsplit(website.url).port
    return context.wrap_socket(socket.create_connection((HOST, port or 0), 30), server_hostname=HOST)


def test_everybody_reads_all_but_the_inboxes(site: Website, tmp_path: Path) -> None:
    public = site.seen_by(None, tmp_path / "kept")
    reader = public.reader()
    assert reader is not None
    assert reader.entries(0, reader.size)
    assert public.proposal() is None
    site.seen_by(CLIENT, tmp_path / "kept").put(CLIENT, DATA)
    assert inbox(site, CLIENT) == [NAME]
    for who in (None, CLIENT, OTHER):
        for path in (f"/{INBOX}", f"/{INBOX}/", f"/{INBOX}/{CLIENT}", f"/{INBOX}/{CLIENT}/"):
            assert ask(site, "GET", path, who)[0] in (301, 404)
        for method in ("GET", "HEAD", "POST", "DELETE", "PROPFIND", "MKCOL", "MOVE", "COPY", "OPTIONS", "PATCH"):
            assert ask(site, method, f"/{INBOX}/{CLIENT}/{NAME}", who)[0] in (404, 405)
    for path in ("/exchange/.incoming/", "/exchange/.proposal.0.tmp", "/transcript/", "/transcript/blobs/", "/"):
        assert ask(site, "GET", path)[0] in (403, 404)
    for method in ("PUT", "POST", "DELETE", "MKCOL", "PROPFIND"):
        for path in ("/transcript/checkpoint", "/exchange/proposal", "/exchange/new", "/new/"):
            assert ask(site, method, path, CLIENT, DATA)[0] in (405, 413)
    assert inbox(site, CLIENT) == [NAME]
    (site.public / INBOX / CLIENT / NAME).unlink()


def test_an_answer_is_put_once_and_never_replaced(site: Website, tmp_path: Path) -> None:
    public = site.seen_by(TRUSTEE, tmp_path / "kept")
    public.put(TRUSTEE, DATA)
    public.put(TRUSTEE, DATA)
    path = f"/{INBOX}/{TRUSTEE}/{NAME}"
    assert ask(site, "PUT", path, TRUSTEE, b"something else")[0] == 412
    written = site.public / path[1:]
    assert written.read_bytes() == DATA
    assert written.stat().st_mode & 0o777 == 0o640
    assert left(site) == []
    written.unlink()


def test_nobody_puts_anything_into_the_inbox_of_another(site: Website, tmp_path: Path) -> None:
    path = f"/{INBOX}/{CLIENT}/{NAME}"
    assert [ask(site, "PUT", path, who, DATA)[0] for who in (None, OTHER, TRUSTEE)] == [403] * 3
    with pytest.raises(Unreachable, match="answers 403 to 9 bytes: it does not let this party put anything there"):
        site.seen_by(None, tmp_path / "kept").put(CLIENT, DATA)
    why = "401 to 9 bytes: it does not know this token" if site.how == TOKENS else "403 to 9 bytes: it does not let"
    with pytest.raises(Unreachable, match=why):  # with the credentials of one party in the name of another
        site.seen_by(OTHER, tmp_path / "kept").put(CLIENT, DATA)
    assert inbox(site, CLIENT) == []


def test_credentials_that_are_not_the_partys(site: Website, tmp_path: Path) -> None:
    own = site.file(CLIENT)
    if site.how == TOKENS:
        command("token", CLIENT, tmp_path / "other.token")  # of which nobody told the web server
        wrong, why = tmp_path / "other.token", "answers 401 to 9 bytes: it does not know this token"
    else:
        wrong = Authority(tmp_path, "other").issue(CLIENT)
        why = "answers 400 to 9 bytes: it does not take this request; is the certificate of an authority"
    shutil.copyfile(own, tmp_path / "own")
    try:
        shutil.copyfile(wrong, own)
        with pytest.raises(Unreachable, match=why):
            site.seen_by(CLIENT, tmp_path / "kept").put(CLIENT, DATA)
    finally:
        shutil.copyfile(tmp_path / "own", own)
    assert inbox(site, CLIENT) == []


def test_an_answer_has_the_most_that_the_policy_admits(site: Website, tmp_path: Path) -> None:
    for party in (TRUSTEE, CLIENT):
        limit, public = answer_limit(PINNED, party), site.seen_by(party, tmp_path / "kept")
        public.put(party, bytes(limit))
        assert inbox(site, party) == [blob_hash(bytes(limit)).hex()]
        with pytest.raises(Unreachable, match=f"answers 413 to {limit + 1} bytes: the answer is longer than it takes"):
            public.put(party, bytes(limit + 1))
        with pytest.raises(Unreachable, match="answers 413"):
            public.put(party, bytes(60 * MIB))
        assert len(inbox(site, party)) == 1
        assert left(site) == []
        (site.public / INBOX / party / inbox(site, party)[0]).unlink()


SEGMENT = f"{INBOX}/{CLIENT}"
TRICKS = {
    "up": f"/{SEGMENT}/../{OTHER}/{NAME}",
    "up, escaped": f"/{SEGMENT}/%2e%2e/{OTHER}/{NAME}",
    "up, with an escaped slash": f"/{SEGMENT}/..%2f{OTHER}/{NAME}",
    "out of the inboxes": f"/{SEGMENT}/../../../transcript/{NAME}",
    "out of the root": f"/{INBOX}/../../../{NAME}",
    "a double slash": f"//{INBOX}//{OTHER}/{NAME}",
    "a null byte": f"/{SEGMENT}/{NAME}%00",
    "a name in capitals": f"/{SEGMENT}/{NAME.upper()}",
    "a short name": f"/{SEGMENT}/{NAME[:-1]}",
    "a very long name": f"/{SEGMENT}/{'a' * 5000}",
    "an address without end": f"/{SEGMENT}/{'a' * 40000}",
    "a hidden name": f"/{SEGMENT}/.{NAME[1:]}",
    "a directory": f"/{SEGMENT}/{NAME}/",
    "below a file": f"/{SEGMENT}/{NAME}/{NAME}",
    "a party that is none": f"/{INBOX}/nobody/{NAME}",
    "no party": f"/{INBOX}/{NAME}",
    "the web server's own": f"/exchange/.incoming/{NAME}",
    "a backslash": f"/{INBOX}/{CLIENT}\\..\\{OTHER}/{NAME}",
}


@pytest.mark.parametrize("trick", TRICKS)
def test_a_path_that_leads_elsewhere(site: Website, trick: str) -> None:
    status, _ = ask(site, "PUT", TRICKS[trick], CLIENT, DATA)
    assert status in (400, 403, 404, 405, 414) or (status == 0 and trick == "an address without end")
    assert [inbox(site, party) for party in PARTIES] == [[]] * len(PARTIES)
    assert not (site.public / "transcript" / NAME).exists()


def test_a_half_sent_answer_is_never_seen(site: Website) -> None:
    """Nor one that stands still: the connection is closed after client_body_timeout, and nothing of it stays."""
    for waits in (False, True):
        with spoken(site, CLIENT) as stream:
            shown = website_headers(site, CLIENT)
            head = [f"PUT /{SEGMENT}/{NAME} HTTP/1.1", f"Host: {HOST}", "Content-Length: 100000", *shown, "", ""]
            stream.sendall("\r\n".join(head).encode() + bytes(50000))
            until(lambda: bool(left(site)))
            assert inbox(site, CLIENT) == []
            if waits:
                with suppress(ConnectionError):
                    assert stream.recv(1) == b""
        until(lambda: not left(site))
        assert inbox(site, CLIENT) == []


def until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_changes_is_not_kept_and_what_does_not_is(site: Website) -> None:
    def caching(path: str) -> str:
        with spoken(site, None) as stream:
            stream.sendall(f"HEAD /{path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: stream.recv(65536), b"")).decode()
        assert "Content-Encoding" not in answer
        return "".join(re.findall(r"Cache-Control: (.*)\r", answer))

    public = site.public
    (public / "exchange/proposal").write_bytes(b"x" * 100_000)
    blob = next(path for path in (public / "transcript/blobs").rglob("*") if path.is_file())
    assert caching("exchange/proposal") == caching("transcript/checkpoint") == "no-store"
    assert "immutable" in caching(blob.relative_to(public).as_posix())
    assert ask(site, "GET", "/exchange/proposal", None, b"", ("Accept-Encoding: gzip",))[1] == b"x" * 100_000
    (public / "exchange/proposal").unlink()


def test_a_proposal_that_is_the_same_costs_a_few_bytes(site: Website, tmp_path: Path) -> None:
    """And one that another takes the place of within the same second, with the same size, is seen."""
    board, public = PublicDirectory(site.public), site.seen_by(None, tmp_path / "kept")

    def asked() -> list[Request]:
        return [each for each in site.server.requests() if (each.method, each.uri) == ("GET", "/exchange/proposal")]

    before = len(asked())
    for number in range(3):
        shown = bytes([number]) * 2000
        board.propose(shown, {})
        assert [public.proposal() for _ in range(3)] == [shown] * 3
    until(lambda: len(asked()) == before + 9)  # a line is written after its answer is sent
    new = asked()[before:]
    assert [each.status for each in new] == [200, 304, 304] * 3
    assert max(each.sent for each in new if each.status == 304) < 300
    assert max(each.received for each in new) < 300
    board.withdraw()
    assert public.proposal() is None


def test_the_web_server_is_away_while_an_answer_is_put(site: Website, tmp_path: Path) -> None:
    public = site.seen_by(CLIENT, tmp_path / "kept")
    public.put(CLIENT, DATA)
    site.server.stop()
    with pytest.raises(Unreachable, match="refused"):
        public.put(CLIENT, DATA)
    with pytest.raises(Unreachable, match="refused"):
        public.proposal()
    site.server.start()
    public.put(CLIENT, DATA)
    assert inbox(site, CLIENT) == [NAME]
    (site.public / INBOX / CLIENT / NAME).unlink()


# --- Users


@pytest.mark.parametrize("how", [TOKENS])
def test_a_coordinator_that_is_another_user_takes_what_nginx_wrote(how: str, place: Path) -> None:
    """As the configuration says how: nginx can write there, and list nothing; the coordinator reads and removes."""
    needs_root()
    folder, user, group = place / "users", 65534, 65534
    folder.mkdir()
    with published(folder / "web", how, POLICY, folder / "public", PARTIES, coordinator=(user, group)) as website:
        assert as_user(user, group, lambda: opened(website.public)) == 0
        rights = (website.public / INBOX / CLIENT).stat()
        assert (rights.st_uid, oct(rights.st_mode & 0o7777)) == (user, "0o2730")
        website.seen_by(CLIENT, folder / "kept").put(CLIENT, DATA)

        def takes() -> None:
            found = Inbox(website.public, PINNED, Refusals(folder / "none", time.time))
            [letter] = found.letters()
            with pytest.raises(Malformed):
                found.read(letter)  # it has its name, and is no answer
            found.take(letter)
            found.settle()

        assert as_user(user, group, takes) == 0
        assert inbox(website, CLIENT) == []


def as_user(user: int, group: int, what: Callable[[], object]) -> int:
    """The exit status of a child that does this as another user, who is in the web server's group."""
    import grp

    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([grp.getgrnam(USER).gr_gid])
            os.setgid(group)
            os.setuid(user)
            what()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# --- Long answers, slow lines


@pytest.fixture
def roomy(place: Path) -> Iterator[Website]:
    """For answers of up to 64 MiB, as a policy for a larger model has them."""
    folder = Path(tempfile.mkdtemp(dir=place))
    folder.chmod(0o755)
    changes = {"client_max_body_size": "64m"}
    with published(folder / "web", TOKENS, POLICY, folder / "public", PARTIES, **changes) as website:
        opened(website.public)
        yield website


def test_sixty_megabytes_arrive(roomy: Website, tmp_path: Path) -> None:
    data = os.urandom(60 * 10**6)
    roomy.seen_by(CLIENT, tmp_path / "kept").put(CLIENT, data)
    assert (roomy.public / INBOX / CLIENT / blob_hash(data).hex()).read_bytes() == data


@pytest.mark.parametrize(
    ("size", "rate"),
    [(10**6, 10**6), pytest.param(20 * 10**6, 125_000, marks=pytest.mark.exhaustive)],
)
def test_a_slow_line(roomy: Website, size: int, rate: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 MB at 1 Mbit/s; by default a megabyte in a second, with time limits that are as much shorter."""
    if size < 20 * 10**6:
        monkeypatch.setattr(connection, "GRACE", 0.5)
        monkeypatch.setattr(connection, "LEAST_RATE", rate // 4)
    data, real = os.urandom(size), roomy.server.port
    port, end = slow(real, rate)
    roomy.server.port = port
    started = time.monotonic()
    try:
        roomy.seen_by(CLIENT, tmp_path / "kept").put(CLIENT, data)
    finally:
        roomy.server.port = real
        end()
    took = time.monotonic() - started
    assert (roomy.public / INBOX / CLIENT / blob_hash(data).hex()).read_bytes() == data
    assert took > 0.8 * size / rate  # the line was slow
    print(f"{size} bytes at {8 * rate} bit/s: {took:.1f} s")


# --- The configuration itself


def test_debians_own_configuration_takes_it(place: Path) -> None:
    """Beside what stands in /etc/nginx/nginx.conf."""
    main = Path("/etc/nginx/nginx.conf")
    if not main.exists() or os.geteuid() != 0:
        pytest.skip("needs Debian's /etc/nginx/nginx.conf, and root")
    folder = place / "debian"
    folder.mkdir()
    _, configuration = printed(folder, TOKENS, Authority(folder), POLICY, folder / "public", PARTIES)
    prepare(configuration, folder / "public")
    (folder / "site.conf").write_text(configuration)
    text = main.read_text().replace("/etc/nginx/sites-enabled/*", str(folder / "site.conf"))
    text = re.sub(r"^pid .*$", f"pid {folder}/pid;", text, flags=re.MULTILINE)
    assert "site.conf" in text
    (folder / "nginx.conf").write_text(text)
    done = subprocess.run(
        [str(program("nginx")), "-t", "-c", str(folder / "nginx.conf")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_two_federations_have_one_web_server(tmp_path: Path) -> None:
    """No name of one is a name of the other."""
    site = Site(tmp_path, "v.example", tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "tokens")
    pinned = replace(PINNED, policy=replace(PINNED.policy, federation="another.one"))
    names = [set(re.findall("verifl_[a-z0-9_]+", nginx_configuration(each, site))) for each in (PINNED, pinned)]
    assert names[0]
    assert not names[0] & names[1]
