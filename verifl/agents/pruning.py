"""What of a transcript may be thrown away: ciphertexts of which a sum was made and opened (spec 9.4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.blobs import message_blobs
from protocols.envelopes import Entry
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path
from protocols.messages import Aggregate
from protocols.pinned import PinnedPolicy
from verifl.agents.published import whole_log
from verifl.storage.history import RoundsWalk


@dataclass(frozen=True)
class Prunable:
    """files: what may go and is there, by hash. size: its bytes. gone: how many went before. rounds: whose sums nobody
    can replay without them; lost: those of them of which one went before."""

    files: Mapping[bytes, Path]
    size: int
    gone: int
    rounds: tuple[int, ...]
    lost: tuple[int, ...]

    def unchecked(self, removed: bool) -> tuple[int, ...]:
        """Rounds whose sums nobody can replay from this copy, now that the files were removed, or are there."""
        return self.rounds if removed else self.lost

    def remove(self) -> None:
        """Delete them; once more deletes what is left."""
        for path in self.files.values():
            path.unlink(missing_ok=True)


def prunable(pinned: PinnedPolicy, transcript: Path) -> Prunable:
    """What may go of the transcript in this directory: of rounds that closed, ciphertexts that were summed, and their
    sum, unless another submission or another field names them, too.

    The log is read by its tree and by its rules. Raises Malformed or Rejected, by the name of the check, for what is no
    log of this policy; Misuse for a file that is none.
    """
    rounds: dict[bytes, set[int]] = {}
    named, summed = Counter[bytes](), Counter[bytes]()
    for entry, number, ciphertexts in _summed(pinned, TranscriptReader(transcript)):
        named.update(blob for _, blob in message_blobs(entry.message))
        summed.update(ciphertexts)
        for each in ciphertexts:
            rounds.setdefault(each, set()).add(number)
    names = [name for name, count in summed.items() if count == named[name]]
    files = {name: transcript / blob_path(name) for name in names}
    there = {name: path for name, path in files.items() if path.exists() or path.is_symlink()}
    size = sum(map(_size, there.values()))
    return Prunable(there, size, len(files) - len(there), _rounds(rounds, names), _rounds(rounds, files.keys() - there))


def _rounds(rounds: Mapping[bytes, set[int]], names: Iterable[bytes]) -> tuple[int, ...]:
    return tuple(sorted({each for name in names for each in rounds[name]}))


def _summed(pinned: PinnedPolicy, reader: TranscriptReader) -> Iterator[tuple[Entry, int, list[bytes]]]:
    """Every entry, and with the one that closes a round its number and ciphertexts that were summed, as often as they
    are named for that."""
    total = b""
    for entry, ended in whole_log(pinned, reader, RoundsWalk(pinned)):
        if isinstance(entry.message, Aggregate):
            total = entry.message.ciphertext
        if ended is None or ended.aborted is not None:
            yield entry, 0, []
        else:
            accepted = ended.last.accepted_submissions()
            yield entry, ended.last.number, [total, *(each.message.ciphertext for each in accepted)]


def _size(path: Path) -> int:
    """Bytes of a blob's file."""
    if path.is_symlink() or not path.is_file():
        raise Misuse(f"{path}: expected a file, found something else; nothing was removed")
    return path.stat().st_size
