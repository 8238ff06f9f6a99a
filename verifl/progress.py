"""What a run tells while it goes on: its rounds as they end, and who listens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


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


def finite_or_none(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Metrics as JSON can carry them: NaN and infinities become null."""
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


class Progress(Protocol):
    """What a run tells while it goes on. Calls come from one thread."""

    def note(self, text: str) -> None:
        """A line that stays."""
        ...

    def stage(self, text: str) -> None:
        """What is being done now; replaced by the next."""
        ...

    def submitted(self, client: str, size: int, clipped: bool | None) -> None:
        """A client's submission of `size` bytes is made; its update was longer than the clip norm or not, None for one
        that was made before, in another process."""
        ...

    def measured(self, initial: RoundSummary) -> None:
        """The metrics of the initial model, as round 0; once in a federation."""
        ...

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        """A round closed or was aborted; `rounds` are to close."""
        ...


class Callback:
    """A `Progress` that does nothing: for one of your own, override what you want to hear.

        class Slack(verifl.Callback):
            def round_ended(self, summary, rounds):
                post(f"round {summary.round} of {rounds}: {summary.metrics}")

        Federation(task, config, "out", callbacks=[Slack()]).run()

    Calls come from one thread, between the steps of the federation. What one raises ends the run, which goes on with
    `resume`.
    """

    def note(self, text: str) -> None:
        """Nothing."""

    def stage(self, text: str) -> None:
        """Nothing."""

    def submitted(self, client: str, size: int, clipped: bool | None) -> None:
        """Nothing."""

    def measured(self, initial: RoundSummary) -> None:
        """Nothing."""

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        """Nothing."""


class NoProgress(Callback):
    """No progress at all."""


class Together:
    """Several, told one after the other."""

    def __init__(self, members: Sequence[Progress]) -> None:
        self._members = tuple(members)

    def note(self, text: str) -> None:
        """See `Progress.note`."""
        for each in self._members:
            each.note(text)

    def stage(self, text: str) -> None:
        """See `Progress.stage`."""
        for each in self._members:
            each.stage(text)

    def submitted(self, client: str, size: int, clipped: bool | None) -> None:
        """See `Progress.submitted`."""
        for each in self._members:
            each.submitted(client, size, clipped)

    def measured(self, initial: RoundSummary) -> None:
        """See `Progress.measured`, which came later than the others: a listener without it hears the rest."""
        for each in self._members:
            if callable(getattr(each, "measured", None)):
                each.measured(initial)

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        """See `Progress.round_ended`."""
        for each in self._members:
            each.round_ended(summary, rounds)
