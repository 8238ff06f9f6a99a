"""What a resumption is about to read, read once before it changes anything: a damaged run stays as it was found.

Every error names the file, what was expected of it, what was found, and what to do. Of rounds that have ended only the
last one's blobs are read, as trustees replay its step. Nothing needs the others; an audit finds what is wrong there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.blobs import BLOB_LIMIT
from protocols.envelopes import entry_blobs, open_envelope
from protocols.holdings import Holdings
from protocols.key_files import read_key
from protocols.log.checkpoint import check_note, parse_note
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import CHECKPOINT, POLICY, blob_path, note_path
from protocols.messages import Revocation, RoundClosed, RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from protocols.rounds import client_holdings, record, trustee_holdings
from protocols.rounds.follower import Follower
from protocols.rounds.lineage import step_blobs
from protocols.rounds.record import PENDING, Pending
from verifl.agents.party import check_store
from verifl.storage.history import EndedRound, ended_rounds
from verifl.storage.party_directory import IDENTITY_FILE
from verifl.storage.run_directory import RunDirectory
from verifl.storage.stores import StoredValues
from verifl.training import own_tensors

_PUT_BACK = "put the file back from a copy of the transcript, then resume"
_FORGOTTEN = (
    "this state is older than what its party said, and could say something else; never put back an old copy of a "
    "state: put back the newest, or start a new federation"
)


def inspect_run(directory: RunDirectory, changes: Sequence[bytes] = ()) -> None:
    """Read what a resumption in `directory` rests on; `check_kinds` comes before it.

    changes: those that it will log. Nothing is asked of the state of a party that was revoked, or is about to be.

    Raises Misuse for the run's own files and the parties' state, Malformed or Rejected for policy and transcript, each
    with the path in it; OSError as the system does.
    """
    pinned = _policy(directory)
    for store, holdings in _stores(directory):
        check_store(store, holdings)
    pending = PENDING.get(StoredValues(directory.coordinator.store))
    log = _Log(directory.transcript, pinned)
    published = log.read(0 if pending is None else pending.start)
    entries = [*published, *_unpublished(directory, pending, len(published))]
    gone = _revoked((*entries, *changes))
    _check_identities(directory, pinned.policy, gone)
    ended = ended_rounds(pinned, entries)
    follower = Follower.start().extended(pinned, entries)
    _check_said(directory, follower, ended, log, gone)
    _check_coordinator(directory, pinned, follower)
    log.check_blobs(entries, follower)


def check_kinds(directory: RunDirectory) -> None:
    """Raises Misuse where something else has taken the place of a file, or of a directory."""
    lock = directory.transcript.with_name(directory.transcript.name + ".lock")
    for path in (directory.policy, directory.metrics, directory.model, directory.state / "lock", lock):
        if path.exists() and not path.is_file():
            raise Misuse(f"{path}: expected a file, found a directory or another kind; move it away, then resume")
    for path in (directory.transcript, directory.state, directory.adapter, *(store for store, _ in _stores(directory))):
        if path.exists() and not path.is_dir():
            raise Misuse(f"{path}: expected a directory, found a file; put back what was there, then resume")


def _policy(directory: RunDirectory) -> PinnedPolicy:
    try:
        return PinnedPolicy.open(directory.policy.read_bytes())
    except (Malformed, Rejected) as error:
        advice = f"{directory.transcript / POLICY} is a copy: put it back, then resume"
        raise _again(error, f"{directory.policy}: ", advice) from None


def _revoked(entries: Iterable[bytes]) -> frozenset[str]:
    """Whom these entries take out of the membership."""
    messages = map(_message, entries)
    return frozenset(message.party for message in messages if isinstance(message, Revocation))


def _check_identities(directory: RunDirectory, policy: Policy, gone: frozenset[str]) -> None:
    """The keys that the run made for itself are those of its policy; of none that were given to it."""
    if not any(directory.state.rglob(IDENTITY_FILE)):
        return
    parties = {directory.coordinator: policy.log_key}
    parties |= {directory.trustee(each.id): each.public_key for each in policy.trustees if each.id not in gone}
    parties |= {directory.client(each.id): each.public_key for each in policy.roster if each.id not in gone}
    if directory.issuer.identity.exists():  # signs nothing more, and may be taken away
        parties[directory.issuer] = policy.issuer_key
    for party, public_key in parties.items():
        file = party.identity
        expected = f"{file}: expected the private key of {public_key.hex()}"
        if not file.is_file():
            found = "a directory" if file.is_dir() else "no such file"
            raise Misuse(f"{expected}, found {found}; put it back from a backup, then resume")
        if read_key(file).public_key != public_key:
            raise Misuse(f"{expected}, found another key; put it back from a backup, then resume")


def _stores(directory: RunDirectory) -> Iterator[tuple[Path, Holdings]]:
    """Every store of a run, with what its owner says of it."""
    for client in directory.clients():
        yield client.store, client_holdings.HOLDINGS
        yield client.training, own_tensors.HOLDINGS
    yield directory.coordinator.store, record.HOLDINGS
    for trustee in directory.trustees():
        yield trustee.store, trustee_holdings.HOLDINGS


def _pending_file(directory: RunDirectory) -> Path:
    return StoredValues(directory.coordinator.store).file(PENDING.key)


def _unpublished(directory: RunDirectory, pending: Pending | None, size: int) -> tuple[bytes, ...]:
    """The entries that trustees may have seen beyond the transcript's."""
    if pending is None:
        return ()
    if pending.start > size:
        file = _pending_file(directory)
        raise Misuse(
            f"{directory.transcript}: expected {pending.start} entries or more, as {file} says, found {size}; put back "
            "the newest copy of the transcript, then resume"
        )
    return pending.entries[size - pending.start :]


@dataclass(frozen=True)
class _Log:
    """The transcript, as far as a resumption needs it."""

    path: Path
    pinned: PinnedPolicy

    def read(self, known: int) -> list[bytes]:
        """The published entries, with all checkpoints, tiles and bundles checked. `known`: how many there were, as the
        coordinator remembers. None yet where no checkpoint was published."""
        reader = TranscriptReader(self.path)
        if not (self.path / CHECKPOINT).exists():
            if known or (self.path.is_dir() and len(reader.checkpoints()) > 1):
                raise Rejected("file-missing", str(self.path / CHECKPOINT), f"no such file; {_PUT_BACK}")
            return []
        with self._located(CHECKPOINT):
            size = reader.size
        with self._located("tile"):
            entries = [entry for bundle in reader.replay() for entry in bundle]
        with self._located(POLICY):
            self._check_policy(reader)
        self._check_notes(reader, entries, size)
        return entries

    def check_blobs(self, entries: Sequence[bytes], follower: Follower) -> None:
        """The model that rounds open on, the moments, what they were made of, and what the open round named, are there
        and whole."""
        closed = [message for message in map(_message, entries) if isinstance(message, RoundClosed)]
        names = [follower.ledger.model, *([closed[-1].optimizer] if closed else [])]
        names += step_blobs(follower.ledger.step) if follower.ledger.step else ()
        for entry in entries[follower.ledger.ended :]:
            names += entry_blobs(entry)
        reader = TranscriptReader(self.path)
        for name in filter(None, names):
            try:
                reader.blob(name, BLOB_LIMIT)
            except Rejected as error:
                file = self.path / blob_path(name)
                raise Rejected(error.check, f"{file} with this SHA-256", f"{error.found}; {_PUT_BACK}") from None

    def _check_policy(self, reader: TranscriptReader) -> None:
        try:
            data = reader.policy()
        except Rejected as error:
            if error.check == "file-missing":
                return  # it is written again
            raise
        if data != self.pinned.data:
            raise Rejected("policy-hash", f"{POLICY} to be the run's policy", "other bytes")

    def _check_notes(self, reader: TranscriptReader, entries: Sequence[bytes], size: int) -> None:
        """Every checkpoint is rightly signed, and of these entries; those that rounds were opened on are there."""
        policy, follower = self.pinned.policy, Follower.start()
        sizes = set(reader.checkpoints())
        for count, entry in enumerate(entries, 1):
            follower = follower.extended(self.pinned, [entry])
            message = _message(entry)
            needed = message.checkpoint_size if isinstance(message, RoundOpen) else count
            if needed not in sizes and (needed != count or count == size):
                raise Rejected("file-missing", str(self.path / note_path(needed)), f"no such file; {_PUT_BACK}")
            if count not in sizes:
                continue
            trustees = follower.ledger.membership.trustees(policy)
            with self._located(note_path(count)):
                note = parse_note(reader.note(count))
                check_note(note, policy.log_key, trustees, policy.threshold, origin=policy.origin)
            if (note.checkpoint.size, note.checkpoint.root) != (count, follower.root()):
                file, found = self.path / note_path(count), f"one of {note.checkpoint.size}"
                raise Rejected("checkpoint-root", f"{file} of the first {count} entries", f"{found}; {_PUT_BACK}")
        if reader.note(size) != reader.latest():
            file, copy = self.path / CHECKPOINT, self.path / note_path(size)
            raise Rejected("checkpoint-root", f"{file} to be the same bytes as {copy}", f"other bytes; {_PUT_BACK}")

    @contextmanager
    def _located(self, path: str) -> Iterator[None]:
        """Errors name the file by its whole path, and say what to do."""
        try:
            yield
        except Malformed as error:
            where = error.where if error.where.startswith("tile/") else f"{path}: {error.where}"
            raise Malformed(f"{self.path}/{where}", error.expected, f"{error.found}; {_PUT_BACK}") from None
        except Rejected as error:
            raise self._named(error, path) from None

    def _named(self, error: Rejected, path: str) -> Rejected:
        found = error.found
        if error.check == "tile-mismatch" and error.expected.startswith("tile/0/"):
            bundle = error.expected.split()[0].replace("tile/0/", "tile/entries/")
            found = f"{found}: this file or {self.path}/{bundle} is damaged"
        if error.check.startswith("checkpoint"):
            return Rejected(error.check, f"{self.path}/{path}: {error.expected}", f"{found}; {_PUT_BACK}")
        return Rejected(error.check, f"{self.path}/{error.expected}", f"{found}; {_PUT_BACK}")


def _check_said(
    directory: RunDirectory, follower: Follower, ended: Sequence[EndedRound], log: _Log, gone: frozenset[str]
) -> None:
    """What a party has said, as the log has it, is in its state."""
    kept = (*_clients(directory, follower, ended), *_cosigners(directory, ended, log), *_trustees(directory, follower))
    for party, store, key in kept:
        values = StoredValues(store)
        if party not in gone and values.get(key) is None:
            raise Misuse(f"{values.file(key)}: expected what {party} keeps, found no such file: {_FORGOTTEN}")


_Kept = Iterator[tuple[str, Path, str]]  # a party, a store of its own, and the key of what must be in it


def _clients(directory: RunDirectory, follower: Follower, ended: Sequence[EndedRound]) -> _Kept:
    """Who has submitted remembers it, the checkpoint that it answered, and its own tensors, if clients have any."""
    current = follower.ledger.current
    rounds = [each.last for each in ended] + ([current] if current else [])
    last = {each.message.client: each.message.round for each_round in rounds for each in each_round.submissions}
    keep_tensors = any(StoredValues(client.training).keys() for client in directory.clients())
    for client, number in sorted(last.items()):
        own = directory.client(client)
        for key in client_holdings.required():
            yield client, own.store, key
        if keep_tensors:
            yield client, own.training, own_tensors.KEPT.key(number)


def _cosigners(directory: RunDirectory, ended: Sequence[EndedRound], log: _Log) -> _Kept:
    """Who cosigned the latest checkpoint remembers the log, and that it erased what it had of rounds that ended."""
    latest = log.path / CHECKPOINT
    if not latest.exists():
        return
    note = parse_note(latest.read_bytes())
    erased = bool(ended) and ended[0].stop <= note.checkpoint.size
    for signature in note.signatures[1:]:
        for key in trustee_holdings.required_of_cosigner(erased):
            yield signature.name, directory.trustee(signature.name).store, key


def _trustees(directory: RunDirectory, follower: Follower) -> _Kept:
    """Who takes part in the open round remembers what it said in it, or can still say it."""
    current = follower.ledger.current
    for name in sorted({key.trustee for key in current.keys}) if current else ():
        store = directory.trustee(name).store
        for key in trustee_holdings.required(StoredValues(store), name, current):
            yield name, store, key


def _check_coordinator(directory: RunDirectory, pinned: PinnedPolicy, follower: Follower) -> None:
    """No trustee has seen more of the log than its coordinator remembers."""
    for member in pinned.policy.trustees:
        known = trustee_holdings.LOG.get(StoredValues(directory.trustee(member.id).store))
        if known is not None and known.size > follower.size:
            file = _pending_file(directory)
            raise Misuse(
                f"{file}: expected the entries that {member.id} has seen, {known.size} in all, found "
                f"{follower.size}: {_FORGOTTEN}"
            )


def _message(entry: bytes) -> object:
    return open_envelope(entry).message


def _again(error: Malformed | Rejected, before: str, advice: str) -> Malformed | Rejected:
    if isinstance(error, Malformed):
        return Malformed(f"{before}{error.where}", error.expected, f"{error.found}; {advice}")
    return Rejected(error.check, f"{before}{error.expected}", f"{error.found}; {advice}")
