"""Web servers for tests: a stock one over a directory, with TLS or without, and one that answers what it is told to."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "127.0.0.1"


@dataclass
class Site:
    """A directory that is served. asked: method and path of each request, in order."""

    url: str
    asked: list[tuple[str, str]] = field(default_factory=list)

    def count(self, method: str, path: str) -> int:
        return self.asked.count((method, "/" + path))


class _Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    site: Site

    def parse_request(self) -> bool:
        good = super().parse_request()
        if good:
            self.site.asked.append((self.command, self.path))
        return good

    def list_directory(self, path: object) -> None:
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def site(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[Site]:
    """Serve the files of a directory, and no listings."""
    found = Site("")
    handler = type("Handler", (_Handler,), {"site": found})
    with ThreadingHTTPServer((HOST, 0), partial(handler, directory=str(folder))) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        found.url = f"http{'s' if context else ''}://{HOST}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


Answer = Callable[[socket.socket, str], None]


@contextmanager
def hostile(answer: Answer) -> Iterator[str]:
    """A server that reads a request's headers and leaves the rest to `answer`, which gets the connection and the path;
    then the connection is closed."""
    listener = socket.create_server((HOST, 0))

    def connection(stream: socket.socket) -> None:
        with stream, suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := stream.recv(65536)):
                    return
                head += more
            answer(stream, head.split(b" ")[1].decode())

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=connection, args=(listener.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://{HOST}:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def slow(port: int, rate: float) -> tuple[int, Callable[[], None]]:
    """A port that leads to another one at so many bytes a second, in one direction; and how to end it."""
    listener = socket.create_server((HOST, 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)

    def carry(source: socket.socket, target: socket.socket, pace: float | None) -> None:
        try:
            while piece := source.recv(1 << 13):
                target.sendall(piece)
                if pace is not None:
                    time.sleep(len(piece) / pace)
            target.shutdown(socket.SHUT_WR)
        except OSError:  # one end is gone, and the other one hears of it
            for each in (source, target):
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                here = listener.accept()[0]
                try:
                    there = socket.create_connection((HOST, port))
                except OSError:
                    here.close()
                    continue
                for job in ((here, there, rate), (there, here, None)):
                    threading.Thread(target=carry, args=job, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1], listener.close


class Authority:
    """Who issues certificates. file: its own, in PEM."""

    def __init__(self, folder: Path, name: str = "test") -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._own = _certificate(_named(name), self._key, None)
        self.file = folder / f"{name}-ca.pem"
        self.file.write_bytes(self._own.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, file: str = "") -> Path:
        """A certificate of CN=name, "" for a server of HOST, and its key, in one file of mode 0600."""
        key, form = ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8
        certificate = _certificate(_named(name), key, (self._own, self._key))
        path = self._folder / f"{file or name or 'server'}.pem"
        path.touch(mode=0o600)
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
        return path


def certificates(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """The certificate file of an authority of our own, and a server's context with a certificate for HOST by it."""
    authority, context = Authority(folder), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(""))
    return authority.file, context


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] if name else [])


def _certificate(
    name: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
) -> x509.Certificate:
    """By an authority, or an authority's own."""
    now = datetime.datetime.now(datetime.UTC)
    issuer, signer = (name, key) if by is None else (by[0].subject, by[1])
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.BasicConstraints(by is None, None), critical=True)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.add_extension(above, critical=False)
    if by is None:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address(HOST))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=True)
    return builder.sign(signer, hashes.SHA256())
