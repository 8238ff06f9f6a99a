"""A coordinator's host, set up on its directories and run until its rounds are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

from protocols.rounds.waits import Waits
from protocols.steps.doubles import Doubles
from verifl.agents.clock import Clock, MachineClock
from verifl.agents.server import ServerAgent, open_server
from verifl.carriers.exchange.changing import ChangesFolder
from verifl.carriers.exchange.host import CoordinatorHost
from verifl.carriers.exchange.inbox import Inbox, Refusals
from verifl.carriers.exchange.seat import Seat
from verifl.carriers.exchange.stopping import Stop
from verifl.carriers.rounds import Measures, RunTerms
from verifl.config import Config, DeadlinesConfig
from verifl.progress import Progress
from verifl.storage.history import MetricsFile
from verifl.strategies.stopping import StoppingConfig
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import model_metadata, write_final

MACHINE = MachineClock()

Host = TypeVar("Host", bound=CoordinatorHost)


@dataclass(frozen=True)
class HostPlan:
    """wanted: how many rounds are to close. initial: the policy's initial model, float64 (d,). evaluate: see
    `Measures`. device: for summation. approvals: those that the policy demands, needed where there is no log yet.
    stopping: when to stop before `wanted`. close: see `RunTerms`."""

    wanted: int
    deadlines: DeadlinesConfig
    initial: Doubles
    evaluate: Callable[[Doubles, int], dict[str, float]]
    progress: Progress
    device: str = "cpu"
    approvals: bytes = b""
    stopping: StoppingConfig | None = None
    close: bool | Literal["now"] = False


@contextmanager
def opened_host(
    seat: Seat, plan: HostPlan, kind: type[Host], clock: Clock = MACHINE
) -> Iterator[tuple[Host, ServerAgent]]:
    """A host of this kind on the coordinator's directories, for the block, and what it runs.

    In the state directory: metrics.jsonl, refusals.jsonl, and changes that are handed in.
    """
    pinned, own, public = seat.pinned, seat.party.directory, seat.published
    measures = Measures(MetricsFile(own.path / "metrics.jsonl", 0o600), plan.evaluate, plan.progress)
    inbox = Inbox(public.path, pinned, Refusals(own.path / "refusals.jsonl", clock.wall))
    public.create()
    waits = Waits(lambda: int(clock.wall()), quorum=plan.deadlines.quorum)
    where = (seat.party, public.transcript, plan.initial, plan.device, waits)
    with open_server(pinned, *where, approvals=plan.approvals) as server:
        changes = ChangesFolder(own.changes, pinned, server.logged)
        terms = RunTerms(plan.wanted, pinned.policy.max_aborts, changes.due, plan.stopping, plan.close)
        yield kind(server, terms, public, inbox, plan.deadlines, measures, clock, plan.initial), server


def serve(
    seat: Seat,
    config: Config,
    training: LocalTraining,
    initial: Doubles,
    device: str,
    progress: Progress,
    stop: Stop,
    approvals: bytes = b"",
) -> str | None:
    """Run the rounds that the configuration wants, and write the model; why they ended early, else None.

    approvals: those that the policy demands, needed where there is no log yet.
    In its state directory: model.safetensors, and what `opened_host` has there. Raises as `CoordinatorHost.run`.
    """
    wanted, deadlines = config.federation.rounds, config.deadlines
    how = device, approvals, config.stopping, config.federation.close
    plan = HostPlan(wanted, deadlines, initial, training.evaluate, progress, *how)
    with opened_host(seat, plan, CoordinatorHost) as (host, server):
        host.run(stop)
        write_final_model(seat, training, server.model())
    return host.ended


def write_final_model(seat: Seat, training: LocalTraining, model: Doubles) -> None:
    """In the coordinator's state directory: a model, float64 (d,), as model.safetensors; see `write_final`."""
    write_final(training, model, seat.party.directory.model, model_metadata(seat.pinned), 0o600)
