"""The directory in which parties meet: everybody reads it, and each party may put files into its own inbox.

    transcript/                      the log, as it is published
    exchange/proposal                what is asked of whom now (spec 8.13)
    exchange/bundles/<sha-256>       entries that are asked about and not published yet
    exchange/inbox/<party>/<sha-256> answers, until the coordinator has taken them

A web server gives out all but the inbox by GET, and lets each party PUT into its own; who has the same disk needs none.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol

from protocols.blobs import blob_hash
from protocols.log.files import Damaged, LocalDirectory
from protocols.log.reader import TranscriptReader
from protocols.rounds.proposals import PROPOSAL_LIMIT
from verifl.storage.private_files import replace_in
from verifl.storage.stores import make_directory, replacing

PROPOSAL, BUNDLES, INBOX = "exchange/proposal", "exchange/bundles", "exchange/inbox"
TRANSCRIPT = "transcript"
REHEARSAL, REHEARSED_ROUND = "rehearsal", "rehearsal/round"  # directories of the same kind, for practice (spec 8.14)
MISSING = "file-missing"
_UNFINISHED = ".tmp"


class PublicView(Protocol):
    """Where a trustee or client meets the coordinator: files that it reads, and an inbox that it writes. Whoever asks
    for something checks it. Every method raises OSError for what says nothing about the files, Unreachable for one."""

    def reader(self) -> TranscriptReader | None:
        """Of the log's latest checkpoint; None before the first."""
        ...

    def policy(self) -> bytes:
        """The policy beside the log, which pins nothing. Raises Damaged("file-...")."""
        ...

    def blob(self, name: bytes, limit: int) -> bytes:
        """A blob of the log, at most `limit` bytes. Raises Damaged("blob-...")."""
        ...

    def proposal(self) -> bytes | None:
        """What is asked now, not decoded; None for nothing. Raises Damaged("file-...")."""
        ...

    def bundle(self, name: bytes, limit: int) -> bytes:
        """A file that a proposal names, at most `limit` bytes. Raises Damaged("file-...")."""
        ...

    def put(self, party: str, answer: bytes) -> None:
        """Put an answer into a party's inbox, whole; once more changes nothing."""
        ...

    def distrust(self) -> None:
        """What was read does not fit together: nothing that is kept of it is used again."""
        ...


def opened(reader: TranscriptReader) -> TranscriptReader | None:
    """A reader that has its checkpoint; None where there is none."""
    try:
        reader.latest()
    except FileNotFoundError:
        return None
    except Damaged as error:
        if error.check == MISSING:
            return None
        raise
    return reader


class Glance:
    """The log at one look of a party: its checkpoint is read when it is first asked for, and not again."""

    def __init__(self, public: PublicView) -> None:
        self.public = public

    @cached_property
    def reader(self) -> TranscriptReader | None:
        """As `PublicView.reader`, and raises as that."""
        return self.public.reader()


class Noticeboard(Protocol):
    """Where a coordinator's host says what is asked; see `PublicDirectory`."""

    def create(self) -> None:
        """Make it ready."""
        ...

    def propose(self, proposal: bytes, bundles: dict[bytes, bytes]) -> None:
        """Publish a proposal in the place of the one before, and the files that it names."""
        ...

    def withdraw(self) -> None:
        """Nobody is asked anything any more."""
        ...


class PublicDirectory:
    """It on a disk of this machine, for the coordinator and for parties that share the disk: a `PublicView`, and a
    `Noticeboard`."""

    def __init__(self, path: Path) -> None:
        self.path, self._files = path, LocalDirectory(path)
        self._dated = 0  # POSIX seconds, of the last proposal

    @property
    def transcript(self) -> Path:
        """Where the log is published."""
        return self.path / TRANSCRIPT

    def reader(self) -> TranscriptReader | None:
        """See `PublicView`."""
        return opened(TranscriptReader(self.transcript))

    def policy(self) -> bytes:
        """See `PublicView`."""
        return TranscriptReader(self.transcript).policy()

    def blob(self, name: bytes, limit: int) -> bytes:
        """See `PublicView`."""
        return TranscriptReader(self.transcript).blob(name, limit)

    def proposal(self) -> bytes | None:
        """See `PublicView`."""
        try:
            return self._files.read(PROPOSAL, PROPOSAL_LIMIT)
        except Damaged as error:
            if error.check == MISSING:
                return None
            raise

    def bundle(self, name: bytes, limit: int) -> bytes:
        """See `PublicView`."""
        return self._files.read(f"{BUNDLES}/{name.hex()}", limit)

    def distrust(self) -> None:
        """Nothing is kept."""

    def put(self, party: str, answer: bytes) -> None:
        """See `PublicView`; it is durable then. No link is followed:
        whoever owns the inbox has nothing written elsewhere. Raises OSError, and Damaged("file-missing", "file-kind")
        where there is no inbox."""
        with self._files.folder(f"{INBOX}/{party}") as folder:
            replace_in(folder, self.path / INBOX / party / blob_hash(answer).hex(), answer, _UNFINISHED, 0o644)

    # ---- the coordinator's side ----

    def create(self) -> None:
        """Make the directories that are missing, but the inboxes: see `Inbox`."""
        for path in (self.path, self.path / BUNDLES, self.path / INBOX):
            make_directory(path)

    def propose(self, proposal: bytes, bundles: dict[bytes, bytes]) -> None:
        """Publish a proposal: first the files that it names; those of others are removed after it."""
        folder, names = self.path / BUNDLES, {name.hex() for name in bundles}
        for name, data in bundles.items():
            if not (folder / name.hex()).is_file():
                with replacing(folder / name.hex()) as temporary:
                    temporary.write_bytes(data)
        with replacing(self.path / PROPOSAL) as temporary:
            temporary.write_bytes(proposal)
            self._date(temporary)
        for path in folder.iterdir():
            if path.name not in names:
                path.unlink()

    def _date(self, proposal: Path) -> None:
        """Give each proposal a later second than the one before: some web servers tell two files of the same size from
        each other by nothing else, in what they give as their tag (nginx's `etag`)."""
        second = max(int(time.time()), self._dated + 1)
        with suppress(FileNotFoundError):
            second = max(second, int((self.path / PROPOSAL).stat().st_mtime) + 1)
        os.utime(proposal, (second, second))
        self._dated = second

    def withdraw(self) -> None:
        """Nobody is asked anything any more."""
        (self.path / PROPOSAL).unlink(missing_ok=True)
