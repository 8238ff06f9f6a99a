"""A connection to a web server of which none of the answers is trusted (spec 3.5.1): sizes before bytes, and a time by
which each answer has to be here.

What keeps a file from being had, or from being put there, is `Unreachable`, an OSError, and says nothing about the
file: no connection, an unexpected status, a redirection, a compressed or cut-off body, one that takes longer than
LEAST_RATE allows.
"""

from __future__ import annotations

import base64
import errno
import ipaddress
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proofs.errors import Misuse
from proofs.machine.installing import install_hint
from protocols.log.files import Damaged

if TYPE_CHECKING:
    import ssl

    import httpx

SCHEMES = ("https://", "http://")
CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 30.0  # seconds without a byte, in either direction
GRACE = 30.0  # seconds for an answer, beside the time that its bytes may take
LEAST_RATE = 1 << 15  # bytes a second; a line of 1 Mbit/s has four times as much
PAUSES = (0.2, 0.5, 1.0)  # seconds, before each further try
_CHUNK = 1 << 16  # bytes
_PAGE = 1 << 16  # bytes of an answer's page that are read only to keep the connection
_FOUND, _UNCHANGED, _ABSENT = 200, 304, frozenset({404, 410})
_PUT, _THERE_ALREADY = frozenset({200, 201, 204}), 412
_NOT_TAKEN = {
    400: "it does not take this request; is the certificate of an authority that it knows?",
    401: "it does not know this token; is it the one whose line the web server was given?",
    403: "it does not let this party put anything there; is this the certificate or token of this very party?",
    404: "it has no such inbox; does it publish this federation?",
    405: "it takes no answers there; `verifl exchange nginx` prints a configuration that does",
    408: "the answer came too slowly",
    413: "the answer is longer than it takes; its limit has to be that of this policy (`verifl exchange nginx`)",
    429: "it has been asked too often; it is asked again",
    500: "it failed; is its disk full?",
    503: "it is busy; it is asked again",
    507: "its disk is full",
}


class Unreachable(OSError):
    """A file could not be had from a server, or not be put there, which says nothing about the file."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(errno.EIO, why, url)


@dataclass(frozen=True)
class Credentials:
    """How a party shows a web server who it is. certificate, key: files in PEM, for TLS. token: for what it puts there,
    by HTTP's Basic scheme (RFC 7617)."""

    certificate: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)

    def headers(self, name: str) -> dict[str, str]:
        """Those of a request that has to say whose it is: the party's of this name."""
        if self.token is None:
            return {}
        encoded = base64.b64encode(f"{name}:{self.token}".encode()).decode()
        return {"Authorization": f"Basic {encoded}"}


NOBODY = Credentials()


@dataclass(frozen=True)
class Remote:
    """Where a transcript is published. ca_file: certificates to trust in place of the system's. plain: http is allowed
    to others than this machine. credentials: of those who put files there. Raises Misuse for what is no such
    address."""

    url: str
    ca_file: Path | None = None
    plain: bool = False
    credentials: Credentials = NOBODY

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise Misuse(f"{self.url}: no address of a web server") from None
        if parts.scheme not in {"https", "http"} or not host:
            raise Misuse(f"{self.url}: no address of a web server; https://HOST/PATH is one")
        if parts.username is not None or parts.password is not None:
            raise Misuse("the address of a transcript: expected none with a name or a password in it")
        if parts.query or parts.fragment or not self.url.isprintable() or " " in self.url:
            raise Misuse(f"{self.url}: expected the address of a directory, without ?, # and spaces")
        if parts.scheme == "http" and not self.plain and not _is_here(host):
            raise Misuse(f"{self.url}: plain http shows anybody on the way what is read; use https, or --plain-http")

    def below(self, folder: str) -> Remote:
        """A directory of it."""
        return replace(self, url=f"{self.url.rstrip('/')}/{folder}")

    def __str__(self) -> str:
        return self.url


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Watch:
    """Cuts a connection off as soon as an answer is late: it has GRACE, and the time that what came of its body, or was
    sent of the request's, takes at LEAST_RATE. However much may still come, a server gains no time by doing nothing.

    size: how many bytes of a body went over. late: whether it was cut off.
    """

    def __init__(self, cut: Callable[[], None]) -> None:
        self.size, self.late = 0, False
        self._cut, self._ended = cut, threading.Event()
        threading.Thread(target=self._watch, args=(time.monotonic(),), daemon=True).start()

    def end(self) -> None:
        """The answer was read."""
        self._ended.set()

    def _watch(self, started: float) -> None:
        while not self._ended.wait(max(0.0, started + GRACE + self.size / LEAST_RATE - time.monotonic())):
            if time.monotonic() >= started + GRACE + self.size / LEAST_RATE:
                self.late = True
                self._cut()
                return


class Connection:
    """One connection that is kept open, and used again; each answer has a time by which it must be here."""

    def __init__(self, remote: Remote) -> None:
        self._client, self._credentials = _client(remote), remote.credentials
        self._socket: socket.socket | None = None
        weakref.finalize(self, self._client.close)

    def asks(self, url: str) -> bool:
        """Whether there is a file, by its headers alone."""
        with self._answer("HEAD", url) as (answer, _):
            return _is_found(url, answer)

    def stream(self, url: str, path: str, limit: int) -> Iterator[bytes]:
        """The bytes of a file, in pieces. Raises Damaged("file-missing", "file-size"), Unreachable."""
        with self._answer("GET", url) as (answer, watch):
            yield from _pieces(url, path, limit, answer, watch)

    def fetch(self, url: str, path: str, limit: int, tag: str) -> tuple[bytes, str] | None:
        """The bytes of a file, and the tag that the server gives them (RFC 9110, 8.8.3), "" for none; None where `tag`
        is still theirs. Raises as `stream`."""
        with self._answer("GET", url, {"If-None-Match": tag} if tag else {}) as (answer, watch):
            if tag and answer.status_code == _UNCHANGED:
                return None
            return b"".join(_pieces(url, path, limit, answer, watch)), _tag(answer)

    def put(self, url: str, data: bytes, name: str) -> None:
        """Put a new file there, as the party of this name; one that is there already stays as it is, and is no error.
        Raises Unreachable, saying what the server said."""
        headers = {"If-None-Match": "*", "Content-Length": str(len(data)), **self._credentials.headers(name)}
        with self._answer("PUT", url, headers, data) as (answer, _):
            status = answer.status_code
            _drain(answer)
        if status not in _PUT and status != _THERE_ALREADY:
            why = _NOT_TAKEN.get(status, "which is no answer to a file that is put there")
            raise Unreachable(url, f"the web server answers {status} to {len(data)} bytes: {why}")

    @contextmanager
    def _answer(
        self, method: str, url: str, headers: dict[str, str] | None = None, data: bytes | None = None
    ) -> Iterator[tuple[httpx.Response, _Watch]]:
        """The answer to a request, while it is read, and who has to be told how much of it came. What the connection
        lacks is Unreachable."""
        import httpx

        watch = _Watch(self._cut)
        try:
            answer = self._send(method, url, headers, data, watch)
            try:
                yield answer, watch
            finally:
                answer.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Unreachable(url, SLOW if watch.late else _why(error)) from None
        finally:
            watch.end()

    def _send(
        self, method: str, url: str, headers: dict[str, str] | None, data: bytes | None, watch: _Watch
    ) -> httpx.Response:
        """Send a request, and again where no connection came about, or it was closed: whatever is sent here has the
        same effect twice. httpx's own retries belong to a transport, and with one it does not look for proxies."""
        import httpx

        def send() -> httpx.Response:
            content = None if data is None else _sent(data, watch)
            request = self._client.build_request(
                method, url, headers=headers, content=content, extensions={"trace": self._seen}
            )
            return self._client.send(request, stream=True)

        for pause in PAUSES:
            try:
                return send()
            except (httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError):
                if watch.late:
                    raise
                time.sleep(pause)
        return send()

    def _seen(self, event: str, info: dict[str, Any]) -> None:
        """Keep a handle on the socket of a new connection: a read that waits in it ends when it is shut down."""
        if event != "connection.connect_tcp.complete":
            return
        found = info["return_value"].get_extra_info("socket")
        if found is None:
            return
        if self._socket is not None:
            self._socket.close()
        self._socket = socket.socket(fileno=os.dup(found.fileno()))

    def _cut(self) -> None:
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is closed already


SLOW = "the server sends too slowly"
_TAG_LIMIT = 200  # characters


def _sent(data: bytes, watch: _Watch) -> Iterator[bytes]:
    """The pieces of a request's body; httpx copies what is left of one in one piece again and again."""
    for start in range(0, len(data), _CHUNK):
        piece = data[start : start + _CHUNK]
        watch.size += len(piece)
        yield piece


def _pieces(url: str, path: str, limit: int, answer: httpx.Response, watch: _Watch) -> Iterator[bytes]:
    """The bytes of a file, of which no more than `limit` are read."""
    if not _is_found(url, answer):
        _drain(answer)
        raise Damaged("file-missing", path, "no such file")
    length = _length(url, answer)
    if length is not None and length > limit:
        raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{length} bytes")
    for chunk in answer.iter_raw(_CHUNK):
        watch.size += len(chunk)
        if watch.size > limit:
            raise Damaged("file-size", f"{path} of at most {limit} bytes", "more")
        yield chunk


def _tag(answer: httpx.Response) -> str:
    """The tag of an answer, "" for one that is none, or cannot be sent back."""
    tag: str = answer.headers.get("etag", "")
    return tag if len(tag) <= _TAG_LIMIT and tag.isascii() and tag.isprintable() else ""


def _drain(answer: httpx.Response) -> None:
    """Read a short page to its end: a connection with unread bytes cannot be used again."""
    if int(answer.headers.get("content-length", _PAGE)) < _PAGE:
        for _ in answer.iter_raw(_CHUNK):
            continue


def _client(remote: Remote) -> httpx.Client:
    try:
        import httpx
    except ImportError:
        raise Misuse(
            f"{remote}: reading from a web server needs the extra `remote`: {install_hint('remote')}"
        ) from None
    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    headers = {"Accept-Encoding": "identity", "User-Agent": "verifl"}
    try:
        return httpx.Client(
            verify=_tls(remote), timeout=timeout, limits=limits, headers=headers, follow_redirects=False, trust_env=True
        )
    except (ValueError, ImportError) as error:
        raise Misuse(f"a proxy that the environment names: {error}") from None


def _tls(remote: Remote) -> ssl.SSLContext | bool:
    """Whom to trust, and as whom to come; True for the usual."""
    import ssl

    own = remote.credentials.certificate, remote.credentials.key
    if remote.ca_file is None and own[0] is None:
        return True
    try:
        context = ssl.create_default_context(cafile=None if remote.ca_file is None else str(remote.ca_file))
    except ssl.SSLError:
        raise Misuse(f"{remote.ca_file}: expected certificates in PEM") from None
    if own[0] is not None:
        try:
            context.load_cert_chain(own[0], own[1], password=_no_passphrase(own[1] or own[0]))
        except ssl.SSLError as error:
            raise Misuse(f"{own[0]}: expected a certificate in PEM, and its key: {error.reason}") from None
    return context


def _no_passphrase(path: Path) -> Callable[[], str]:
    """For OpenSSL, which would ask for one at the terminal."""

    def refuse() -> str:
        raise Misuse(f"{path}: a key for TLS has to be without a passphrase; protect it by its mode, 0600")

    return refuse


def _is_found(url: str, answer: httpx.Response) -> bool:
    """True for 200, False for 404; Unreachable for every other answer."""
    if answer.status_code in _ABSENT:
        return False
    if answer.is_redirect or 300 <= answer.status_code < 400:
        raise Unreachable(
            url, f"the server redirects ({answer.status_code}): give the address it redirects to, if right"
        )
    if answer.status_code != _FOUND:
        raise Unreachable(url, f"the server answers {answer.status_code}")
    return True


def _length(url: str, answer: httpx.Response) -> int | None:
    """The length that an answer announces; None for one in chunks. Unreachable where a cut could not be told from the
    end, or the bytes are not the file's."""
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        raise Unreachable(url, "the server compresses files, which nobody asked it to")
    if "content-length" in answer.headers:
        return int(answer.headers["content-length"])
    if answer.headers.get("transfer-encoding", "").lower() != "chunked":
        raise Unreachable(url, "the server says no length")
    return None


def _why(error: Exception) -> str:
    """A failure in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
