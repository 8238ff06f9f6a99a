"""A stock nginx in front of the exchange that is measured, on this machine, as `verifl exchange nginx` configures it.

Each party comes to an address of its own, of those that all lead back to this machine, so that nginx's log says whose
bytes they were. Its limits, which are for each address, are then those of parties at different places.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from proofs.errors import Misuse
from protocols.log.connection import Credentials, Remote
from protocols.pinned import PinnedPolicy
from verifl.carriers.exchange.nginx import INCOMING, Site, nginx_configuration
from verifl.carriers.exchange.public import PublicView
from verifl.carriers.exchange.tokens import new_token, token_line
from verifl.carriers.exchange.website import PublicSite
from verifl.storage.stores import make_private_directory

PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))
PATIENCE = 30.0  # seconds, for nginx to answer
_FIRST = int(ipaddress.ip_address("127.1.0.1"))
_MAIN = """{user}
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
    log_format counted "$server_addr $request_length $bytes_sent";
    access_log {folder}/access.log counted;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


@dataclass(frozen=True)
class Address:
    """Where one party finds the exchange, and what it shows there."""

    host: str
    url: str
    token: str

    def view(self, folder: Path, kept: Path) -> PublicView:
        """The exchange as this party sees it; folder: as for `website`."""
        make_private_directory(kept)
        return PublicSite(Remote(self.url, folder / "web.pem", credentials=Credentials(token=self.token)), kept)


@dataclass(frozen=True)
class Website:
    """addresses: by party. log: of what each of them sent and got."""

    addresses: dict[str, Address]
    log: Path

    def traffic(self) -> dict[str, tuple[int, int]]:
        """Bytes that each party sent and got, headers among them, without those of TLS."""
        sent, got = Counter[str](), Counter[str]()
        for line in self.log.read_text().splitlines():
            host, received, answered = line.split()
            sent[host] += int(received)
            got[host] += int(answered)
        return {name: (sent[each.host], got[each.host]) for name, each in self.addresses.items()}


@contextmanager
def website(folder: Path, pinned: PinnedPolicy, public: Path, parties: Sequence[str]) -> Iterator[Website]:
    """Running for the block; folder: an empty one for its files. Raises Misuse where nginx is not installed, or does
    not start."""
    program = shutil.which("nginx", path=PLACES)
    if program is None:
        raise Misuse("bench: nginx is not installed; without --https the parties meet in a directory")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    hosts = [str(ipaddress.ip_address(_FIRST + number)) for number in range(len(parties))]
    addresses = {
        name: Address(host, f"https://{host}:{port}", new_token()) for name, host in zip(parties, hosts, strict=True)
    }
    _write_site(folder, pinned, public, addresses, port)
    with subprocess.Popen([program, "-p", str(folder), "-e", "stderr", "-c", str(folder / "nginx.conf")]) as process:
        try:
            _until_it_answers(process, hosts[0], port)
            yield Website(addresses, folder / "access.log")
        finally:
            process.terminate()


def _write_site(folder: Path, pinned: PinnedPolicy, public: Path, addresses: dict[str, Address], port: int) -> None:
    me = pwd.getpwuid(os.geteuid()).pw_name
    (public / INCOMING).mkdir(parents=True)
    lines = [token_line(name, each.token) + "\n" for name, each in addresses.items()]
    (folder / "tokens").write_text("".join(lines))
    _write_certificate(folder / "web.pem", folder / "web.key", [each.host for each in addresses.values()])
    site = Site(
        public, "localhost", folder / "web.pem", folder / "web.key",
        tokens=folder / "tokens", listen=(str(port),), user=me, coordinator=me,
    )  # fmt: skip
    (folder / "site.conf").write_text(nginx_configuration(pinned, site))
    user = f"user {me};" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))


def _write_certificate(file: Path, key_file: Path, hosts: Sequence[str]) -> None:
    """Of these addresses, signed by itself, for two days."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "verifl bench")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host)) for host in hosts])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_file.touch(mode=0o600)
    key_file.write_bytes(key.private_bytes(*form))
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _until_it_answers(process: subprocess.Popen[bytes], host: str, port: int) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        with suppress(OSError), socket.create_connection((host, port), 1):
            return
        if process.poll() is not None or time.monotonic() > until:
            raise Misuse("bench: nginx does not start; what it says is above")
        time.sleep(0.05)
