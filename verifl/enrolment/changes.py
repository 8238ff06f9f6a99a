"""Changes of who may act: the signed entries that rotate a key or revoke a party, as files and in a run's log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.encoding import ENTRY_LIMIT
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.membership import ENROLLED, Membership, changed_by
from protocols.messages import KeyRotation, Revocation, RoundAborted, RoundClosed
from protocols.pinned import PinnedPolicy
from protocols.rounds.record import pending_entries
from verifl.storage.run_directory import RunDirectory
from verifl.storage.stores import StoredValues


@dataclass(frozen=True)
class LoggedChanges:
    """Those that a log has, in order; the first `settled` of them are older than the end of its last round."""

    entries: tuple[bytes, ...] = ()
    settled: int = 0


NONE_LOGGED = LoggedChanges()


def read_change(path: Path) -> bytes:
    """The entry in a file that `verifl roster rotate` or `verifl roster revoke` wrote; raises Misuse for another."""
    with path.open("rb") as file:
        data = file.read(ENTRY_LIMIT + 1)
    try:
        found = open_envelope(data)
    except Malformed as error:
        raise Misuse(f"{path}: expected a rotation or revocation: {error}") from None
    if not isinstance(found.message, KeyRotation | Revocation):
        raise Misuse(f"{path}: expected a rotation or revocation, found a {found.type} entry")
    return data


def log_in(path: Path) -> Path | None:
    """The log in the directory of a transcript, or of a run; None where there is none."""
    return next((each for each in (path, path / "transcript") if (each / "checkpoint").is_file()), None)


def published_changes(path: Path) -> LoggedChanges:
    """Those in the log of a transcript or a run, as it stands; none where there is no log."""
    return _changes_in(_entries(path))


def logged_changes(directory: RunDirectory) -> LoggedChanges:
    """Those in a run's log, with those that its trustees may have seen already."""
    pending = pending_entries(StoredValues(directory.coordinator.store))
    return _changes_in(dict.fromkeys((*_entries(directory.transcript), *pending)))


def _entries(path: Path) -> Sequence[bytes]:
    log = log_in(path)
    if log is None:
        return ()
    reader = TranscriptReader(log)
    return reader.entries(0, reader.size)


def _changes_in(entries: Iterable[bytes]) -> LoggedChanges:
    found: list[bytes] = []
    settled = 0
    for entry in entries:
        message = open_envelope(entry).message
        if isinstance(message, KeyRotation | Revocation):
            found.append(entry)
        elif isinstance(message, RoundClosed | RoundAborted):
            settled = len(found)
    return LoggedChanges(tuple(found), settled)


def follow_changes(
    pinned: PinnedPolicy, members: Membership, changes: Iterable[bytes], since: int | None = None
) -> Membership:
    """The membership after further changes; raises Misuse for one that the log will not take.

    since: how many changes there were when the last round ended, None for who does not judge the pace.
    """
    for data in changes:
        try:
            members = changed_by(pinned, members, members.count, data, open_envelope(data), since)
        except (Malformed, Rejected) as error:
            raise Misuse(f"change: {error}") from None
    return members


def keys_of(party: str, enrolled: bytes, changes: Iterable[bytes]) -> Iterator[bytes]:
    """The public keys that a party has had and will have, oldest first."""
    yield enrolled
    for data in changes:
        message = open_envelope(data).message
        if isinstance(message, KeyRotation) and message.party == party:
            yield message.public_key


def membership_of(pinned: PinnedPolicy, logged: Iterable[bytes]) -> Membership:
    """As of a run's log."""
    return follow_changes(pinned, ENROLLED, logged)
