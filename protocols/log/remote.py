"""Reading a directory that a web server publishes (spec 3.5.1): sizes before bytes, and none of its answers trusted.

What the server says wrongly about the log is `Damaged`, as with a local copy. What keeps an answer from being had at
all is `Unreachable`, an OSError, and says nothing about the log: no connection, an answer other than 200 and 404, a
redirection, a compressed or cut-off body, one that takes longer than LEAST_RATE allows.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proofs.errors import Misuse
from protocols.hashes import sha256, sha256_of_parts
from protocols.log.files import Damaged
from protocols.log.tiles import CHECKPOINT

if TYPE_CHECKING:
    import httpx

SCHEMES = ("https://", "http://")
CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 30.0  # seconds without a byte
GRACE = 30.0  # seconds for an answer, beside the time that its bytes may take
LEAST_RATE = 1 << 15  # bytes a second; a line of 1 Mbit/s has four times as much
PAUSES = (0.2, 0.5, 1.0)  # seconds, before each further try
LEAST_ANSWERS = 4  # a second, of those asked whether a file is there
CONNECTIONS = 8  # at a time, while it is asked which files there are
KEPT_LIMIT = 1 << 33  # bytes on disk, of what was fetched; the oldest go first
NAMED_LIMIT = 1 << 30  # bytes that are read to tell whether a file that is too long has its hash
ASKED_LIMIT = 1 << 16  # files whose existence is asked for at once
_CHUNK = 1 << 16  # bytes
_BATCH = 256
_FOUND, _ABSENT = 200, frozenset({404, 410})


class Unreachable(OSError):
    """A file could not be had from a server, which says nothing about the log."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(errno.EIO, why, url)


@dataclass(frozen=True)
class Remote:
    """Where a transcript is published. ca_file: certificates to trust in place of the system's. plain: http is allowed
    to others than this machine. Raises Misuse for what is no such address."""

    url: str
    ca_file: Path | None = None
    plain: bool = False

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

    def __str__(self) -> str:
        return self.url


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class RemoteDirectory:
    """The files below an address, by relative paths with slashes. What was fetched is kept on disk as long as this
    object lives, at most KEPT_LIMIT bytes: so it is fetched once, and at most one file is in memory."""

    lists = False

    def __init__(self, remote: Remote) -> None:
        self._root = remote.url.rstrip("/") + "/"
        self._folder = Path(tempfile.mkdtemp(prefix="verifl-audit-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._remote = remote
        self._connection = _Connection(remote)
        self._kept: dict[str, int] = {}  # sizes, by path, oldest first
        self._absent: set[str] = set()
        self._size = 0  # of all that is kept
        self._lock = threading.Lock()  # one request at a time

    def read(self, path: str, limit: int) -> bytes:
        """The bytes of a file, as it was when it was first read; but `checkpoint` is fetched anew each time.

        Raises Damaged("file-missing"); Damaged("file-size") where it has more than `limit` bytes, having read at most
        one piece more; Unreachable.
        """
        with self._lock:
            if path == CHECKPOINT:
                return b"".join(self._connection.stream(self._root + path, path, limit))
            if path in self._absent:
                raise Damaged("file-missing", path, "no such file")
            if path not in self._kept:
                self._fetch(path, limit)
            size = self._kept[path]
            if size > limit:
                raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{size} bytes")
            return self._file(path).read_bytes()

    def is_named(self, path: str, name: bytes) -> bool:
        """Whether a file has the SHA-256 `name`; one of more than NAMED_LIMIT bytes is not read, and is taken to have
        another. Raises Damaged("file-missing"), Unreachable."""
        try:
            with self._lock:
                return sha256_of_parts(self._connection.stream(self._root + path, path, NAMED_LIMIT)) == name
        except Damaged as error:
            if error.check == "file-missing":
                raise
            return False

    def has(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._lock:
            return path in self._kept or (path not in self._absent and self._connection.asks(self._root + path))

    def numbered(self, folder: str, last: int) -> list[int]:
        """Those of the numbers 1 .. last that are names of files in a directory, ascending; several are asked for at a
        time. Raises Unreachable, also where there are more than ASKED_LIMIT, or LEAST_ANSWERS a second do not come."""
        if last > ASKED_LIMIT:
            raise Unreachable(self._root, f"{folder}: {last} numbers are too many to ask for each; audit a copy of it")
        connections, started = threading.local(), time.monotonic()
        found = list[int]()

        def asks(number: int) -> bool:
            if not hasattr(connections, "own"):
                connections.own = _Connection(self._remote)
            return bool(connections.own.asks(f"{self._root}{folder}/{number}"))

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for first in range(1, last + 1, _BATCH):
                some = range(first, min(first + _BATCH, last + 1))
                found += [number for number, there in zip(some, pool.map(asks, some), strict=True) if there]
                if time.monotonic() - started > GRACE + some[-1] / LEAST_ANSWERS:
                    raise Unreachable(self._root, _SLOW)
        return found

    def occupied(self, path: str) -> bool:
        """Whether there is such a file: a server shows nothing else."""
        return self.has(path)

    def names(self, path: str) -> list[str]:  # noqa: ARG002  no server lists any
        """None: a web server lists no folder."""
        return []

    def walk(self) -> Iterator[str]:
        """None: a web server lists no folder."""
        return iter(())

    def empty(self) -> Iterator[str]:
        """None: a web server lists no folder."""
        return iter(())

    def _file(self, path: str) -> Path:
        return self._folder / sha256(path.encode()).hex()

    def _fetch(self, path: str, limit: int) -> None:
        size = 0
        try:
            with self._file(path).open("wb") as file:
                for chunk in self._connection.stream(self._root + path, path, limit):
                    size += len(chunk)
                    file.write(chunk)
        except BaseException as error:
            self._file(path).unlink(missing_ok=True)
            if isinstance(error, Damaged) and error.check == "file-missing":
                self._absent.add(path)
            raise
        self._kept[path] = size
        self._size += size
        while self._size > KEPT_LIMIT and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self._file(oldest).unlink(missing_ok=True)
            self._size -= self._kept.pop(oldest)


class _Watch:
    """Cuts a connection off as soon as an answer is late: it has GRACE, and the time that what came of its body takes
    at LEAST_RATE. However much may still come, a server gains no time by sending nothing of it.

    size: how many bytes of the body came. late: whether it was cut off.
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


class _Connection:
    """One connection that is kept open, and used again; each answer has a time by which it must be here."""

    def __init__(self, remote: Remote) -> None:
        self._client = _client(remote)
        self._socket: socket.socket | None = None
        weakref.finalize(self, self._client.close)

    def asks(self, url: str) -> bool:
        """Whether there is a file, by its headers alone."""
        with self._answer("HEAD", url) as (answer, _):
            return _is_found(url, answer)

    def stream(self, url: str, path: str, limit: int) -> Iterator[bytes]:
        """The bytes of a file, in pieces. Raises Damaged("file-missing", "file-size"), Unreachable."""
        with self._answer("GET", url) as (answer, watch):
            if not _is_found(url, answer):
                raise Damaged("file-missing", path, "no such file")
            length = _length(url, answer)
            if length is not None and length > limit:
                raise Damaged("file-size", f"{path} of at most {limit} bytes", f"{length} bytes")
            for chunk in answer.iter_raw(_CHUNK):
                watch.size += len(chunk)
                if watch.size > limit:
                    raise Damaged("file-size", f"{path} of at most {limit} bytes", "more")
                yield chunk

    @contextmanager
    def _answer(self, method: str, url: str) -> Iterator[tuple[httpx.Response, _Watch]]:
        """The answer to a request, while it is read, and who has to be told how much of it came. What the connection
        lacks is Unreachable."""
        import httpx

        watch = _Watch(self._cut)
        try:
            answer = self._send(method, url, watch)
            try:
                yield answer, watch
            finally:
                answer.close()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise Unreachable(url, _SLOW if watch.late else _why(error)) from None
        finally:
            watch.end()

    def _send(self, method: str, url: str, watch: _Watch) -> httpx.Response:
        """Send a request, and again where no connection came about, or one that was kept open is closed. httpx's own
        retries belong to a transport, and with one it does not look for proxies."""
        import httpx

        request = self._client.build_request(method, url, extensions={"trace": self._seen})
        for pause in PAUSES:
            try:
                return self._client.send(request, stream=True)
            except (httpx.ConnectTimeout, httpx.NetworkError, httpx.RemoteProtocolError):
                if watch.late:
                    raise
                time.sleep(pause)
        return self._client.send(request, stream=True)

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


_SLOW = "the server sends too slowly"


def _client(remote: Remote) -> httpx.Client:
    try:
        import httpx
    except ImportError:
        raise Misuse(f"{remote}: reading from a web server needs httpx: pip install 'verifl[remote]'") from None
    import ssl

    timeout = httpx.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    headers = {"Accept-Encoding": "identity", "User-Agent": "verifl-audit"}
    verify: ssl.SSLContext | bool = True
    if remote.ca_file is not None:
        try:
            verify = ssl.create_default_context(cafile=str(remote.ca_file))
        except ssl.SSLError:
            raise Misuse(f"{remote.ca_file}: expected certificates in PEM") from None
    try:
        return httpx.Client(
            verify=verify, timeout=timeout, limits=limits, headers=headers, follow_redirects=False, trust_env=True
        )
    except (ValueError, ImportError) as error:
        raise Misuse(f"a proxy that the environment names: {error}") from None


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
