"""A client that keeps the model of the last round that closed, by its hash in a log that t trustees have cosigned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from proofs.errors import Rejected
from protocols.envelopes import open_envelope
from protocols.log.checkpoint import check_note, parse_note
from protocols.log.reader import TranscriptReader
from protocols.messages import RoundClosed
from protocols.pinned import PinnedPolicy
from protocols.rounds.follower import Follower
from protocols.steps.step import decode_model
from protocols.submissions import read_blob
from verifl.carriers.exchange.public import PublicView
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import model_metadata, write_model


class ModelKeeper:
    """Writes the model after a round that closed to a file, in the place of the one before.

    file: its metadata say federation, policy, round, and the hash that the log has of the model. tell: hears of a model
    that is written.
    """

    def __init__(
        self,
        public: PublicView,
        pinned: PinnedPolicy,
        training: LocalTraining,
        file: Path,
        tell: Callable[[str], None],
    ) -> None:
        self._public, self._pinned, self._training = public, pinned, training
        self._file, self._tell = file, tell
        self._log, self._closed = Follower.start(), 0
        self._kept = _hash_in(file)

    def look(self) -> None:
        """Follow the log, as a trustee does, to the checkpoint that t trustees have cosigned, and write the model after
        its last closed round, unless it is there.

        Raises Malformed or Rejected, "fork" or a check of `check_note`, `apply`, `read_blob`, for what is no such log;
        the file is then what it was.
        """
        reader = self._public.reader()
        if reader is not None and reader.size > self._log.size:
            self._follow(reader)
        name = self._log.ledger.model
        if not self._closed or name is None or name.hex() == self._kept:
            return
        model = decode_model(read_blob(self._public.blob, name, self._pinned.model_size), self._pinned.policy.dimension)
        metadata = {**model_metadata(self._pinned), "round": str(self._closed), "model": name.hex()}
        write_model(self._training.load(model), self._file, metadata)
        self._kept = name.hex()
        self._tell(f"round {self._closed} closed: its model is {self._file}")

    def _follow(self, reader: TranscriptReader) -> None:
        """Nothing is believed of entries that the rules do not admit, or that t trustees in force have not cosigned."""
        note, policy = parse_note(reader.latest()), self._pinned.policy
        entries = reader.entries(self._log.size, reader.size)
        followed = self._log.extended(self._pinned, entries)
        if followed.root() != note.checkpoint.root:
            raise Rejected("fork", followed.root().hex(), note.checkpoint.root.hex())
        trustees = followed.ledger.membership.trustees(policy)
        check_note(note, policy.log_key, trustees, policy.threshold, origin=policy.origin)
        ends = (open_envelope(entry).message for entry in reversed(entries))
        self._closed = next((each.round for each in ends if isinstance(each, RoundClosed)), self._closed)
        self._log = followed


def _hash_in(file: Path) -> str:
    """The hash of the model that a file has, as its metadata say; empty where there is no such file."""
    try:
        with safe_open(str(file), framework="numpy") as found:
            return str((found.metadata() or {}).get("model", ""))
    except (OSError, SafetensorError):
        return ""
