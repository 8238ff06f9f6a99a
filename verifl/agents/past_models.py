"""The models that a published log has, by the rounds after which they came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proofs.errors import Misuse, Rejected
from protocols.log.files import Damaged
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path
from protocols.pinned import PinnedPolicy
from protocols.steps.doubles import Doubles
from protocols.steps.step import decode_model
from protocols.submissions import read_blob
from verifl.agents.published import whole_log
from verifl.storage.history import RoundsWalk


@dataclass(frozen=True)
class PastModel:
    """round: behind which it is the model, 0 for the initial one. hash: of its blob."""

    round: int
    hash: bytes


class PastModels:
    """Of one log, as of its latest checkpoint. closed: rounds that closed. aborted: the reasons of those that were."""

    def __init__(
        self, pinned: PinnedPolicy, reader: TranscriptReader, closed: Mapping[int, bytes], aborted: Mapping[int, str]
    ) -> None:
        self._pinned, self._reader = pinned, reader
        self.closed, self.aborted = closed, aborted

    @classmethod
    def read(cls, pinned: PinnedPolicy, reader: TranscriptReader) -> PastModels:
        """Read the log by its tree and by its rules; t trustees in force have cosigned its checkpoint.

        Raises Malformed or Rejected, by the name of the check, for what is no log of this policy.
        """
        closed, aborted = dict[int, bytes](), dict[int, str]()
        for _, ended in whole_log(pinned, reader, RoundsWalk(pinned)):
            if ended is None:
                continue
            if ended.aborted is None:
                closed[ended.last.number] = ended.model
            else:
                aborted[ended.last.number] = ended.aborted
        return cls(pinned, reader, closed, aborted)

    def after(self, number: int) -> PastModel:
        """The model after a round that closed, or 0, the initial one; raises Misuse for any other."""
        if number == 0:
            return PastModel(0, self._pinned.policy.initial_model)
        if number in self.closed:
            return PastModel(number, self.closed[number])
        if number in self.aborted:
            before = max((each for each in self.closed if each < number), default=0)
            raise Misuse(
                f"round {number} was aborted ({self.aborted[number]}) and made no model; the one before it is that of "
                f"round {before}"
            )
        last = max(self.closed, default=0)
        raise Misuse(f"round {number} has not closed; {f'the last that did is {last}' if last else 'none has yet'}")

    def vector(self, model: PastModel) -> Doubles:
        """Its coordinates, float64 (d,); raises Misuse where this copy of the log has not got it."""
        try:
            data = read_blob(self._reader.blob, model.hash, self._pinned.model_size)
        except (Damaged, Rejected) as error:
            raise Misuse(
                f"the model of round {model.round} is not in this copy of the transcript: {blob_path(model.hash)}: "
                f"{error}; no audit accepts a copy without it, so another copy has it"
            ) from None
        return decode_model(data, self._pinned.policy.dimension)
