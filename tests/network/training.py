"""What clients train in a history: steps that nobody can repeat, and a state of their own that must not be lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from protocols.hashes import sha256
from protocols.pinned import PinnedPolicy
from protocols.rounds.client_holdings import KeptAnswer
from protocols.steps.doubles import Doubles
from verifl.agents.client import TrainedTurn
from verifl.training.own_tensors import Kept
from verifl.training.tensors import TensorLayout

Units = np.ndarray


@dataclass(frozen=True, eq=False)
class Turn:
    """What one turn of training led to: an update, and the state that it left."""

    units: Units
    state: bytes


@dataclass
class Trained:
    """What the histories of clients' trainings must be held against.

    turns: all of them, by client and hash of the update. answers: by submission entry, the turn that it is of. wrong:
    turns that began from another state than that of the last answer had left.
    """

    turns: dict[tuple[str, bytes], Turn] = field(default_factory=dict)
    answers: dict[bytes, Turn] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def answered(self, client: str, entry: bytes, update: bytes) -> None:
        """A client has a submission, of the update with this hash: of a turn just now, or one before."""
        self.answers[entry] = self.turns[client, update]


class Training:
    """One client's, in one process: what `ClientAgent` uses of a `LocalTraining`. rand: another in each process."""

    def __init__(
        self,
        pinned: PinnedPolicy,
        trained: Trained,
        rand: Callable[[int], bytes],
        answer: Callable[[], KeptAnswer | None],
    ) -> None:
        """trained: what is noted for the judgement. answer: the client's last one, as its store has it."""
        self.layout = TensorLayout(pinned.policy.tensors)
        self._trained, self._rand, self._answer = trained, rand, answer
        self._state = b""
        self.last = b""  # hash of the last update

    def restore(self, client: str, kept: Kept) -> None:
        self._state = kept.state

    def train(self, client: str, model: Doubles, number: int) -> tuple[Doubles, Doubles]:
        answer = self._answer()
        expected = b"" if answer is None else self._trained.turns[client, answer.update].state
        if self._state != expected:
            self._trained.wrong.append(f"{client} trains in round {number} from another state than it had left")
        self._state = sha256(self._state + self._rand(8))
        steps = np.frombuffer(self._rand(8 * len(model)), dtype="<u8").astype(np.float64) / 2.0**64 - 0.5
        return model, model + steps * 0.4

    def kept(self, client: str) -> Kept:
        return Kept(b"", self._state)

    def forget(self, client: str) -> None:
        """Nothing outlives a turn but `_state`, which `restore` replaces."""

    def changed_buffers(self, client: str) -> tuple[str, ...]:
        return ()

    # ---- as a turn's observer ----

    def stage(self, text: str) -> None:
        """Nothing is told."""

    def trained(self, turn: TrainedTurn) -> None:
        units = turn.update.units
        self.last = sha256(np.ascontiguousarray(units, dtype="<i8").tobytes())
        self._trained.turns[turn.client, self.last] = Turn(units, self._state)

    def sends_zero(self, zero: object) -> None:
        """Nothing is told."""
