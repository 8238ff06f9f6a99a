"""The network between a party and the public directory: requests that fail, take their time, arrive twice, or are
answered by a cache.

A party sees the directory through its own `Link`. Whoever serves it is a web server on the coordinator's machine: it is
there whenever that machine has power, whether the coordinator's process runs or not. What is PUT there gets a
temporary name, is renamed when all of it has arrived, and is not synced, as nginx does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from protocols.blobs import blob_hash
from protocols.log.connection import Unreachable
from protocols.log.files import Damaged, LocalDirectory
from tests.network.disks import Machine
from tests.network.scenario import CHANGED, IGNORED, OLD, PERFECT, WITHHELD
from tests.network.scheduler import Scheduler
from verifl.carriers.exchange.public import INBOX, PROPOSAL

CHECKPOINT = "transcript/checkpoint"
KEPT_BY_CACHES = 300.0  # seconds for which a cache may give an old version of a file that changes


@dataclass
class WebServer:
    """Serves the public directory of a machine. heard: told of what a party sends, before anything can happen to it.
    versions: what the files that change were, each with since when. arrived: every file that got its name in an inbox,
    and was not lost with the machine's power."""

    machine: Machine
    scheduler: Scheduler
    heard: Callable[[str, bytes], None]
    versions: dict[str, list[tuple[float, bytes | None]]] = field(default_factory=dict)
    arrived: dict[Path, bytes] = field(default_factory=dict)

    @property
    def public(self) -> Path:
        return self.machine.root / "public"

    def changed(self, path: Path) -> None:
        """A file of the machine was replaced or removed."""
        name = str(path.relative_to(self.public)) if path.is_relative_to(self.public) else ""
        if name in (PROPOSAL, CHECKPOINT):
            data = path.read_bytes() if path.exists() else None
            self.versions.setdefault(name, []).append((self.scheduler.now, data))

    def restarted(self) -> None:
        """The machine lost power, and some of what it served."""
        for name in (PROPOSAL, CHECKPOINT):
            self.changed(self.public / name)
        self.arrived = {path: data for path, data in self.arrived.items() if path.exists()}

    def older(self, name: str, rng: Random) -> bytes | None:
        """A version of a file that a cache may still have."""
        versions = self.versions.get(name, [])
        since = [*(when for when, _ in versions[1:]), self.scheduler.now]  # when each was replaced
        recent = [data for (_, data), until in zip(versions, since, strict=False)
                  if self.scheduler.now - until <= KEPT_BY_CACHES]  # fmt: skip
        return rng.choice(recent) if recent else None

    def at(self, name: str, moment: float) -> bytes | None:
        """The version of a file that changes, as it was then."""
        versions = [data for since, data in self.versions.get(name, []) if since <= moment]
        return versions[-1] if versions else None

    def put(self, party: str, data: bytes, in_parts: float) -> None:
        """Store what was sent; with the last part so many seconds later."""
        folder, name = self.public / INBOX / party, blob_hash(data).hex()
        if not self.machine.up or self.machine.full or not folder.is_dir():
            raise Unreachable(party, "the server did not take it")
        if (folder / name).exists():
            return
        unfinished = folder / f".{name}.part"
        if in_parts:
            unfinished.write_bytes(data[: len(data) // 2])
        finish = _Finish(self, folder, unfinished, name, data)
        if in_parts:
            self.scheduler.after(in_parts, finish)
        else:
            finish()


@dataclass(frozen=True)
class _Finish:
    """The last part arrives."""

    server: WebServer
    folder: Path
    unfinished: Path
    name: str
    data: bytes

    def __call__(self) -> None:
        machine, path = self.server.machine, self.folder / self.name
        if machine.up and not machine.full and self.folder.is_dir():
            self.unfinished.write_bytes(self.data)
            self.unfinished.replace(path)
            self.server.arrived[path] = self.data


class Link:
    """One party's way to the web server. `quality` and `cut` change as the history says."""

    def __init__(self, server: WebServer, rng: Random, pass_time: Callable[[float], None]) -> None:
        """pass_time: lets others go on for so many seconds, and raises where this party dies meanwhile."""
        self.server, self._rng, self._pass_time = server, rng, pass_time
        self.quality, self.cut = PERFECT, False
        self.shown: dict[str, float] = {}  # lies of the server, each since when

    def request(self) -> None:
        """One request on its way to the server."""
        if self._happens(self.quality.slow and 0.5):
            self._pass_time(self._rng.uniform(0.0, self.quality.slow))
        if self.cut or not self.server.machine.up or self._happens(self.quality.lost):
            raise Unreachable("", "no answer")

    def answered(self) -> None:
        """The answer on its way back."""
        if self._happens(self.quality.unanswered):
            raise Unreachable("", "the connection broke")

    def cached(self, name: str) -> tuple[bool, bytes | None]:
        """Whether a cache answers for a file, and what."""
        if name not in (PROPOSAL, CHECKPOINT) or not self._happens(self.quality.cached):
            return False, None
        return True, self.server.older(name, self._rng)

    def send(self, party: str, data: bytes) -> None:
        """PUT an answer into a party's inbox."""
        self.server.heard(party, data)
        self.request()
        if IGNORED in self.shown:
            return
        parts = self._rng.uniform(1.0, 30.0) if self._happens(self.quality.in_parts) else 0.0
        self.server.put(party, data, parts)
        if self._happens(self.quality.again):
            self.server.scheduler.after(self._rng.uniform(0.0, 200.0), lambda: self._again(party, data))
        self.answered()

    def _again(self, party: str, data: bytes) -> None:
        with suppress(Unreachable):
            self.server.put(party, data, 0.0)

    def told(self, name: str, data: bytes) -> bytes:
        """What a server that lies gives out in the place of a file's contents; raises Damaged where it keeps it
        back."""
        if WITHHELD in self.shown and name not in (PROPOSAL, CHECKPOINT):
            raise Damaged("file-missing", name, "no such file")
        if OLD in self.shown and name in (PROPOSAL, CHECKPOINT):
            then = self.server.at(name, self.shown[OLD])
            if then is None:
                raise Damaged("file-missing", name, "no such file")
            return then
        if CHANGED in self.shown and data:
            place = self._rng.randrange(len(data))
            return data[:place] + bytes([data[place] ^ (1 << self._rng.randrange(8))]) + data[place + 1 :]
        return data

    def calm(self) -> None:
        """Nothing goes wrong any more; what is on its way still arrives."""
        self.shown = {}
        self.quality, self.cut = replace(PERFECT, slow=min(1.0, self.quality.slow)), False

    def _happens(self, probability: float) -> bool:
        return probability > 0.0 and self._rng.random() < probability


class WebFiles(LocalDirectory):
    """Files that a web server gives out: where their directory is missing, so are they."""

    def read(self, path: str, limit: int) -> bytes:
        try:
            return super().read(path, limit)
        except FileNotFoundError:
            raise Damaged("file-missing", path, "no such file") from None


class LinkedConnection:
    """In the place of a `protocols.log.connection.Connection`: requests go over a link."""

    def __init__(self, link: Link) -> None:
        self._link = link

    @property
    def _files(self) -> WebFiles:
        return WebFiles(self._link.server.public)

    def asks(self, url: str) -> bool:
        """See `Connection.asks`."""
        self._link.request()
        found = self._files.has(_path(url))
        self._link.answered()
        return found

    def stream(self, url: str, path: str, limit: int) -> Iterator[bytes]:
        """See `Connection.stream`."""
        yield self._read(_path(url), path, limit)

    def fetch(self, url: str, path: str, limit: int, tag: str) -> tuple[bytes, str] | None:
        """See `Connection.fetch`."""
        data = self._read(_path(url), path, limit)
        found = blob_hash(data).hex()
        return None if tag == found else (data, found)

    def put(self, url: str, data: bytes, name: str) -> None:
        """See `Connection.put`."""
        self._link.send(name, data)

    def _read(self, name: str, path: str, limit: int) -> bytes:
        self._link.request()
        old, known = self._link.cached(name)
        if old and known is None:
            raise Damaged("file-missing", path, "no such file")
        data = known if old and known is not None else self._files.read(name, limit)
        self._link.answered()
        return self._link.told(name, data)


def _path(url: str) -> str:
    """What is asked for: of https://PARTY/PATH, the path."""
    return url.split("/", 3)[3]
