"""A consortium's public directory behind a stock nginx, with the configuration that `verifl exchange nginx` prints."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from protocols.log.connection import Credentials, Remote
from tests.nginx import HOST, Nginx, free_port, nginx
from tests.required import program
from tests.verifl.carriers.exchange.consortium import CLIENTS, TRUSTEES
from tests.web import Authority
from verifl.carriers.exchange.website import PublicSite
from verifl.commands.exchange import exchange

TOKENS, CERTIFICATES = "tokens", "certificates"
USER = "www-data"


@dataclass
class Website:
    """folder: of certificates and tokens; public: what is published; how: TOKENS or CERTIFICATES."""

    folder: Path
    public: Path
    how: str
    authority: Authority
    server: Nginx

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.server.port}"

    @property
    def credential(self) -> str:
        return "--token-file" if self.how == TOKENS else "--client-certificate"

    def file(self, name: str) -> Path:
        """What a party shows."""
        return self.folder / (f"{name}.token" if self.how == TOKENS else f"{name}.pem")

    def way(self, name: str) -> list[str]:
        """The options by which a party gets there."""
        return ["--public", self.url, "--ca-file", str(self.authority.file), self.credential, str(self.file(name))]

    def remote(self, name: str | None) -> Remote:
        """As a party, or as nobody."""
        if name is None:
            return Remote(self.url, self.authority.file)
        if self.how == CERTIFICATES:
            return Remote(self.url, self.authority.file, credentials=Credentials(self.file(name)))
        token = self.file(name).read_text().strip()
        return Remote(self.url, self.authority.file, credentials=Credentials(token=token))

    def seen_by(self, name: str | None, kept: Path) -> PublicSite:
        kept.mkdir(exist_ok=True)
        return PublicSite(self.remote(name), kept)


def command(*arguments: object) -> str:
    """What a command of `verifl exchange` prints."""
    done = CliRunner().invoke(exchange, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def prepare(configuration: str, public: Path, coordinator: tuple[int, int] = (0, 0)) -> None:
    """What the configuration says that root does once, for a coordinator that is this user and group; who is not root
    has no other users to think of."""
    if os.geteuid() != 0:
        (public / "exchange/.incoming").mkdir(parents=True)
        return
    lines = [line.removeprefix("#").strip() for line in configuration.splitlines() if line.startswith("#   install")]
    assert len(lines) == 3
    user, group = map(str, coordinator)
    for line in lines:
        typed = line.replace("-o COORDINATOR", f"-o {user}").replace("$(id -gn COORDINATOR)", group)
        subprocess.run(["/bin/sh", "-c", typed.replace("-g COORDINATOR", f"-g {group}")], check=True)


def printed(
    folder: Path, how: str, authority: Authority, policy: Path, public: Path, parties: Sequence[str]
) -> tuple[int, str]:
    """A port, and the configuration that is printed for it."""
    port = free_port()
    if how == TOKENS:
        lines = [command("token", name, folder / f"{name}.token") for name in parties]
        (folder / "tokens").write_text("".join(lines))
        shown: list[object] = ["--tokens", folder / "tokens"]
    else:
        for name in parties:
            authority.issue(name)
        shown = ["--client-ca", authority.file]
    server = authority.issue("")
    options = ["--policy", policy, "--public", public, "--server-name", HOST, "--listen", f"{HOST}:{port}"]
    own = ["--certificate", server, "--certificate-key", server, "--coordinator", "COORDINATOR", "--user", USER]
    return port, command("nginx", *options, *own, *shown)


@contextmanager
def published(
    folder: Path,
    how: str,
    policy: Path,
    public: Path,
    parties: Sequence[str] = (*CLIENTS, *TRUSTEES),
    coordinator: tuple[int, int] = (0, 0),
    **changes: str,
) -> Iterator[Website]:
    """A website for the block. coordinator: as which user and group that runs. changes: other values of directives than
    those that are printed."""
    assert program("nginx")
    folder.mkdir()
    authority = Authority(folder)
    port, configuration = printed(folder, how, authority, policy, public, parties)
    prepare(configuration, public, coordinator)
    for name, value in changes.items():
        assert name in configuration
        configuration = _changed(configuration, name, value)
    with nginx(folder / "nginx", port, configuration, USER) as server:
        yield Website(folder, public, how, authority, server)


def _changed(configuration: str, directive: str, value: str) -> str:
    """With another value wherever a directive stands."""
    lines = configuration.splitlines()
    return "\n".join(f"{directive} {value};" if line.strip().startswith(f"{directive} ") else line for line in lines)
