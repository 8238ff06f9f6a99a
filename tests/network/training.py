"""What clients train in a history: steps that nobody can repeat, and a state of their own that must not be lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from protocols.hashes import sha256
from protocols.pinned import PinnedPolicy
from verifl.agents.client import TrainedTurn
from verifl.training.own_tensors import Kept
from verifl.training.tensors import TensorLayout, Vector

Units = np.ndarray


@dataclass
class Trained:
    """What the histories of clients' trainings must be held against.

    updates: by submission entry, what it is of. left: by client and round, the state that the training of its answer
    left. wrong: a training that began from another state than the last answer's had left.
    """

    updates: dict[bytes, Units] = field(default_factory=dict)
    left: dict[str, dict[int, bytes]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Training:
    """One client's, in one process: what `ClientAgent` uses of a `LocalTraining`. rand: another in each process."""

    def __init__(self, pinned: PinnedPolicy, trained: Trained, rand: Callable[[int], bytes]) -> None:
        self.layout = TensorLayout(pinned.policy.tensors)
        self._trained, self._rand = trained, rand
        self._state = b""
        self._last: tuple[int, bytes, Units] | None = None  # round, the state that it left, the update

    def restore(self, client: str, kept: Kept) -> None:
        self._state = kept.state

    def train(self, client: str, model: Vector, number: int) -> tuple[Vector, Vector]:
        earlier = self._trained.left.get(client, {})
        expected = earlier[max(known)] if (known := [each for each in earlier if each < number]) else b""
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
        self._last = (0, self._state, turn.update.units)

    def answered(self, client: str, number: int, entry: bytes) -> None:
        """A submission of this round is stored: by the turn just now, or by one before."""
        if entry in self._trained.updates or self._last is None:
            return
        _, state, units = self._last
        self._trained.updates[entry] = units
        self._trained.left.setdefault(client, {})[number] = state
