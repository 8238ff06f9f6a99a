"""A client that keeps the model of the last round that closed, by its hash in a log that t trustees have cosigned."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open

from proofs.errors import Misuse, Rejected
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
        self._kept, self._round = _kept_in(file, pinned)

    def keep(self, number: int, model: bytes) -> None:
        """Write the model after round `number`, the last that closed, unless it is there; model: its hash, in a log
        that is believed.

        Raises Rejected("rollback") for a log that was rolled back, or is another, behind the model that is there, and
        Malformed or Rejected, as `read_blob`, for what is no such model; the file is then what it was.
        """
        if model.hex() == self._kept:
            return
        if number <= self._round:
            raise Rejected(
                "rollback",
                f"a log that goes on behind round {self._round}, whose model is {self._file}",
                f"another model, of round {number}, as the last one",
            )
        vector = decode_model(
            read_blob(self._public.blob, model, self._pinned.model_size), self._pinned.policy.dimension
        )
        metadata = {**model_metadata(self._pinned), "round": str(number), "model": model.hex()}
        write_model(self._training.load(vector), self._file, metadata, 0o600)
        self._kept, self._round = model.hex(), number
        self._tell(f"round {number} closed: its model is {self._file}")


def _kept_in(file: Path, pinned: PinnedPolicy) -> tuple[str, int]:
    """The hash of the model that a file has, and the round after which it is that, as its metadata say; empty and 0
    where there is no such file of this federation."""
    try:
        header_size(file)
        with safe_open(str(file), framework="numpy") as found:
            said: dict[str, str] = found.metadata() or {}
    except (OSError, SafetensorError, Misuse):
        return "", 0
    number = said.get("round", "")
    if not model_metadata(pinned).items() <= said.items() or not re.fullmatch(r"[1-9][0-9]{0,9}", number):
        return "", 0
    return said.get("model", ""), int(number)
