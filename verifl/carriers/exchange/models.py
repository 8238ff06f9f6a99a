"""A client that keeps the model of the last round that closed, by its hash in a log that t trustees have cosigned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from proofs.errors import Misuse
from protocols.pinned import PinnedPolicy
from protocols.steps.step import decode_model
from protocols.submissions import read_blob
from verifl.carriers.exchange.public import PublicView
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import header_size, model_metadata, write_model


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
        self._kept = _hash_in(file)

    def keep(self, number: int, model: bytes) -> None:
        """Write the model after round `number`, the last that closed, unless it is there; model: its hash, in a log
        that is believed.

        Raises Malformed or Rejected, as `read_blob`, for what is no such model; the file is then what it was.
        """
        if model.hex() == self._kept:
            return
        vector = decode_model(
            read_blob(self._public.blob, model, self._pinned.model_size), self._pinned.policy.dimension
        )
        metadata = {**model_metadata(self._pinned), "round": str(number), "model": model.hex()}
        write_model(self._training.load(vector), self._file, metadata, 0o600)
        self._kept = model.hex()
        self._tell(f"round {number} closed: its model is {self._file}")


def _hash_in(file: Path) -> str:
    """The hash of the model that a file has, as its metadata say; empty where there is no such file."""
    try:
        header_size(file)
        with safe_open(str(file), framework="numpy") as found:
            return str((found.metadata() or {}).get("model", ""))
    except (OSError, SafetensorError, Misuse):
        return ""
