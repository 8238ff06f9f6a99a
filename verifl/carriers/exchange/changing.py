"""Rotations and revocations on their way into the log of a coordinator that runs: files in its own `changes/`.

Whoever runs the coordinator puts them there, at its start or later; it logs each as soon as the rules take it, between
two rounds. A file may go once its entry is in the log, and does no harm if it stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected, VeriflError
from protocols.blobs import blob_hash
from protocols.envelopes import open_envelope
from protocols.membership import Membership, changed_by
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import Ledger
from protocols.rounds.phases import Phase, phase_of
from verifl.enrolment.changes import membership_of, read_change
from verifl.storage.stores import make_private_directory, write_private

_LOGGER = logging.getLogger(__name__)
_SUFFIX = ".cbor"


class ChangesFolder:
    """Those that wait, and those that were logged from here. logged: whether the log has these bytes as an entry."""

    def __init__(self, path: Path, pinned: PinnedPolicy, logged: Callable[[bytes], bool]) -> None:
        self._path, self._pinned, self._logged = path, pinned, logged
        self._complaints: set[str] = set()

    def due(self, ledger: Ledger) -> list[bytes]:
        """What may be logged now, in this order, by what the log says. What is refused is logged, once for each reason,
        and tried again: after the next round its time may have come."""
        if phase_of(ledger) is not Phase.BETWEEN:
            return []
        found, refused = admissible(self._pinned, ledger.membership, self._waiting(), ledger.size, ledger.ended)
        for entry, error in refused.items():
            self._complain(f"{blob_hash(entry).hex()}{_SUFFIX}", error)
        return found

    def _waiting(self) -> list[bytes]:
        found = []
        for path in waiting_files(self._path):
            try:
                entry = read_change(path)
            except Misuse as error:
                self._complain(path.name, error)
            else:
                found += [] if self._logged(entry) else [entry]
        return found

    def _complain(self, name: str, error: VeriflError) -> None:
        said = f"the change {name} is not logged: {error}"
        if said not in self._complaints:
            self._complaints.add(said)
            _LOGGER.warning("%s", said, extra={"fields": {"event": "change-refused", "file": name}})


def waiting_files(folder: Path) -> list[Path]:
    """The files of a folder of changes, without unfinished ones; none where there is no such folder."""
    return sorted(path for path in folder.glob(f"*{_SUFFIX}") if not path.name.startswith("."))


def put_changes(folder: Path, pinned: PinnedPolicy, logged: Sequence[bytes], entries: Iterable[bytes]) -> None:
    """Put changes into a coordinator's folder, behind those that are there.

    logged: the changes in its log so far. Raises Misuse for one that the log will not take behind all of them, and has
    then put none there.
    """
    new, waiting = list(entries), [read_change(path) for path in waiting_files(folder)]
    coming = [each for each in dict.fromkeys((*waiting, *new)) if each not in logged]
    _, refused = admissible(pinned, membership_of(pinned, logged), coming)
    for entry in new:
        if entry in refused:
            raise Misuse(f"change: {refused[entry]}")
    make_private_directory(folder)
    for entry in new:
        write_private(folder / f"{blob_hash(entry).hex()}{_SUFFIX}", entry)


def admissible(
    pinned: PinnedPolicy, members: Membership, entries: Sequence[bytes], size: int = 0, since: int | None = None
) -> tuple[list[bytes], dict[bytes, Malformed | Rejected]]:
    """Which of some changes may be logged, in the order that takes most of them, and why the others may not.

    members: as of a log of `size` entries; since: its size when the last round ended, None for who does not judge the
    pace.
    """
    found, left, refused = list[bytes](), list(entries), dict[bytes, Malformed | Rejected]()
    while left:
        refused = {}
        for entry in left:
            try:
                members = changed_by(pinned, members, size + len(found), entry, open_envelope(entry), since)
            except (Malformed, Rejected) as error:
                refused[entry] = error
            else:
                found.append(entry)
        if len(refused) == len(left):
            break
        left = list(refused)
    return found, refused
