"""A stock nginx in a directory of its own, with the site that a test gives it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.required import program
from tests.web import HOST

PATIENCE = 60.0  # seconds
# As Debian's nginx.conf does, this includes a site into http {}.
MAIN = """
{user}
worker_processes 2;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    log_format counted "$ssl_client_s_dn|$request_method|$request_uri|$status|$request_length|$bytes_sent";
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
class Request:
    """who: the subject of the certificate that was shown. received, sent: bytes of request and answer, headers among
    them, without those of TLS."""

    who: str
    method: str
    uri: str
    status: int
    received: int
    sent: int


@dataclass
class Nginx:
    """folder: of its configuration, logs and pid; site: what stands in http {}; user: of its workers, where root starts
    it."""

    folder: Path
    port: int
    site: str
    user: str = "root"
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """And wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "site.conf").write_text(self.site)
        user = f"user {self.user};" if os.geteuid() == 0 else ""
        (self.folder / "nginx.conf").write_text(MAIN.format(folder=self.folder, user=user))
        self.process = subprocess.Popen(
            [str(program("nginx")), "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "nginx.conf")],
            stderr=(self.folder / "start.log").open("wb"),
        )
        until = time.monotonic() + PATIENCE
        while True:
            with suppress(OSError), socket.create_connection((HOST, self.port), 1):
                return
            assert self.process.poll() is None, (self.folder / "start.log").read_text()
            assert time.monotonic() < until, "nginx does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        """At once, whoever is connected."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(PATIENCE)
            self.process = None

    def kill(self) -> None:
        """SIGKILL, at whatever it is: of the master, and of its workers, which would go on without it."""
        if self.process is not None:
            pid = self.process.pid
            workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for each in (pid, *map(int, workers)):
                os.kill(each, signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None

    def requests(self) -> list[Request]:
        """Those that were answered."""
        lines = (self.folder / "access.log").read_text().splitlines()
        parts = (line.split("|") for line in lines)
        return [
            Request(who, method, uri, int(status), int(got), int(sent)) for who, method, uri, status, got, sent in parts
        ]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.create_server((HOST, 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def nginx(folder: Path, port: int, site: str, user: str = "root") -> Iterator[Nginx]:
    """Running for the block."""
    server = Nginx(folder, port, site, user)
    try:
        server.start()
        yield server
    finally:
        server.stop()
