"""What parties have put into their inboxes: read with limits, refused by name, removed once the log has it for good."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.log.files import Damaged, LocalDirectory
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import Received, answer_limit, decode_answer
from verifl.carriers.exchange.public import INBOX
from verifl.storage.stores import make_directory

_LOGGER = logging.getLogger(__name__)
_NAME = re.compile("[0-9a-f]{64}")
_AT_ONCE = 64  # files of one party that are looked at together
KEPT_LIMIT = 8  # files of one party that came too early and wait
REFUSALS_LIMIT = 1 << 20  # bytes of the file of refusals, before the older half is dropped


@dataclass(frozen=True)
class Letter:
    """A file in the inbox of `party`."""

    party: str
    name: str


class Letterbox(Protocol):
    """What parties have sent, as a host knows it; see `Inbox`, which has it on a disk."""

    def create(self) -> None:
        """Make it ready for parties to send something."""
        ...

    def letters(self) -> Iterator[Letter]:
        """What was neither taken nor kept: some of each party."""
        ...

    def read(self, letter: Letter) -> Received:
        """What it says, within the party's limits; its signature is not checked. Raises Malformed or Rejected."""
        ...

    def take(self, letter: Letter) -> None:
        """It was taken, and has to be there after a kill until `settle`."""
        ...

    def keep(self, letter: Letter) -> None:
        """It came too early: it is given again after `reconsider`. Raises Rejected("inbox-full") for too many."""
        ...

    def refuse(self, letter: Letter, error: Malformed | Rejected) -> None:
        """Note why, and remove it."""
        ...

    def reconsider(self) -> None:
        """What came too early may be in time now."""
        ...

    def settle(self) -> None:
        """All that was taken is durable elsewhere."""
        ...


class Refusals:
    """A file of what was refused: one JSON object a line, the newest of at most twice REFUSALS_LIMIT bytes."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        """now: POSIX seconds."""
        self._path, self._now = path, now

    def add(self, letter: Letter, check: str, detail: str) -> None:
        """Note a refusal, and log it."""
        fields = {"event": "refused", "party": letter.party, "file": letter.name, "check": check}
        _LOGGER.warning("refused what %s sent: %s", letter.party, detail, extra={"fields": fields})
        line = json.dumps({"time": int(self._now()), **fields, "detail": detail[:500]})
        with suppress(FileNotFoundError):
            if self._path.stat().st_size + len(line) > REFUSALS_LIMIT:
                self._path.replace(self._path.with_name(self._path.name + ".1"))
        opener = partial(os.open, mode=0o600)
        with open(self._path, "a", encoding="utf-8", opener=opener) as stream:
            stream.write(line + "\n")


class Inbox:
    """The inboxes of all parties of a policy; nobody else's is looked at."""

    def __init__(self, public: Path, pinned: PinnedPolicy, refusals: Refusals) -> None:
        self._root, self._files, self._refusals = public / INBOX, LocalDirectory(public), refusals
        parties = (*pinned.policy.trustees, *pinned.policy.roster)
        self._limits = {member.id: answer_limit(pinned, member.id) for member in parties}
        self._taken: set[Letter] = set()
        self._kept: set[Letter] = set()
        self._waiting = Counter[str]()  # how many are kept of each party
        self._stuck: set[Letter] = set()  # refused, and not to be removed: a directory

    def create(self) -> None:
        """Make the directories that are missing, with the rights of the one that holds them: whoever lets a web server
        write there says so in one place."""
        make_directory(self._root)
        rights = stat.S_IMODE(self._root.stat().st_mode)
        for party in self._limits:
            is_new = not os.path.lexists(self._root / party)
            make_directory(self._root / party)
            if is_new:
                with self._files.folder(f"{INBOX}/{party}") as folder:
                    os.fchmod(folder, rights)

    def letters(self) -> Iterator[Letter]:
        """Files that were neither taken nor kept, some of each party. Unfinished ones, with a dot first, are passed
        over. An inbox that is no directory any more, or cannot be read, is refused once, and is empty."""
        for party in self._limits:
            for name in self._names(party):
                letter = Letter(party, name)
                known = letter in self._taken or letter in self._kept or letter in self._stuck
                if not name.startswith(".") and not known:
                    yield letter

    def read(self, letter: Letter) -> Received:
        """What a file says; its signature is not checked.

        Raises Malformed for what is no answer; Rejected("oversized") without reading it, ("file-kind"), ("unreadable"),
        ("name") where it has another hash than name, ("foreign") where another party is said to have signed it.
        """
        limit = self._limits[letter.party]
        received = decode_answer(self.contents(letter, limit), limit)
        if received.party != letter.party:
            raise Rejected("foreign", f"an answer of {letter.party}", f"one of {received.party}")
        return received

    def contents(self, letter: Letter, limit: int) -> bytes:
        """The bytes of a file, at most `limit`, by its own name. Raises Rejected as `read`, but for "foreign"."""
        if _NAME.fullmatch(letter.name) is None:
            raise Rejected("name", "64 hexadecimal digits, the file's SHA-256", ascii(letter.name)[:100])
        try:
            data = self._files.read(f"{INBOX}/{letter.party}/{letter.name}", limit)
        except Damaged as error:
            raise Rejected(error.check.replace("file-size", "oversized"), error.expected, error.found) from None
        except PermissionError:
            expected = "a file that the coordinator may read: see `verifl exchange nginx`"
            raise Rejected("unreadable", expected, self._rights(letter)) from None
        if blob_hash(data).hex() != letter.name:
            raise Rejected("name", letter.name, blob_hash(data).hex())
        return data

    def take(self, letter: Letter) -> None:
        """Its answer was taken, and is not durable yet: the file stays, and is read again after a kill."""
        self._taken.add(letter)

    def keep(self, letter: Letter) -> None:
        """It came too early: it is given again after `reconsider`. Raises Rejected("inbox-full") for too many."""
        if self._waiting[letter.party] >= KEPT_LIMIT:
            raise Rejected("inbox-full", f"at most {KEPT_LIMIT} answers that wait", "more")
        self._waiting[letter.party] += 1
        self._kept.add(letter)

    def refuse(self, letter: Letter, error: Malformed | Rejected) -> None:
        """Note why, and remove the file."""
        self._note(letter, error)
        self._remove(letter)

    def reconsider(self) -> None:
        """What came too early may be in time now."""
        self._kept.clear()
        self._waiting.clear()

    def settle(self) -> None:
        """All that was taken is durable: its files go."""
        for letter in self._taken:
            self._remove(letter)
        self._taken.clear()

    def _rights(self, letter: Letter) -> str:
        status = (self._root / letter.party / letter.name).lstat()
        return f"mode {stat.S_IMODE(status.st_mode):03o} of user {status.st_uid} and group {status.st_gid}"

    def _names(self, party: str) -> list[str]:
        whole = Letter(party, "")
        try:
            with self._files.folder(f"{INBOX}/{party}") as folder, os.scandir(folder) as found:
                names = sorted(each.name for each in islice(found, _AT_ONCE + 2 * KEPT_LIMIT))
        except Rejected as error:
            self._complain(whole, error)
        except PermissionError:
            self._complain(
                whole, Rejected("unreadable", "an inbox that the coordinator may read", "one that it may not")
            )
        else:
            self._stuck.discard(whole)
            return names
        return []

    def _complain(self, whole: Letter, error: Rejected) -> None:
        """Of a whole inbox, once."""
        if whole not in self._stuck:
            self._stuck.add(whole)
            self._note(whole, error)

    def _note(self, letter: Letter, error: Malformed | Rejected) -> None:
        check = error.check if isinstance(error, Rejected) else "malformed"
        self._refusals.add(letter, check, str(error))

    def _remove(self, letter: Letter) -> None:
        """In the very directory of the public one: whoever puts a link in the place of an inbox has nothing removed
        elsewhere."""
        try:
            with self._files.folder(f"{INBOX}/{letter.party}") as folder:
                os.unlink(letter.name, dir_fd=folder)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError, Rejected):
            self._stuck.add(letter)
