"""The exchange as a web server publishes it: reading by GET, an answer by PUT, and nothing else that is listened to."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

from protocols.blobs import blob_hash
from protocols.log.connection import Connection, Remote
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.log.remote import FollowedDirectory
from protocols.rounds.proposals import PROPOSAL_LIMIT
from verifl.carriers.exchange.public import BUNDLES, INBOX, MISSING, PROPOSAL, TRANSCRIPT, opened

TRUSTED = 60.0  # seconds, for which a server may say that the proposal is the same as before
_FORGOTTEN = 600.0  # seconds, at least, between two times at which everything is fetched anew


@dataclass(frozen=True)
class _Proposed:
    """A proposal, the server's tag of it, and when it was read."""

    data: bytes
    tag: str
    read: float


class PublicSite:
    """An exchange below an address, for one party, in one thread. kept: a directory of this party's own for what it
    would else fetch again and again; it may be lost."""

    def __init__(self, remote: Remote, kept: Path) -> None:
        self._root, self._connection = remote.url.rstrip("/"), Connection(remote)
        self._log = FollowedDirectory(remote.below(TRANSCRIPT), kept)
        self._proposed: _Proposed | None = None
        self._forgotten = -math.inf

    def reader(self) -> TranscriptReader | None:
        """See `PublicView`."""
        return opened(TranscriptReader(self._log))

    def policy(self) -> bytes:
        """See `PublicView`."""
        return TranscriptReader(self._log).policy()

    def blob(self, name: bytes, limit: int) -> bytes:
        """See `PublicView`."""
        return TranscriptReader(self._log).blob(name, limit)

    def proposal(self) -> bytes | None:
        """See `PublicView`. A server that has the same one as before says so in a few bytes."""
        known, now = self._proposed, time.monotonic()
        tag = known.tag if known is not None and now - known.read < TRUSTED else ""
        try:
            found = self._connection.fetch(f"{self._root}/{PROPOSAL}", PROPOSAL, PROPOSAL_LIMIT, tag)
        except Damaged as error:
            self._proposed = None
            if error.check == MISSING:
                return None
            raise
        if found is not None:
            self._proposed = _Proposed(*found, now)
        return None if self._proposed is None else self._proposed.data

    def bundle(self, name: bytes, limit: int) -> bytes:
        """See `PublicView`."""
        path = f"{BUNDLES}/{name.hex()}"
        return b"".join(self._connection.stream(f"{self._root}/{path}", path, limit))

    def put(self, party: str, answer: bytes) -> None:
        """See `PublicView`. Raises Unreachable where the server does not take it, saying why."""
        self._connection.put(f"{self._root}/{INBOX}/{party}/{blob_hash(answer).hex()}", answer, party)

    def distrust(self) -> None:
        """See `PublicView`; but not so often that a party who is lied to fetches a whole log at every look."""
        self._proposed = None
        if time.monotonic() - self._forgotten >= _FORGOTTEN:
            self._log.forget()
            self._forgotten = time.monotonic()
