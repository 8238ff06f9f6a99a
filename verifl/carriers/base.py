"""What every federation engine is given and what it reports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from proofs.errors import VeriflError
from verifl.config import Config
from verifl.enrolment.policies import Enrolment, Randomness
from verifl.progress import Progress
from verifl.storage.run_directory import RunDirectory
from verifl.training.local_training import LocalTraining, finite_or_none
from verifl.training.tensors import Vector


@dataclass(frozen=True)
class Session:
    """One federation about to run. `initial` is the initial model, float64 (d,); `rand` draws protocol randomness."""

    config: Config
    training: LocalTraining
    initial: Vector
    enrolment: Enrolment
    directory: RunDirectory
    device: str
    progress: Progress
    rand: Randomness


@dataclass(frozen=True)
class RoundSummary:
    """One round as it ended. seconds: wall time of the process that ended it, None where that process was killed before
    it could say so; size: bytes that it added to the transcript.

    round: its number in the log, which aborted ones count in; 0 stands for the initial model. closed: how many rounds
    had closed with it. excluded: reason by client; failed_checks: the check that a malformed submission or an invalid
    proof failed, by client. failed: who was asked and sent nothing, because its training failed, it abstained, or it is
    gone. aborted: the reason where the round ended without a sum, else None.
    """

    round: int
    submitted: tuple[str, ...]
    accepted: tuple[str, ...]
    excluded: Mapping[str, str]
    trustees: tuple[str, ...]
    metrics: Mapping[str, float]
    seconds: float | None
    size: int
    aborted: str | None = None
    failed_checks: Mapping[str, str] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    closed: int = 0

    @classmethod
    def initial(cls, metrics: Mapping[str, float]) -> RoundSummary:
        """What is known of the model before the first round."""
        return cls(0, (), (), {}, (), metrics, None, 0)

    def describe_excluded(self) -> list[tuple[str, str]]:
        """(client, reason) of those that are not in the cohort, the reason with the check that failed."""
        checks = {client: f" ({check})" for client, check in self.failed_checks.items()}
        return [(client, reason + checks.get(client, "")) for client, reason in self.excluded.items()]

    def to_dict(self) -> dict[str, Any]:
        """As `metrics.jsonl` and `--format json` have it."""
        return {
            "round": self.round,
            "closed": self.closed,
            "submitted": list(self.submitted),
            "accepted": list(self.accepted),
            "excluded": dict(self.excluded),
            "failed_checks": dict(self.failed_checks),
            "failed": list(self.failed),
            "counts": {
                "submitted": len(self.submitted),
                "accepted": len(self.accepted),
                "excluded": len(self.excluded),
                "failed": len(self.failed),
            },
            "trustees": list(self.trustees),
            "aborted": self.aborted,
            "metrics": finite_or_none(self.metrics),
            "seconds": None if self.seconds is None else round(self.seconds, 3),
            "bytes": self.size,
        }


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
