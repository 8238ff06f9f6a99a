"""What every federation engine is given and what it reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from proofs.errors import VeriflError
from verifl.config import Config
from verifl.enrolment.policies import Enrolment, Randomness
from verifl.progress import Progress, RoundSummary
from verifl.storage.run_directory import RunDirectory
from verifl.training.local_training import LocalTraining
from verifl.training.tensors import Vector


@dataclass(frozen=True)
class Session:
    """One federation about to run.

    initial: the initial model, float64 (d,). rand: draws protocol randomness. promise: a line to tell once the run
    could go on from what is on disk and has a round before it; empty for none.
    """

    config: Config
    training: LocalTraining
    initial: Vector
    enrolment: Enrolment
    directory: RunDirectory
    device: str
    progress: Progress
    rand: Randomness
    promise: str = ""


@dataclass(frozen=True)
class EngineResult:
    """The rounds in order, the model after the last, float64 (d,), and the metrics of the one before the first.

    ended: in one line, why the federation was closed before as many rounds as configured had; None if it was not.
    """

    rounds: tuple[RoundSummary, ...]
    model: Vector
    initial: Mapping[str, float]
    ended: str | None = None


class FederationEngine(Protocol):
    """Runs the parties of a session until its rounds are done."""

    def run(self, session: Session) -> EngineResult:
        """Write the transcript into `session.directory` and return how it went."""
        ...


@contextmanager
def unmasked(error: BaseException) -> Iterator[None]:
    """What goes wrong in the block, which clears up after `error`, does not take its place."""
    try:
        yield
    except OSError:
        pass  # the disk that failed may fail again
    except VeriflError as another:
        if str(another) != str(error):
            error.add_note(f"the transcript was left as it was: {another}")
