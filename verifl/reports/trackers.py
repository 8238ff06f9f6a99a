"""Rounds told to trackers of experiments: TensorBoard and MLflow, each by one line of `[report]`.

What they are told is what `metrics.jsonl` has. A tracker that fails is told of once and then left alone: a federation
does not end because a server of somebody else's did.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from proofs.errors import Misuse
from proofs.machine.installing import install_hint
from protocols.pinned import PinnedPolicy
from verifl.config import ReportConfig
from verifl.progress import Callback, Progress, RoundSummary, Together
from verifl.tasks.user_code import user_code

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_LOGGER = logging.getLogger(__name__)
_POLICY = "verifl.policy_hash"  # a tag
_PREFIX = 8  # digits of the policy's hash in a name
_Tracker = Callable[[int, Mapping[str, float]], None]  # told the number of a round, and numbers by name


def numbers_of(summary: RoundSummary) -> dict[str, float]:
    """What is drawn of a round, by name: its metrics, where it closed, and counts, time and size of each."""
    made = dict(summary.metrics) if summary.aborted is None else {}
    counts = {
        "round/submitted": len(summary.submitted),
        "round/accepted": len(summary.accepted),
        "round/excluded": len(summary.excluded),
        "round/failed": len(summary.failed),
        "round/aborted": int(summary.aborted is not None),
        "round/bytes": summary.size,
    }
    return {**made, **counts, **({} if summary.seconds is None else {"round/seconds": summary.seconds})}


def require_trackers(config: ReportConfig) -> None:
    """Raise Misuse where the package of a tracker is not installed."""
    for name, value in config:
        if value is not None and importlib.util.find_spec(name) is None:
            raise Misuse(f"report.{name}: needs {name}, which is not installed: {install_hint(name)}")


@contextmanager
def tracked(config: ReportConfig, pinned: PinnedPolicy, progress: Progress) -> Iterator[Progress]:
    """`progress`, and the trackers of the configuration beside it, for the block.

    Raises Misuse where a tracker cannot be opened, and as `require_trackers`.
    """
    require_trackers(config)
    with ExitStack() as stack:
        trackers: list[Progress] = []
        for name, value in config:
            if value is not None:
                with user_code(f"report.{name}: {value} cannot be opened"):
                    tracker = stack.enter_context(_OPENED[name](value, pinned))
                trackers.append(Lenient(name, tracker))
        yield Together((progress, *trackers)) if trackers else progress


class Lenient(Callback):
    """A tracker until it fails first."""

    def __init__(self, name: str, tracker: _Tracker) -> None:
        self._name, self._tell = name, tracker
        self._failed = False

    def measured(self, initial: RoundSummary) -> None:
        """Its metrics, at step 0."""
        self._try(initial, dict(initial.metrics))

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:  # noqa: ARG002  as of `Progress`
        """Its numbers, at the round's own."""
        self._try(summary, numbers_of(summary))

    def _try(self, summary: RoundSummary, numbers: Mapping[str, float]) -> None:
        if self._failed:
            return
        try:
            with user_code(f"report.{self._name} failed"):
                self._tell(summary.round, numbers)
        except Misuse as error:
            self._failed = True
            fields = {"event": "tracker-failed", "tracker": self._name, "round": summary.round}
            _LOGGER.warning("%s; it is told of no further round, metrics.jsonl is", error, extra={"fields": fields})


@contextmanager
def _tensorboard(directory: str, pinned: PinnedPolicy) -> Iterator[_Tracker]:
    """Below the directory, in one of the federation's own; a run that goes on writes into it, too."""
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(Path(directory) / _name(pinned))) as writer:

        def tell(step: int, numbers: Mapping[str, float]) -> None:
            for name, value in numbers.items():
                writer.add_scalar(name, value, step)
            writer.flush()  # so that they are seen at once

        yield tell


@contextmanager
def _mlflow(address: str, pinned: PinnedPolicy) -> Iterator[_Tracker]:
    """In an experiment of the federation's name: the run of this policy, if it has one that a run before began."""
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    run, status = _run_of(client, pinned), "FAILED"

    def tell(step: int, numbers: Mapping[str, float]) -> None:
        now = int(time.time() * 1000)
        client.log_batch(run, metrics=[Metric(name, value, now, step) for name, value in numbers.items()])

    try:
        yield tell
        status = "FINISHED"
    finally:
        _end(client, run, status)


def _run_of(client: MlflowClient, pinned: PinnedPolicy) -> str:
    name, tags = pinned.policy.federation, {_POLICY: pinned.hash.hex()}
    found = client.get_experiment_by_name(name)
    experiment = client.create_experiment(name) if found is None else found.experiment_id
    earlier = client.search_runs([experiment], filter_string=f"tags.`{_POLICY}` = '{pinned.hash.hex()}'")
    if not earlier:
        return str(client.create_run(experiment, run_name=_name(pinned), tags=tags).info.run_id)
    run = str(earlier[0].info.run_id)
    client.set_terminated(run, "RUNNING")
    return run


def _end(client: MlflowClient, run: str, status: str) -> None:
    """Tell how the run ended; it has ended all the same where nobody hears it."""
    try:
        with user_code("report.mlflow failed"):
            client.set_terminated(run, status)
    except Misuse as error:
        _LOGGER.warning("%s", error, extra={"fields": {"event": "note"}})


_OPENED: Mapping[str, Callable[[str, PinnedPolicy], AbstractContextManager[_Tracker]]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}


def _name(pinned: PinnedPolicy) -> str:
    return f"{pinned.policy.federation}-{pinned.hash.hex()[:_PREFIX]}"
